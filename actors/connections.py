"""Connections: the accepted connections of a listening socket, by descriptor.

ZeroMQ owns the descriptors and closes them in a thread of its own. To close a connection safely,
its descriptor is duplicated, checked to be still the same connection, and shut down. The
duplicate's descriptor is reserved, so that this works even if all descriptors are in use.

ZeroMQ does not tell which connection has finished its handshake, but the kernel how much each has
been sent: with the handshake's last command, it is more than any stranger gets.
"""

import contextlib
import logging
import os
import select
import socket
import struct
import sys
from collections import Counter
from collections.abc import Container, Mapping

import msgspec

from actors.logs import OncePerSender
from actors.port import Port, Readable
from actors.sockets import ACCEPTED
from protocol.connection_limits import (
    ConnectionActivity,
    Handshake,
    is_ready,
    to_break_off,
    to_close,
)
from protocol.security.handshakes import FAILED, PROTOCOL, REFUSED_AUTH, read_event

TCP_INFO: int | None = 11 if sys.platform == "linux" else None
TCP_INFO_BYTES = 136
LAST_DATA_RECEIVED = struct.Struct("52xI")  # milliseconds ago
BYTES_ACKNOWLEDGED, BYTES_RECEIVED = struct.Struct("120xQ"), struct.Struct("128xQ")
TRAFFIC = struct.Struct("120xQQ")  # bytes acknowledged and received

UNKNOWN = "a connection"  # that had ended before it could be looked at
NONE_REFUSED: Mapping[str, int] = {}
BARRED_SECONDS = 1.0  # in which a host that floods a port is not let in again

log = logging.getLogger("skiff.connections")


class _Connection(msgspec.Struct, frozen=True):
    """An accepted connection: the inode of its socket, when it was accepted, and from where."""

    inode: int
    accepted_at: float
    origin: str  # host at the other end


