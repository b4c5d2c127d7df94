"""The commands that write a cluster's state to a file, and begin a new cluster with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import skiff
from skiff.cli import output
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.snapshots import Progress

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup file.", show_default=False)]


def backup(
    file: File,
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
    with Client(url, timeout=timeout, follow_leader=False) as client, _bar("backup") as progress:
        taken = client.backup(file, progress=progress)
    if as_json:
        facts = {"rows": taken.rows, "bytes": taken.size, "index": taken.index}
        output.json({"file": str(file), **facts, "cluster_id": taken.cluster.hex()})
    else:
        output.note(f"{file}: {taken.rows} rows, {taken.size} bytes, verified")


def restore(
    file: File,
    *,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="PATH", help="An empty or a new directory.")
    ],
    as_json: Json = False,
) -> None:
    """Put a backup into a directory, for the first node of a new cluster.

    Then run 'skiff node start --dir PATH', and let other nodes join that one.
    """
    with _bar("restore") as progress:
        restored = skiff.restore(file, directory, progress)
    if as_json:
        ids = {"id": restored.node, "cluster_id": restored.cluster}
        output.json({"dir": str(directory), **ids})
    else:
        start = f"start it by 'skiff node start --dir {directory}'"
        output.note(f"{directory} holds node {restored.node} of a new cluster; {start}")


@contextmanager
def _bar(task: str) -> Iterator[Progress | None]:
    """Show a bar on standard error, where a person reads it."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, seldom needed
    from rich.progress import Progress as Bars  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Bars(console=console, transient=True) as bars:
        bar = bars.add_task(task, total=None)

        def show(rows: int, estimate: int) -> None:
            bars.update(bar, completed=rows, total=max(rows, estimate))

        yield show
