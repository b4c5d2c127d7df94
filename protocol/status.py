"""Status of a node: its role and its log, as reported by the node itself."""

from enum import IntEnum

import msgspec

from protocol.membership import Membership, NodeId


class RoleName(IntEnum):
    """A node's role in its current term."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2


class ReplicationStatus(msgspec.Struct, frozen=True, array_like=True):
    """The replicator's part of a node's status."""

    term: int  # the current one
    role: RoleName  # in this term
    leader: NodeId | None  # id; None if unknown
    last_index: int  # of the last entry of the log
    commit_index: int  # of the last entry known to be committed
    membership: Membership  # last committed one that the node knows
    removed: bool  # whether the node knows that it was removed
    # Milliseconds since contact with the leader or, if it leads, a majority; None before any.
    silence_ms: int | None = None
    level: int = 0  # of the commands that the node can apply; 0 where it does not tell
