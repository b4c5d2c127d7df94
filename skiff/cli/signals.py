"""Signals: the orderly end of a command that runs processes."""

import signal
import socket
from types import FrameType

import typer

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIGNALLED = 128  # added to a signal's number, as by shells


class EndRequest:
    """A request to end a node's command: by a signal, or by a thread that cannot go on.

    The interpreter runs a signal handler between two instructions, so a signal that arrives just
    before the main thread blocks would wait as long as that does. Only the handler that the
    operating system calls wakes it reliably: it writes to this socket.
    """

    def __init__(self) -> None:
        self._told, self._teller = socket.socketpair()
        self._teller.setblocking(False)  # as ``signal.set_wakeup_fd`` demands
        self._failure: Exception | None = None

    def listen_to_signals(self) -> None:
        """Let the first signal request the end; ignore further ones."""
        signal.set_wakeup_fd(self._teller.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if number != signal.SIGHUP or not _is_to_outlive_terminal():
                signal.signal(number, lambda *_: None)

    def tell(self, failure: Exception | None = None) -> None:
        """Request the end of the node, with the failure that causes it, if any."""
        self._failure = failure
        self._teller.send(b"!")

    def wait(self) -> Exception | None:
        """Wait for the request to end; return the failure that causes it, or None."""
        self._told.recv(1)
        return self._failure


def _is_to_outlive_terminal() -> bool:
    """Return whether SIGHUP was ignored at the start, as by nohup."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def end_on_signals() -> None:
    """Raise an exception at the first signal; ignore further ones."""
    for number in SIGNALS:
        signal.signal(number, _end)


def ignore_signals() -> None:
    """Ignore all signals that would end the command."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise typer.Exit(SIGNALLED + number)
