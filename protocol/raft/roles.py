"""Follower, candidate, leader: what a node remembers only while it is one."""

import msgspec

from protocol.membership import NodeId
from protocol.raft.progress import Progress
from protocol.raft.reads import Reads


class Follower(msgspec.Struct):
    """Follows the leader it has heard in this term, if any."""

    leader: NodeId | None = None
    leader_lease_active: bool = (
        False  # one was heard, in whatever term, within the shortest timeout
    )


class Candidate(msgspec.Struct):
    """Collects votes; with ``pre``, only asks whether an election would be won (§9.6)."""

    pre: bool
    votes: dict[NodeId, bool] = msgspec.field(default_factory=dict)


class Leader(msgspec.Struct):
    """Replicates its log to all other members."""

    first_index: int  # of its own term: what it may count from (§5.4.2)
    progress: dict[NodeId, Progress] = msgspec.field(default_factory=dict)
    reads: Reads = msgspec.field(default_factory=Reads)
    durable_index: int = 0  # how far its own disk holds the log
    uncommitted_bytes: int = 0
    proposers: dict[NodeId, int] = msgspec.field(default_factory=dict)  # last index forwarded by
    transfer_to: NodeId | None = None
    # When each removal that waits was asked for: microseconds of the leader's clock.
    removals_asked: dict[NodeId, int] = msgspec.field(default_factory=dict)
    timeout_now_sent: bool = False  # told a successor to campaign, which may still do so


Role = Follower | Candidate | Leader
