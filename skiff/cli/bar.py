"""Progress bar of a command, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from skiff.progress import Progress


@contextmanager
def shown(task: str) -> Iterator[Progress | None]:
    """Show a bar if standard error is a terminal; yield the callback that moves it."""
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
