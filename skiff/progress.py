"""Progress: the callback of a backup or a restore."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # rows so far, and an estimate of their total


def show_nothing(_: int, __: int) -> None:
    """Do nothing, where no callback is given."""
