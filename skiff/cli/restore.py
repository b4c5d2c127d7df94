"""Restore: the command that starts a new cluster from a backup."""

from pathlib import Path
from typing import Annotated

import typer

import skiff
from skiff.cli import output
from skiff.cli.bar import shown
from skiff.cli.options import BackupFile, Json


def restore(
    file: BackupFile,
    *,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="PATH", help="An empty or new directory.")
    ],
    as_json: Json = False,
) -> None:
    """Restore a backup into a directory, for the first node of a new cluster.

    Then run 'skiff node start --dir PATH', and let other nodes join it.
    """
    with shown("restore") as progress:
        restored = skiff.restore(file, directory, progress)
    if as_json:
        ids = {"id": restored.node, "cluster_id": restored.cluster}
        output.json({"dir": str(directory), **ids})
    else:
        start = f"start it by 'skiff node start --dir {directory}'"
        output.note(f"{directory} holds node {restored.node} of a new cluster; {start}")
