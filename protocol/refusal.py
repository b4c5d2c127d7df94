"""Refusals: the reasons for which a leader, or a node without one, does not begin a request."""

from enum import IntEnum


class Refusal(IntEnum):
    """Each says that this attempt certainly changed nothing."""

    NOT_LEADER = 1  # asked the wrong node, or nobody leads: try again
    OVERLOADED = 2  # too much waits to be committed
    BUSY = 3  # another change of members is under way: try again
    UNKNOWN_MEMBER = 4  # no such node is a member
    LAST_VOTER = 5  # without this node nobody could commit anything
    INVALID = 6  # never will succeed as it stands
    QUORUM_AT_RISK = 7  # those who answer would be no majority after it; may be forced
    STORAGE_FULL = 8  # it would let the state grow, for which there is no room
