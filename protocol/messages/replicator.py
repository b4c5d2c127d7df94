"""Inbox of the log replicator: messages from the other actors of its node, and its own."""

import msgspec

from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.membership import MembershipAt, NodeId
from protocol.ranges import IdOrNone
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.space import SpaceChanged


class Recovered(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The contents of the data directory at the start of the node."""

    node: NodeId  # its id
    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    incarnation: int  # number of this start
    hard_state: HardState  # as last written
    applied_index: int  # of the last entry applied to the tables
    prev_index: int  # of the entry before the first of ``entries``
    prev_term: int  # of that entry
    entries: tuple[LogEntry, ...]  # end of the log, as much as the replicator keeps in memory
    memberships: tuple[MembershipAt, ...]  # that may still count, oldest first
    # Id, milliseconds, and those recorded as left (0: all of them) of each lease on keys.
    leases: tuple[tuple[int, int, int], ...] = ()


class Persisted(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """All writes up to this number are durable."""

    number: int  # of the last write, as in ``Append``
    incarnation: int  # of the node that wrote
    term: int  # of the last entry of the log
    index: int  # of the last entry of the log


class LogSlice(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """The entries that ``FetchLog`` asked for, with the term of the one before them."""

    peer: NodeId  # id of the follower
    prev_index: int  # of the entry before the first of ``entries``
    prev_term: int  # of that entry
    entries: tuple[LogEntry, ...]  # consecutive


class ElectionDue(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """The random election timeout passed since this contact with a leader."""

    contact_count: int  # count of contacts when the deadline was set


class LeaderQuiet(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """The minimum election timeout passed since this contact with a leader."""

    contact_count: int  # count of contacts when the deadline was set


class HeartbeatDue(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """The heartbeat interval has passed."""


class QuorumCheckDue(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """The maximum election timeout passed since the last quorum check."""


class StorageCheckDue(msgspec.Struct, frozen=True, array_like=True, tag=39):
    """The maximum election timeout passed since the last check that storage answers."""


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """Append a batch of writes to the log."""

    number: int  # of the proposal at the gateway
    payload: bytes  # encoded ``Batch``
    grows: bool = True  # whether it has an ``Insert``, so that it needs space


class Read(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """Serve reads linearizably."""

    number: int  # of the read at the gateway
    payload: bytes  # encoded ``ReadBatch``
    leader_lease: bool = False  # whether the leader's lease is enough
    ahead: bool = True  # storage may read before this is confirmed
    leases: tuple[int, ...] = ()  # ids of the leases that the reads keep alive


class RemoveMember(msgspec.Struct, frozen=True, array_like=True, tag=29):
    """Remove a member from the cluster."""

    number: int  # of the request at the gateway
    node: NodeId  # id of the member
    force: bool = False  # even if the voters that answer would be no majority


class InviteMember(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """Ask the standby node at this address to join."""

    address: str  # host:port of the standby node


class AskStatus(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """Ask for the status of this node."""

    number: int  # of the request at the gateway


class CommitNoticeDue(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """No entries were sent in time to carry the commit index to the followers."""


class StepAside(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """The node is stopping: hand leadership over, if it leads."""


class TransferTo(msgspec.Struct, frozen=True, array_like=True, tag=38):
    """Hand leadership over to this voter, or to the one closest to the leader's log."""

    node: IdOrNone  # id of the voter; empty for any


class LogCompacted(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """The log does not go back as far as ``FetchLog`` asked: the follower needs a snapshot."""

    peer: NodeId  # id of the follower
    from_index: int  # as asked for


class SnapshotRead(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """The chunk that ``FetchSnapshot`` asked for."""

    reader: bytes  # id of the follower
    chunk: SnapshotChunk | None  # None if that snapshot is not kept


class ChunkStaged(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """How much of the leader's snapshot is staged; the next chunk begins there."""

    position: SnapshotPosition  # end of what is durable


class SnapshotInstalled(msgspec.Struct, frozen=True, array_like=True, tag=37):
    """A snapshot was durably installed as this node's state."""

    index: int  # of the last entry that it contains
    term: int  # of that entry
    membership: MembershipAt  # last one up to that entry
    # Id, milliseconds, and those recorded as left (0: all of them) of each lease on keys.
    leases: tuple[tuple[int, int, int], ...] = ()


class LeasesApplied(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Leases on keys have begun, ended or been recorded, by entries that were applied.

    It is also sent for the first entry of a term, while there are leases.
    """

    index: int  # of the last entry applied
    granted: tuple[tuple[int, int], ...]  # id and milliseconds of each one that has begun
    ended: tuple[int, ...]  # ids, also of those that have begun by the same entries
    left: tuple[tuple[int, int], ...] = ()  # id and recorded milliseconds; 0: its whole time


ReplicatorMessage = (
    Recovered
    | Persisted
    | LogSlice
    | ElectionDue
    | LeaderQuiet
    | HeartbeatDue
    | QuorumCheckDue
    | StorageCheckDue
    | Propose
    | Read
    | RemoveMember
    | InviteMember
    | AskStatus
    | CommitNoticeDue
    | StepAside
    | TransferTo
    | LogCompacted
    | SnapshotRead
    | ChunkStaged
    | SnapshotInstalled
    | LeasesApplied
    | SpaceChanged
)
