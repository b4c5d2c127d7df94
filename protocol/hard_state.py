"""Hard state: term, vote and lease promise, durable before any reply that depends on them."""

import msgspec

from protocol.ranges import IdOrNone, Microseconds, Term


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """The state that a node must not lose in a crash."""

    term: Term = 0  # the highest that the node has seen
    voted_for: IdOrNone = b""  # id of the candidate that has its vote in this term; empty for none
    # How long after a start, in microseconds of its own clock, a leader may still rely on a promise
    # from before it.
    lease_promise_us: Microseconds = 0
    removed: bool = False  # whether the node knows that it was removed
