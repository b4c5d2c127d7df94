"""Hard state: term, vote and lease promise, durable before any reply that depends on them."""

import msgspec

from protocol.ranges import IdOrNone, Microseconds, Term


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What a node must not forget of its elections and its membership."""

    term: Term = 0  # the current one: the highest that the node has seen
    voted_for: IdOrNone = b""  # id of the candidate that has its vote in this term; empty for none
    # Microseconds of its own clock, from a start on, for which a leader may still rely on it.
    lease_promise_us: Microseconds = 0
    removed: bool = False  # whether the node knows that it was removed
