"""The socket pair between the supervisor and one actor: orders down, readiness up, life both ways.

When either end closes, however its process ended, the other one knows at once. Messages are
lines of JSON.
"""

import select
import socket
from collections.abc import Iterator

import msgspec

from protocol.config import NodeConfig

RECEIVE_BYTES = 65536


class Start(msgspec.Struct, frozen=True, tag=True):
    """Run with these settings; ``names`` is the directory of the node's ipc sockets."""

    config: NodeConfig
    names: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End in good order."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The actor serves; the node's id as hexadecimal digits."""

    node: str


class Failing(msgspec.Struct, frozen=True, tag=True):
    """The actor ends because of this."""

    error: str
    message: str
    lasting: bool


Order = Start | Stop
Report = Ready | Failing

_encode = msgspec.json.Encoder().encode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_report = msgspec.json.Decoder(Report).decode


class LifelineCut(Exception):
    """The other end is gone."""


class _End:
    """One end of a lifeline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close this end: the other one hears it as the end of this process."""
        self._connection.close()

    def _send(self, message: Order | Report) -> None:
        try:
            self._connection.sendall(_encode(message) + b"\n")
        except OSError as error:
            raise LifelineCut from error

    def _receive(self) -> Iterator[bytes]:
        try:
            received = self._connection.recv(RECEIVE_BYTES)
        except OSError as error:
            raise LifelineCut from error
        if not received:
            raise LifelineCut
        *lines, self._unread = (self._unread + received).split(b"\n")
        yield from lines


class SupervisorEnd(_End):
    """The supervisor's end."""

    def order(self, order: Order) -> None:
        """Tell the actor something.

        Raises:
            LifelineCut: the actor is gone.
        """
        self._send(order)

    def reports(self) -> list[Report]:
        """Return what the actor says; blocks until it says something.

        Raises:
            LifelineCut: the actor is gone.
        """
        return [_decode_report(line) for line in self._receive()]


class ActorEnd(_End):
    """The actor's end, which it inherits as its standard input."""

    def __init__(self) -> None:
        super().__init__(socket.socket(fileno=0))

    def report(self, report: Report) -> None:
        """Tell the supervisor something, if it still lives."""
        try:
            self._send(report)
        except LifelineCut:
            return

    def is_cut(self) -> bool:
        """Whether the supervisor is gone."""
        poll = select.poll()
        poll.register(self.fileno(), 0)  # a hang-up is told without being asked for
        return bool(poll.poll(0))

    def orders(self) -> list[Order]:
        """Return what the supervisor orders; blocks until some of it has arrived.

        Raises:
            LifelineCut: the supervisor is gone.
        """
        return [_decode_order(line) for line in self._receive()]


def open_lifeline() -> tuple[SupervisorEnd, socket.socket]:
    """Return the supervisor's end and what the actor is to inherit as standard input."""
    ours, theirs = socket.socketpair()
    return SupervisorEnd(ours), theirs
