"""Inbox of the storage writer: messages from the other actors of its node."""

import msgspec

from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.membership import MembershipAt, NodeId
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.status import ReplicationStatus


class Append(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make the changes since the previous write durable, in one step.

    An empty one only checks that storage answers.
    """

    number: int  # counts the writes of this incarnation, from 1
    hard_state: HardState | None  # None where it has not changed
    entries: tuple[LogEntry, ...]  # replace all entries from the index of the first one on
    memberships: tuple[MembershipAt, ...] | None  # committed and later ones; None: unchanged

    @property
    def changes_something(self) -> bool:
        """Whether there is anything to make durable."""
        return bool(self.entries) or not (self.hard_state is None and self.memberships is None)


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Everything up to this index is committed: apply it."""

    index: int  # of the last committed entry


class ReadAt(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Answer these reads once the index is applied; the payload is a ``ReadBatch``."""

    number: int  # of the read at the gateway
    index: int  # of the last entry that the reads must see
    payload: bytes  # encoded ``ReadBatch``
    confirmed: bool  # else the gateway gets ``ReadsConfirmed`` or ``ReadFailed`` later


class FetchLog(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Read entries that the replicator no longer has in memory, for a follower far behind."""

    peer: NodeId  # id of the follower
    from_index: int  # of the first entry to read
    bytes_max: int  # payload bytes to read, but one entry at least
    match_index: int  # the follower's; no log before it is retained for this follower


class AdoptCluster(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """This node belongs to a cluster from now on; written before all later changes."""

    cluster: bytes  # id of 16 bytes


class ReportStatus(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Add what the state machine knows to a status and send it on to the gateway."""

    number: int  # of the request at the gateway
    status: ReplicationStatus  # the replicator's part


class FollowChanges(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Send every change from now on, and confirm the revision before the first one."""

    nonce: bytes  # repeated by ``Following``


class IgnoreChanges(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Send no more changes: there are no subscribers."""


class FetchSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Read a chunk of a snapshot, which is kept, with the log after it, until ``EndSnapshot``."""

    reader: NodeId  # id of the follower that it is for
    position: SnapshotPosition | None  # start of the chunk; None to begin a new snapshot


class EndSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """This reader no longer needs its snapshot."""

    reader: bytes  # id of the follower


class StageChunk(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Stage a chunk of the leader's snapshot; after the last one, install it."""

    chunk: SnapshotChunk  # the next one of the snapshot


StorageMessage = (
    Append
    | Commit
    | ReadAt
    | FetchLog
    | AdoptCluster
    | ReportStatus
    | FollowChanges
    | IgnoreChanges
    | FetchSnapshot
    | EndSnapshot
    | StageChunk
)
