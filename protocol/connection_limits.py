"""Connection limits: how many connections an actor lets in, and which it closes beyond that.

Each takes a descriptor and about 20 KiB. At the limit of descriptors nothing could be accepted any
more, neither a client nor a peer, so that some are always kept free.
"""

from collections.abc import Iterable

import msgspec

CLIENTS_MAX = 4096
SUBSCRIBERS_MAX = 1024
PEERS_MAX = 512
RESERVED = 96  # descriptors for files, for the sockets of a node, and for links to peers
CONNECTIONS_MIN = 8
GREETING_BYTES = 64  # by which ZeroMQ begins
GREETING_SECONDS = 1.0  # in which a client has sent that; one that has not goes before others
FLOOD_BYTES = 256 << 10  # brought between two looks at memory: less is no flood
SLACK = 32  # beyond the limit, a part of it is closed at once: looking at all takes a while


class Standing(msgspec.Struct, frozen=True):
    """What is known of a connection when some must be closed."""

    connection: int
    age_seconds: float
    idle_seconds: float
    received: int | None  # bytes; None where the system does not tell
    protected: bool = False

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Return the sorting key by which the first are closed first."""
        is_late = (
            self.received is not None
            and self.received < GREETING_BYTES
            and self.age_seconds > GREETING_SECONDS
        )
        return (self.protected, not is_late, -self.idle_seconds)


class Limits(msgspec.Struct, frozen=True):
    """How many connections may be open, by the port at which they were accepted."""

    clients: int
    subscribers: int
    peers: int


def limits_of(descriptors: int) -> Limits:
    """Return the limits for processes that may have so many descriptors."""
    free = max(descriptors - RESERVED, 4 * CONNECTIONS_MIN)
    return Limits(
        min(CLIENTS_MAX, free * 2 // 3), min(SUBSCRIBERS_MAX, free // 4), min(PEERS_MAX, free)
    )


def floods(before: dict[int, int], after: dict[int, int]) -> list[int]:
    """Return the connections that have brought most, given the bytes received from each."""
    brought = {each: count - before.get(each, 0) for each, count in after.items()}
    most = max(brought.values(), default=0)
    return [each for each, count in brought.items() if count >= max(FLOOD_BYTES, most // 4)]


def to_close(standings: Iterable[Standing], limit: int) -> list[int]:
    """Return which connections to close where there are more than the limit."""
    ranked = sorted(standings, key=lambda each: each.rank)
    return [each.connection for each in ranked[: len(ranked) - limit + limit // SLACK]]
