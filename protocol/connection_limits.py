"""Connection limits: how many connections a port accepts, and which to close beyond that.

A connection takes a descriptor and about 20 KiB. A process without free descriptors can accept
neither clients nor peers, so that some are always kept free.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

CLIENTS_MAX = 4096
SUBSCRIBERS_MAX = 1024
PEERS_MAX = 512
RESERVED = 96  # descriptors for files, for the sockets of a node, and for links to peers
CONNECTIONS_MIN = 8
GREETING_BYTES = 64  # of ZeroMQ's handshake
GREETING_SECONDS = 1.0  # for the handshake; connections that are later are closed first
FLOOD_BYTES = 256 << 10  # received between two memory checks; less is no flood
CROWD_SHARE = 2  # a host with more than 1/2 of the connections makes room first
HANDSHAKE_SHARE = 16  # 1/16 of the limit may be in handshakes beyond it
SLACK = 32  # 1/32 of the limit is closed at once, because ranking all connections is slow

# CURVE's handshake (ZMTP 3.1): a client sends about 600 bytes and awaits READY before any message.
HANDSHAKE_BYTES = 4 << 10  # received before READY is sent; a client that sends more is a stranger
UNREADY_BYTES = GREETING_BYTES + 170 + 12  # sent without READY, at most: WELCOME, ERROR
HANDSHAKE_SECONDS = 2.0  # that one takes at most, also if a thousand clients connect at once
HANDSHAKES_MAX, HANDSHAKES_OF_HOST_MAX = 256, 128  # at one port, beyond which late ones are closed


class ConnectionActivity(msgspec.Struct, frozen=True):
    """A connection's age and traffic, by which connections to close are chosen."""

    connection: int
    age_seconds: float
    idle_seconds: float
    received: int | None  # bytes; None if the system does not report it
    protected: bool = False
    origin: str = ""  # host at the other end
    in_handshake: bool = False  # not authenticated yet

    @property
    def is_late(self) -> bool:
        """Whether it should have sent ZeroMQ's greeting by now."""
        return (
            self.received is not None
            and self.received < GREETING_BYTES
            and self.age_seconds > GREETING_SECONDS
        )


class Handshake(msgspec.Struct, frozen=True):
    """A connection whose handshake is not finished."""

    connection: int
    age_seconds: float
    received: int  # bytes
    origin: str  # host at the other end

    @property
    def is_excessive(self) -> bool:
        """Whether it has sent more than a handshake takes."""
        return self.received > HANDSHAKE_BYTES

    @property
    def is_late(self) -> bool:
        """Whether it should be finished by now."""
        return self.age_seconds > HANDSHAKE_SECONDS


class Limits(msgspec.Struct, frozen=True):
    """The maximum number of connections at each port."""

    clients: int
    subscribers: int
    peers: int


def limits_of(descriptors: int) -> Limits:
    """Return the limits for a process with this many descriptors."""
    free = max(descriptors - RESERVED, 4 * CONNECTIONS_MIN)
    return Limits(
        min(CLIENTS_MAX, free * 2 // 3), min(SUBSCRIBERS_MAX, free // 4), min(PEERS_MAX, free)
    )


def floods(before: dict[int, int], after: dict[int, int]) -> list[int]:
    """Return the connections with the most traffic, given the bytes received over each."""
    brought = {each: count - before.get(each, 0) for each, count in after.items()}
    most = max(brought.values(), default=0)
    return [each for each, count in brought.items() if count >= max(FLOOD_BYTES, most // 4)]


def is_ready(sent: int) -> bool:
    """Whether a handshake has succeeded, given the bytes sent to the connection."""
    return sent > UNREADY_BYTES


def to_break_off(handshakes: Iterable[Handshake]) -> list[Handshake]:
    """Return the handshakes to break off: excessive ones, and late ones that are too many.

    Of these, the oldest go first. Young ones stay: without time to finish, clients that connect
    again at once, as after the restart of a node, would displace each other forever.
    """
    closing: list[Handshake] = []
    kept: Counter[str] = Counter()  # by host
    for each in sorted(handshakes, key=lambda each: each.age_seconds):
        is_crowded = kept[each.origin] >= HANDSHAKES_OF_HOST_MAX or kept.total() >= HANDSHAKES_MAX
        if each.is_excessive or (is_crowded and each.is_late):
            closing.append(each)
        else:
            kept[each.origin] += 1
    return closing


def to_close(activities: Iterable[ConnectionActivity], limit: int) -> list[int]:
    """Return the connections to close if there are more than the limit.

    Strangers close no other connection, but have a little room of their own: with none, no one
    could connect once the limit is reached, after which the longest idle makes room.
    """
    strangers: list[ConnectionActivity] = []
    others: list[ConnectionActivity] = []
    for each in activities:
        (strangers if each.in_handshake else others).append(each)
    closing = _in_excess(others, limit, limit)
    room = limit + limit // HANDSHAKE_SHARE - (len(others) - len(closing))
    return closing + _in_excess(strangers, room, limit)


def _in_excess(activities: list[ConnectionActivity], room: int, limit: int) -> list[int]:
    """Return those to close, and some more, if there is not enough room for all.

    One host that has most of them makes room before any other: it may be flooding the port.
    """
    if len(activities) <= room:
        return []
    ((crowd, count),) = Counter(each.origin for each in activities).most_common(1)
    is_crowded = count * CROWD_SHARE > len(activities)

    def rank(each: ConnectionActivity) -> tuple[bool, bool, bool, float]:
        is_of_others = is_crowded and each.origin != crowd
        return (each.protected, not each.is_late, is_of_others, -each.idle_seconds)

    ranked = sorted(activities, key=rank)
    return [each.connection for each in ranked[: len(ranked) - room + limit // SLACK]]
