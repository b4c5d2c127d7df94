"""Hard state: term, vote and promises that must be durable before any answer."""

import msgspec

from protocol.ranges import IdOrNone, Microseconds, Term


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What a node must not forget of its elections and its membership."""

    term: Term = 0  # the current one: the highest that the node has seen
    voted_for: IdOrNone = b""  # id of the candidate that has its vote in this term; empty for none
    # Microseconds of its own clock for which it may be bound to a leader.
    patience: Microseconds = 0
    removed: bool = False  # whether it learned that it is a member no more
