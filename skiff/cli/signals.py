"""Signals: the orderly end of a command that runs processes, or holds what others wait for."""

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Self

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
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)  # as ``signal.set_wakeup_fd`` demands
        self._failure: Exception | None = None

    def listen_to_signals(self) -> None:
        """Let the first signal request the end; ignore further ones."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if number != signal.SIGHUP or not _is_ignored(number):  # as by nohup
                signal.signal(number, lambda *_: None)

    def request(self, failure: Exception | None = None) -> None:
        """Request the end of the node, with the failure that causes it, if any."""
        self._failure = failure
        self._writer.send(b"!")

    def wait(self) -> Exception | None:
        """Wait for the request to end; return the failure that causes it, or None."""
        self._reader.recv(1)
        return self._failure


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


class SignalInbox:
    """The signals that arrive during a ``with`` block of the main thread, which reads them.

    Those that are ignored stay ignored, as SIGHUP by nohup or SIGINT in a background job. Those
    that were not read go to the former handlers at the end. For the socket, see ``EndRequest``.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._former_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._former = {
            number: signal.signal(number, lambda *_: None)
            for number in self._numbers
            if number == signal.SIGCHLD or not _is_ignored(number)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_fd)
        unread = self.take_unread()
        self._reader.close()
        self._writer.close()
        for number in unread:
            signal.raise_signal(number)

    def next(self, seconds: float) -> int | None:
        """Return the number of the next signal, None if there was none within the seconds."""
        ready, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        return self._reader.recv(1)[0] if ready else None

    def take_unread(self) -> list[int]:
        """Return the signals that have arrived and were not read, without SIGCHLD."""
        unread = list(iter(lambda: self.next(0.0), None))
        return [number for number in unread if number != signal.SIGCHLD]


def end_on_signals() -> None:
    """Raise an exception at the first signal that is not ignored; ignore further ones."""
    for number in SIGNALS:
        if not _is_ignored(number):
            signal.signal(number, _end)


def ignore_signals() -> None:
    """Ignore all signals that would end the command."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise typer.Exit(SIGNALLED + number)
