"""Connections: what a listening socket has accepted, by descriptor, as the system sees it.

ZeroMQ owns the descriptors, and closes them in a thread of its own. To close a connection, this
process therefore takes a copy of the descriptor, makes sure that it still is the same connection,
and shuts that down. The copy has a place reserved, for when all descriptors are taken.
"""

import contextlib
import os
import select
import socket
import struct
import sys
from collections.abc import Container

import msgspec

from actors.sockets import ACCEPTED, Port, Readable
from protocol.connection_limits import ConnectionActivity, to_close

TCP_INFO: int | None = 11 if sys.platform == "linux" else None
TCP_INFO_BYTES = 136
LAST_DATA_RECEIVED = struct.Struct("52xI")  # milliseconds ago
BYTES_ACKNOWLEDGED, BYTES_RECEIVED = struct.Struct("120xQ"), struct.Struct("128xQ")
EVENT = struct.Struct("=HI")  # of ZeroMQ's monitor: the event, and here its descriptor


class _Connection(msgspec.Struct, frozen=True):
    """An accepted connection: the number that the system has given its socket, and its age."""

    inode: int
    accepted_at: float


class Connections:
    """All connections that one port has accepted and not lost."""

    def __init__(self, port: Port) -> None:
        assert port.monitor is not None, "it does not listen"
        self._monitor = port.monitor
        self._accepted: dict[int, _Connection] = {}
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        self._copy = os.dup(self._nothing)

    def __len__(self) -> int:
        return len(self._accepted)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._accepted

    def is_readable(self, readable: Readable) -> bool:
        """Whether some have been accepted or lost."""
        return self._monitor in readable

    def take_in(self, now: float) -> list[int]:
        """Take in what has been accepted and lost; return the descriptors of what was lost.

        Each is lost before it is accepted anew. Frames may come before the news of their
        connection, so that nothing of an accepted one may be forgotten.
        """
        lost: list[int] = []
        for frames in self._monitor.drain():
            event, descriptor = EVENT.unpack(frames[0][: EVENT.size])
            self._accepted.pop(descriptor, None)
            if event == ACCEPTED:
                with contextlib.suppress(OSError):  # it is closed already
                    self._accepted[descriptor] = _Connection(os.fstat(descriptor).st_ino, now)
            else:
                lost.append(descriptor)
        return lost

    def full(self) -> list[int]:
        """Return the connections for which the system takes no more bytes."""
        poll = select.poll()
        for descriptor in self._accepted:
            poll.register(descriptor, select.POLLOUT)
        others = {descriptor for descriptor, _ in poll.poll(0)}
        return [descriptor for descriptor in self._accepted if descriptor not in others]

    def acknowledged(self, descriptor: int) -> int | None:
        """Return how many bytes the peer has acknowledged, if the system tells."""
        return _ask(descriptor, BYTES_ACKNOWLEDGED)

    def received(self) -> dict[int, int]:
        """Return how many bytes have come over each connection, where the system tells."""
        counts = {each: _ask(each, BYTES_RECEIVED) for each in self._accepted}
        return {each: count for each, count in counts.items() if count is not None}

    def trim(self, limit: int, now: float, protected: Container[int] = ()) -> list[int]:
        """Close the connections that are too many, the longest idle first; return them."""
        if len(self._accepted) <= limit:
            return []
        activities = [self._activity(each, now, each in protected) for each in self._accepted]
        closing = to_close(activities, limit)
        for descriptor in closing:
            self.close(descriptor)
        return closing

    def close(self, descriptor: int) -> None:
        """Shut a connection down, so that ZeroMQ lets go of it and of all that waits for it."""
        connection = self._accepted.pop(descriptor, None)
        if connection is None:
            return
        with contextlib.suppress(OSError):  # it is closed already
            os.dup2(descriptor, self._copy)
            if os.fstat(self._copy).st_ino == connection.inode:
                _shut_down(self._copy)
        os.dup2(self._nothing, self._copy)

    def _activity(self, descriptor: int, now: float, protected: bool) -> ConnectionActivity:
        milliseconds = _ask(descriptor, LAST_DATA_RECEIVED)
        age = now - self._accepted[descriptor].accepted_at
        idle = age if milliseconds is None else min(age, milliseconds / 1000)
        return ConnectionActivity(
            descriptor, age, idle, _ask(descriptor, BYTES_RECEIVED), protected
        )


def _shut_down(descriptor: int) -> None:
    accepted = socket.socket(fileno=descriptor)
    try:
        accepted.shutdown(socket.SHUT_RDWR)
    finally:
        accepted.detach()


def _ask(descriptor: int, field: struct.Struct) -> int | None:
    """Return one field of what the system knows of a connection; None where it does not tell."""
    if TCP_INFO is None:
        return None
    with contextlib.suppress(OSError):
        accepted = socket.socket(fileno=descriptor)
        try:
            info = accepted.getsockopt(socket.IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)
        finally:
            accepted.detach()
        if len(info) >= field.size:
            (value,) = field.unpack(info[: field.size])
            return int(value)
    return None
