"""Hard state: term, vote and lease promise, durable before any reply that depends on them."""

import msgspec

from protocol.ranges import IdOrNone, Microseconds, Term


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """A node's term and its vote in that term.

    Also ``lease_promise_us``: the time, from a start on, for which a leader may still rely on it.
    """

    term: Term = 0
    voted_for: IdOrNone = b""
    lease_promise_us: Microseconds = 0
    removed: bool = False  # whether the node knows that it was removed