class Connections:
    """The open connections of one port. Times are seconds of a steady clock."""

    def __init__(self, port: Port) -> None:
        assert port.monitor is not None, "it does not listen"
        self._monitor = port.monitor
        self._is_secure = port.is_secure
        self._accepted: dict[int, _Connection] = {}
        self._in_handshake: set[int] = set()  # as far as the system reports it
        self._failed = 0  # event of the failed handshake whose connection ends next
        self._warned = OncePerSender()
        self.refused = 0  # handshakes that have failed
        self._refused_hosts: Counter[str] = Counter()  # of those that were not just broken off
        self._barred_until: dict[str, float] = {}  # by host
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        self._copy = os.dup(self._nothing)

    def __len__(self) -> int:
        return len(self._accepted)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._accepted

    def origin_of(self, descriptor: int) -> str:
        """Return the host at the other end of a connection; empty if it is not open."""
        connection = self._accepted.get(descriptor)
        return "" if connection is None else connection.origin

    def is_readable(self, readable: Readable) -> bool:
        """Whether connections have been accepted or lost."""
        return self._monitor in readable

    def take_in(self, now: float) -> list[int]:
        """Process accepted and lost connections; return the descriptors of the lost ones.

        A descriptor is reported lost before it is accepted again. Frames may arrive before their
        connection is reported, so that an acceptance must not discard state of that descriptor.
        """
        lost: list[int] = []
        for frames in self._monitor.drain():
            event, descriptor = read_event(frames[0])
            if event & FAILED:
                self.refused += 1
                self._failed = event
                continue
            ended = self._forget(descriptor)
            if event == ACCEPTED:
                self._accept(descriptor, now)
                continue
            lost.append(descriptor)
            if self._failed:
                self._note_refusal(self._failed, UNKNOWN if ended is None else ended.origin)
            self._failed = 0
        return lost

    def take_refused(self) -> Mapping[str, int]:
        """Return how many connections were refused since the last call, by host."""
        if not self._refused_hosts:
            return NONE_REFUSED
        taken, self._refused_hosts = self._refused_hosts, Counter()
        return taken

    def _accept(self, descriptor: int, now: float) -> None:
        with contextlib.suppress(OSError):  # already closed
            origin = _origin_of(descriptor)
            inode = os.fstat(descriptor).st_ino
            self._accepted[descriptor] = _Connection(inode, now, origin)
            if self._is_secure:
                self._in_handshake.add(descriptor)
            if self._barred_until.get(origin, now) > now:
                self.close(descriptor)

    def _forget(self, descriptor: int) -> _Connection | None:
        self._in_handshake.discard(descriptor)
        return self._accepted.pop(descriptor, None)

    def _note_refusal(self, event: int, origin: str) -> None:
        """Count it, and log once for each origin; the ZAP handler has logged unknown keys."""
        if event in (PROTOCOL, REFUSED_AUTH):
            self._refused_hosts[origin] += 1
        if event == REFUSED_AUTH or not self._warned.is_new(origin.encode() + bytes([event >> 8])):
            return
        if event == PROTOCOL:
            log.warning("refused %s: it has no key, or not the one of this node", origin)
        else:
            log.info("the handshake of %s was broken off", origin)

    def full(self) -> list[int]:
        """Return the connections for which the kernel accepts no more bytes."""
        poll = select.poll()
        for descriptor in self._accepted:
            poll.register(descriptor, select.POLLOUT)
        others = {descriptor for descriptor, _ in poll.poll(0)}
        return [descriptor for descriptor in self._accepted if descriptor not in others]

    def acknowledged(self, descriptor: int) -> int | None:
        """Return how many bytes the peer has acknowledged; None if that is unknown."""
        return _ask(descriptor, BYTES_ACKNOWLEDGED)

    def received(self) -> dict[int, int]:
        """Return the bytes received over each connection, if the system reports them."""
        counts = {each: _ask(each, BYTES_RECEIVED) for each in self._accepted}
        return {each: count for each, count in counts.items() if count is not None}

    def trim(self, limit: int, now: float, protected: Container[int] = ()) -> list[int]:
        """Close the connections beyond a limit, the longest idle first; return them."""
        if len(self._accepted) <= limit:
            return []
        self._find_handshakes(now)  # so that those are known which are finished
        activities = [self._activity(each, now, each in protected) for each in self._accepted]
        closing = to_close(activities, limit)
        for descriptor in closing:
            self.close(descriptor)
        return closing

    @property
    def handshakes(self) -> int:
        """Number of connections that were in their handshakes when last asked."""
        return len(self._in_handshake)

    def break_off(self, now: float) -> list[str]:
        """Close strangers that send too much or are too many; return their hosts."""
        closed: list[str] = []
        for each in to_break_off(self._find_handshakes(now)):
            if self._is_in_handshake(each.connection):  # still, as many finish at once
                self._refused_hosts[each.origin] += 1
                self.close(each.connection)
                closed.append(each.origin)
        return closed

    def _is_in_handshake(self, descriptor: int) -> bool:
        return not is_ready(_ask(descriptor, BYTES_ACKNOWLEDGED) or 0)

    def _find_handshakes(self, now: float) -> list[Handshake]:
        """Return the handshakes that are not finished, and forget the others."""
        found: list[Handshake] = []
        for descriptor in self._in_handshake:
            info = _info(descriptor)
            if len(info) < TRAFFIC.size:
                continue  # it is not over TCP, has just been lost, or the system reports nothing
            acknowledged, received = TRAFFIC.unpack(info[: TRAFFIC.size])
            if not is_ready(acknowledged):
                connection = self._accepted[descriptor]
                age = now - connection.accepted_at
                found.append(Handshake(descriptor, age, received, connection.origin))
        self._in_handshake = {each.connection for each in found}
        return found

    def bar(self, descriptor: int, now: float) -> None:
        """Shut a connection down, and further ones of its host for a while."""
        connection = self._accepted.get(descriptor)
        if connection is None:
            return
        self._barred_until = {host: at for host, at in self._barred_until.items() if at > now}
        self._barred_until[connection.origin] = now + BARRED_SECONDS
        self.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Shut a connection down, so that ZeroMQ drops it and its queue."""
        connection = self._forget(descriptor)
        if connection is None:
            return
        with contextlib.suppress(OSError):  # it is closed already
            os.dup2(descriptor, self._copy)
            if os.fstat(self._copy).st_ino == connection.inode:
                _shut_down(self._copy)
        os.dup2(self._nothing, self._copy)

    def _activity(self, descriptor: int, now: float, protected: bool) -> ConnectionActivity:
        milliseconds = _ask(descriptor, LAST_DATA_RECEIVED)
        connection = self._accepted[descriptor]
        age = now - connection.accepted_at
        idle = age if milliseconds is None else min(age, milliseconds / 1000)
        return ConnectionActivity(
            descriptor,
            age,
            idle,
            _ask(descriptor, BYTES_RECEIVED),
            protected,
            connection.origin,
            descriptor in self._in_handshake,
        )


def _origin_of(descriptor: int) -> str:
    """Return the host at the other end of a connection; raises OSError if it is closed."""
    accepted = socket.socket(fileno=descriptor)
    try:
        place = accepted.getpeername()
    finally:
        accepted.detach()
    return str(place[0]) if isinstance(place, tuple) else "a program on this machine"


def _shut_down(descriptor: int) -> None:
    accepted = socket.socket(fileno=descriptor)
    try:
        accepted.shutdown(socket.SHUT_RDWR)
    finally:
        accepted.detach()


def _ask(descriptor: int, field: struct.Struct) -> int | None:
    """Return one field of a connection's TCP_INFO; None if the system does not report it."""
    info = _info(descriptor)
    if len(info) < field.size:
        return None
    (value,) = field.unpack(info[: field.size])
    return int(value)


def _info(descriptor: int) -> bytes:
    """Return a connection's TCP_INFO; empty if there is none."""
    if TCP_INFO is None:
        return b""
    with contextlib.suppress(OSError):
        accepted = socket.socket(fileno=descriptor)
        try:
            return accepted.getsockopt(socket.IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)
        finally:
            accepted.detach()
    return b""
