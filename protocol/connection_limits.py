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
SLACK = 32  # 1/32 of the limit is closed at once, because ranking all connections is slow


class ConnectionActivity(msgspec.Struct, frozen=True):
    """A connection's age and traffic, by which connections to close are chosen."""

    connection: int
    age_seconds: float
    idle_seconds: float
    received: int | None  # bytes; None if the system does not report it
    protected: bool = False
    origin: str = ""  # host at the other end

    @property
    def is_late(self) -> bool:
        """Whether it should have sent ZeroMQ's greeting by now."""
        return (
            self.received is not None
            and self.received < GREETING_BYTES
            and self.age_seconds > GREETING_SECONDS
        )


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


def to_close(activities: Iterable[ConnectionActivity], limit: int) -> list[int]:
    """Return the connections to close if there are more than the limit.

    One host that has most of them makes room before any other: it may be flooding the port.
    """
    activities = list(activities)
    (crowd, count), *_ = Counter(each.origin for each in activities).most_common(1) or [("", 0)]
    is_crowded = count * CROWD_SHARE > len(activities)

    def rank(each: ConnectionActivity) -> tuple[bool, bool, bool, float]:
        is_of_others = is_crowded and each.origin != crowd
        return (each.protected, not each.is_late, is_of_others, -each.idle_seconds)

    ranked = sorted(activities, key=rank)
    return [each.connection for each in ranked[: len(ranked) - limit + limit // SLACK]]
