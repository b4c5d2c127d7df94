"""Messages between the actors of one node, grouped by receiver.

A frame is a list of messages, handled in order. None is lost: the actors live and die together.
"""

import msgspec

from protocol.commands import Event, Result
from protocol.entry import Entry
from protocol.hard_state import HardState
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.ranges import IdOrNone
from protocol.refusal import Refusal
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.space import Room, SpaceChanged
from protocol.status import ReplicationStatus, RoleName

# --- heard by the storage writer


class Append(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make durable, in one step, what changed since the write before.

    Where nothing changed, it only asks for a sign of life.
    """

    number: int  # counts the writes of this incarnation, from 1
    hard_state: HardState | None  # None where it has not changed
    entries: tuple[Entry, ...]  # replace all entries from the index of the first one on
    memberships: tuple[MembershipAt, ...] | None  # all that may still count; None: unchanged

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
    confirmed: bool  # else ``ReadsConfirmed`` will tell the gateway so, or ``ReadFailed``


class FetchLog(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Read entries that have left the replicator's window, for a follower far behind."""

    peer: NodeId  # id of the follower
    from_index: int  # of the first entry to read
    bytes_max: int  # payload bytes to read, but one entry at least
    match_index: int  # the follower holds all up to here: no log before that is kept for it


class AdoptCluster(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """This node belongs to a cluster from now on; written before whatever follows."""

    cluster: bytes  # id of 16 bytes


class ReportStatus(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Add what the state machine knows to a status and send it on to the gateway."""

    number: int  # of the question at the gateway
    status: ReplicationStatus  # the replicator's part


class FollowChanges(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Send every change from now on, and say at which revision that began."""

    nonce: bytes  # repeated by ``Following``


class IgnoreChanges(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Send no more changes: there are no subscribers."""


class FetchSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Read a chunk of a snapshot: it is kept, and the log after it, until its reader ends it."""

    reader: NodeId  # id of the follower that it is for
    position: SnapshotPosition | None  # start of the chunk; None to begin a new snapshot


class EndSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """This reader needs its snapshot no more."""

    reader: bytes  # id of the follower


class StageChunk(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Keep a chunk of the leader's snapshot; with the last one, make it the node's state."""

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


# --- heard by the log replicator


class Recovered(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Content of the data directory when the node started."""

    node: NodeId  # its id
    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    incarnation: int  # number of this start
    hard_state: HardState  # as last written
    applied_index: int  # of the last entry applied to the tables
    prev_index: int  # of the entry before the first of ``entries``
    prev_term: int  # of that entry
    entries: tuple[Entry, ...]  # end of the log, as much as the replicator keeps in memory
    memberships: tuple[MembershipAt, ...]  # that may still count, oldest first


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
    entries: tuple[Entry, ...]  # consecutive


class ElectionDue(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """The randomised deadline passed since this contact with a leader."""

    contact: int  # count of contacts when the deadline was set


class LeaderQuiet(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """The shortest election timeout passed since this contact with a leader."""

    contact: int  # count of contacts when the deadline was set


class HeartbeatDue(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """It is time to send heartbeats."""


class QuorumCheckDue(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """A longest election timeout passed since the last check of who answers the leader."""


class StorageCheckDue(msgspec.Struct, frozen=True, array_like=True, tag=39):
    """A longest election timeout passed since storage was last asked for a sign of life."""


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """Append a batch of writes to the log."""

    number: int  # of the proposal at the gateway
    payload: bytes  # encoded ``Batch``
    grows: bool = True  # whether it has an ``Insert``, so that it needs space


class Read(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """Serve reads linearizably."""

    number: int  # of the read at the gateway
    payload: bytes  # encoded ``ReadBatch``
    lease: bool = False  # whether the leader's lease is enough
    ahead: bool = True  # storage may read before this is confirmed


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

    number: int  # of the question at the gateway


class CommitNoticeDue(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """No entries came along in time to carry the commit index to the followers."""


class StepAside(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """The node is about to stop: hand leadership over, if it leads."""


class TransferTo(msgspec.Struct, frozen=True, array_like=True, tag=38):
    """Hand leadership over to this voter, or to the one closest to the leader's log."""

    node: IdOrNone  # id of the voter; empty for any


class LogCompacted(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """The log does not go back as far as ``FetchLog`` asked: the follower needs a snapshot."""

    peer: NodeId  # id of the follower
    from_index: int  # as asked for


class SnapshotRead(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """The chunk that ``FetchSnapshot`` asked for; None where that snapshot is not kept here."""

    reader: bytes  # id of the follower
    chunk: SnapshotChunk | None  # None where that snapshot is not kept here


class ChunkStaged(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """How far the leader's snapshot has been taken in; the next chunk begins there."""

    position: SnapshotPosition  # end of what is durable


class SnapshotInstalled(msgspec.Struct, frozen=True, array_like=True, tag=37):
    """A snapshot is this node's state, durably; its last membership comes with it."""

    index: int  # of the last entry that it contains
    term: int  # of that entry
    membership: MembershipAt  # last one up to that entry


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
    | SpaceChanged
)


# --- heard by the client gateway


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """The data directory is open: the identity of this node."""

    node: NodeId  # its id
    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    incarnation: int  # number of this start


class Leadership(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """Cluster, term, leader and members, as far as this node knows them."""

    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    term: int  # its current one
    role: RoleName  # in this term
    leader: NodeId | None  # id; None where none is known
    leader_address: str  # host:port of its gateway; empty where none is known
    membership: Membership  # last committed one that it knows
    removed: bool  # whether it knows that it is no member any more
    stalled: bool  # its storage does not answer, so that it can do nothing for clients


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """A proposal or membership change was certainly not begun by this attempt."""

    number: int  # of the proposal or request
    refusal: Refusal  # reason
    detail: str = ""  # further explanation for people


class ReadFailed(msgspec.Struct, frozen=True, array_like=True, tag=43):
    """A read could not be confirmed by a leader."""

    number: int  # of the read


class BatchApplied(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """The results of a batch, or of a change of members, that this node's gateway proposed."""

    number: int  # of the proposal or request
    index: int  # of the entry that carried it
    results: tuple[Result, ...]  # one for each write; none for a change of members


class ReadsDone(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """The encoded outcomes of a ``ReadBatch``, for clients once it is confirmed."""

    number: int  # of the read
    outcomes: tuple[msgspec.Raw, ...]  # of its first operations; of all, if these weigh little
    confirmed: bool  # else ``ReadsConfirmed`` or ``ReadFailed`` follows


class ReadsConfirmed(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """This node led after these reads had come: clients may be told what storage has read."""

    numbers: tuple[int, ...]  # of the reads


class StatusReport(msgspec.Struct, frozen=True, array_like=True, tag=46):
    """The status of this node."""

    number: int  # of the question at the gateway
    status: ReplicationStatus  # the replicator's part
    applied_index: int  # of the last entry applied to the tables
    revision: int  # of the tables
    room: Room = Room()  # of disk and quota


class Changes(msgspec.Struct, frozen=True, array_like=True, tag=47):
    """Changes that this node applied."""

    events: tuple[Event, ...]  # in order of revision


class Following(msgspec.Struct, frozen=True, array_like=True, tag=48):
    """Every change after this revision is sent."""

    nonce: bytes  # that of ``FollowChanges``
    revision: int  # after which every change is sent


class ChangesLost(msgspec.Struct, frozen=True, array_like=True, tag=49):
    """A snapshot took the place of entries: what they changed is not published."""

    revision: int  # of the tables in the snapshot


GatewayMessage = (
    Opened
    | Leadership
    | Refused
    | ReadFailed
    | BatchApplied
    | ReadsDone
    | ReadsConfirmed
    | StatusReport
    | Changes
    | Following
    | ChangesLost
)


# --- heard by the election timer


class ClockState(msgspec.Struct, frozen=True, array_like=True, tag=60):
    """The facts about this node by which the timer sets its deadlines."""

    leading: bool  # whether this node leads
    votes: bool  # else a learner or a removed member, which must not campaign
    contact: int  # count of contacts with a leader


TimerMessage = ClockState
