"""How far a backup or a restore is, for whoever shows it."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # rows so far, and about how many there are


def show_nothing(_: int, __: int) -> None:
    """Report to nobody."""
