"""Signals that end a command which runs processes: once, and in good order."""

import signal
import socket
from types import FrameType

import typer

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIGNALLED = 128  # what shells add to a signal's number


class EndRequest:
    """The request to end a node's command: by a signal, or by a thread that cannot go on.

    The interpreter runs a signal's handler between two of its instructions, so a signal that
    arrives just before the main thread blocks would wait with it. Only what the operating system
    itself calls can wake it for certain: that writes to this socket.
    """

    def __init__(self) -> None:
        self._told, self._teller = socket.socketpair()
        self._teller.setblocking(False)  # as a signal demands
        self._failure: Exception | None = None

    def listen_to_signals(self) -> None:
        """Count a signal as an ending, and any further one as nothing."""
        signal.set_wakeup_fd(self._teller.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if number != signal.SIGHUP or not _is_to_outlive_terminal():
                signal.signal(number, lambda *_: None)

    def tell(self, failure: Exception | None = None) -> None:
        """End the node; the failure, if any, is why it cannot go on."""
        self._failure = failure
        self._teller.send(b"!")

    def wait(self) -> Exception | None:
        """Wait until the node is to end; return why it cannot go on, or None if it could."""
        self._told.recv(1)
        return self._failure


def _is_to_outlive_terminal() -> bool:
    """Whether the program was started like that, as by nohup."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


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
