"""Hard state: term, vote and promises that must be durable before any answer."""

import msgspec

from protocol.ranges import IdOrNone, Microseconds, Term


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """Its term, and whom it voted for in it.

    Also its ``lease_promise_us``: for so long it may still be bound to a leader.
    """

    term: Term = 0
    voted_for: IdOrNone = b""
    lease_promise_us: Microseconds = 0
    removed: bool = False  # whether it learned that it is a member no more
