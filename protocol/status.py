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

    term: int
    role: RoleName
    leader: NodeId | None
    last_index: int
    commit_index: int
    membership: Membership
    removed: bool
    # Milliseconds since it heard its leader or, as leader, a majority; None where it never has.
    silence_ms: int | None = None
