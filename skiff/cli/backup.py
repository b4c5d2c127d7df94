"""Backup: the command that writes a cluster's state to a file or to standard output."""

from pathlib import Path

from skiff.backup import Writable
from skiff.cli import output
from skiff.cli.bar import shown
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, NewBackup, Timeout, Url
from skiff.client import DEFAULT_TIMEOUT, Client

STANDARD_OUTPUT = Path("-")


def backup(
    file: NewBackup,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Write a snapshot of the whole state to a new file.

    The node that takes it goes on serving. A file is verified before it gets its name; standard
    output is not verified, and is a backup only if the exit code is 0. --timeout is for each
    chunk, not for the whole.
    """
    is_piped = file == STANDARD_OUTPUT
    if is_piped and (as_json or output.is_terminal()):
        reason = "--json prints to" if as_json else "a terminal is"
        raise CommandFailed(f"{reason} standard output: give a file or a pipe", ExitCode.USAGE)
    target: Path | Writable = output.Stream() if is_piped else file
    # The named node takes the snapshot, which spares the leader that load.
    with (
        Client(url, timeout=timeout, follow_leader=False) as client,
        shown("backup") as progress,
    ):
        taken = client.backup(target, progress=progress)
    if as_json:
        facts = {"rows": taken.rows, "bytes": taken.size, "index": taken.index}
        output.json({"file": output.in_unicode(file), **facts, "cluster_id": taken.cluster})
    else:
        checked = "" if is_piped else ", verified"
        output.note(f"{file}: {taken.rows} rows, {taken.size} bytes{checked}")
