"""Tables of a command's output, in colour on a terminal unless NO_COLOR is set."""

import os
from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from skiff.cli import output
from skiff.cli.shown import on_one_line

UNBROKEN_COLUMNS = 1000  # without a terminal, lines are never wrapped
STYLES = {
    "leader": "bold green",
    "candidate": "yellow",
    "learner": "cyan",
    "waiting": "cyan",
    "removed": "red",
    "foreign": "red",
    "unreachable": "red",
}


def show(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table; columns of numbers are right-aligned."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        side = _side([row[number] for row in rows])
        table.add_column(column, justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(Text(on_one_line(cell), style=STYLES.get(cell, "")) for cell in row))
    console = _console()
    with console.capture() as captured:
        console.print(table)
    output.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()).encode())


def _side(cells: list[str]) -> Literal["left", "right"]:
    return "right" if all(cell.isdigit() or cell == "-" for cell in cells) else "left"


def _console() -> Console:
    if output.is_terminal():
        return Console(color_system=None if os.environ.get("NO_COLOR") else "auto")
    return Console(color_system=None, width=UNBROKEN_COLUMNS)
