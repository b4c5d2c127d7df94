"""Restore: the command that starts a new cluster from a backup."""

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

import skiff
from skiff.cli import output
from skiff.cli.bar import shown
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import BackupFile, Json
from skiff.cli.signals import end_on_signals

STANDARD_INPUT = Path("-")


def restore(
    file: BackupFile,
    *,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="PATH", help="An empty or new directory.")
    ],
    as_json: Json = False,
) -> None:
    """Restore a backup into a directory, for the first node of a new cluster.

    Then run 'skiff node start --dir PATH', and let other nodes join it. A backup from a pipe is
    first copied to a temporary file beside PATH.
    """
    source = _standard_input() if file == STANDARD_INPUT else file
    end_on_signals()  # or the temporary file would be left
    with shown("restore") as progress:
        restored = skiff.restore(source, directory, progress)
    if as_json:
        ids = {"id": restored.node, "cluster_id": restored.cluster}
        output.json({"dir": output.in_unicode(directory), **ids})
    else:
        start = f"start it by 'skiff node start --dir {directory}'"
        output.note(f"{directory} holds node {restored.node} of a new cluster; {start}")


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise CommandFailed("standard input has no backup: give a file or a pipe", ExitCode.USAGE)
    return sys.stdin.buffer
