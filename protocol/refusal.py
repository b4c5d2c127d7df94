"""Refusals: why a leader, or a node without a leader, does not begin a request."""

from enum import IntEnum


class Refusal(IntEnum):
    """The reason; each implies that this attempt has changed nothing."""

    NOT_LEADER = 1  # another node leads, or none: try again
    OVERLOADED = 2  # too many uncommitted proposals
    BUSY = 3  # another membership change is pending: try again
    UNKNOWN_MEMBER = 4  # no such node is a member
    LAST_VOTER = 5  # without this node there is no quorum
    INVALID = 6  # can never succeed as it stands
    QUORUM_AT_RISK = 7  # the voters that answer would be no majority after it; may be forced
    STORAGE_FULL = 8  # it would grow the state, and there is no space
    OLD_MEMBER = 9  # some member runs an older version, which cannot apply it
