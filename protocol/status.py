"""Status of a node in its cluster, by its own account."""

from enum import IntEnum

import msgspec

from protocol.membership import Membership, NodeId


class RoleName(IntEnum):
    """What a node does in its current term."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2


class ReplicationStatus(msgspec.Struct, frozen=True, array_like=True):
    """What the Raft core knows about its node."""

    term: int  # the current one
    role: RoleName  # in this term
    leader: NodeId | None  # id; None where none is known
    last_index: int  # of the last entry of the log
    commit_index: int  # of the last entry known to be committed
    membership: Membership  # last committed one that the node knows
    removed: bool  # whether the node knows that it is no member any more
    # Milliseconds since it heard its leader or, as leader, a majority; None where it never has.
    silence_ms: int | None = None
