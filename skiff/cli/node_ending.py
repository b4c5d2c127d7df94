"""The end of a node's command: by a signal, or by one of its threads."""

import signal
import socket

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class NodeEnding:
    """Waited for by the main thread, told by any other one.

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
