"""The command that writes a cluster's state to a file."""

from skiff.cli import output
from skiff.cli.bar import shown
from skiff.cli.options import DEFAULT_URL, BackupFile, Json, Timeout, Url
from skiff.client import DEFAULT_TIMEOUT, Client


def backup(
    file: BackupFile,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Write the whole state at one moment to a new file.

    The node that is named serves on meanwhile. The file is read back before it stands there.
    --timeout is for each chunk of it, not for the whole.
    """
    # The named node itself is asked, so that its leader need not carry the load.
    with (
        Client(url, timeout=timeout, follow_leader=False) as client,
        shown("backup") as progress,
    ):
        taken = client.backup(file, progress=progress)
    if as_json:
        facts = {"rows": taken.rows, "bytes": taken.size, "index": taken.index}
        output.json({"file": str(file), **facts, "cluster_id": taken.cluster.hex()})
    else:
        output.note(f"{file}: {taken.rows} rows, {taken.size} bytes, verified")
