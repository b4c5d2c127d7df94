"""The end of a command that started processes, on a signal: once, and in good order."""

import signal
from types import FrameType

import typer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNALLED = 128  # what shells add to a signal's number


def end_on_signals() -> None:
    """Let the first signal end the command as an exception, and ignore all further ones."""
    for number in SIGNALS:
        signal.signal(number, _end)


def ignore_signals() -> None:
    """Let nothing interrupt what follows."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise typer.Exit(SIGNALLED + number)
