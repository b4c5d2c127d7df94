"""Lifeline: the socket pair between the supervisor and one actor.

It carries orders to the actor and reports from it, as lines of JSON. When a process ends, however
that happens, the other end sees the socket close at once.
"""

import select
import socket
from collections.abc import Iterator

import msgspec

from protocol.config import NodeConfig
from protocol.security.keys import ClusterKeys

LIFELINE = 0  # descriptor of an actor's end: its standard input
RECEIVE_BYTES = 65536


class Start(msgspec.Struct, frozen=True, tag=True):
    """Run with these settings; ``ipc_directory`` holds the node's ipc sockets."""

    config: NodeConfig
    ipc_directory: str
    keys: ClusterKeys | None  # None for a node without

    def __post_init__(self) -> None:
        """Refuse to run a node without the keys that its settings demand."""
        if (self.keys is None) == bool(self.config.key):
            raise ValueError("keys and settings contradict each other")


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Stop gracefully."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The actor is ready; the node's id as hexadecimal digits."""

    node: str


class Failing(msgspec.Struct, frozen=True, tag=True):
    """The actor ends because of this failure."""

    error: str
    message: str
    lasting: bool


Order = Start | Stop
Report = Ready | Failing

_encode = msgspec.json.Encoder().encode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_report = msgspec.json.Decoder(Report).decode


class LifelineCut(Exception):
    """The other end is closed."""


class _End:
    """One end of a lifeline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close this end, which the other end sees as the end of this process."""
        self._connection.close()

    def wait_until_cut(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the end of the other process; return whether it came."""
        poll = select.poll()
        poll.register(self.fileno(), 0)  # POLLHUP is always reported
        return bool(poll.poll(max(0.0, seconds) * 1000))

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
        """Send an order.

        Raises:
            LifelineCut: the actor is gone.
        """
        self._send(order)

    def reports(self) -> list[Report]:
        """Return the actor's reports; blocks until data arrives.

        Raises:
            LifelineCut: the actor is gone.
        """
        return [_decode_report(line) for line in self._receive()]


class ActorEnd(_End):
    """The actor's end, which it inherits as its standard input."""

    def __init__(self) -> None:
        super().__init__(socket.socket(fileno=LIFELINE))

    def report(self, report: Report) -> None:
        """Send a report, if the supervisor still runs."""
        try:
            self._send(report)
        except LifelineCut:
            return

    def is_cut(self) -> bool:
        """Whether the supervisor is gone."""
        return self.wait_until_cut(0.0)

    def orders(self) -> list[Order]:
        """Return the supervisor's orders; blocks until data arrives.

        Raises:
            LifelineCut: the supervisor is gone.
        """
        return [_decode_order(line) for line in self._receive()]


def open_lifeline() -> tuple[SupervisorEnd, socket.socket]:
    """Return the supervisor's end, and the socket that the actor inherits as standard input."""
    ours, theirs = socket.socketpair()
    return SupervisorEnd(ours), theirs
