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
from protocol.standing import ReplicationStatus, RoleName

# --- heard by the storage writer


class Append(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make durable, in one step, what changed since the write before.

    Entries replace all from the first of them on; ``memberships``, where they changed, are all that
    may still be rolled back to. Where nothing changed, only a sign of life is wanted.
    """

    number: int
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    memberships: tuple[MembershipAt, ...] | None

    @property
    def changes_something(self) -> bool:
        """Whether there is anything to make durable."""
        return bool(self.entries) or not (self.hard_state is None and self.memberships is None)


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Everything up to this index is committed: apply it."""

    index: int


class ReadAt(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Answer these reads once the index is applied; the payload is a ``ReadBatch``."""

    number: int
    index: int
    payload: bytes
    confirmed: bool  # else ``ReadsConfirmed`` will tell the gateway so, or ``ReadFailed``


class FetchLog(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Read entries that have left the replicator's window, for a follower far behind."""

    peer: NodeId
    from_index: int
    bytes_max: int
    match_index: int  # the follower holds all up to here: no log before that is kept for it


class AdoptCluster(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """This node belongs to a cluster from now on; written before whatever follows."""

    cluster: bytes


class ReportStatus(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Add what the state machine knows to a status and send it on to the gateway."""

    number: int
    status: ReplicationStatus


class FollowChanges(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Send every change from now on, and say at which revision that began."""

    nonce: bytes


class IgnoreChanges(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Nobody watches any more."""


class FetchSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Read a chunk of a snapshot: it is kept, and the log after it, until its reader ends it."""

    reader: NodeId  # the follower that it is for
    position: SnapshotPosition | None  # None: the first chunk of a new one


class EndSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """This reader needs its snapshot no more."""

    reader: bytes


class StageChunk(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Keep a chunk of the leader's snapshot; with the last one, make it the node's state."""

    chunk: SnapshotChunk


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
    """What the data directory held when the node started."""

    node: NodeId
    cluster: bytes
    incarnation: int
    hard_state: HardState
    applied_index: int
    prev_index: int  # the entry before the first of ``entries``
    prev_term: int
    entries: tuple[Entry, ...]
    memberships: tuple[MembershipAt, ...]


class Persisted(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """All writes up to this number are durable; term and index are of the last entry then."""

    number: int
    incarnation: int
    term: int
    index: int


class LogSlice(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """The entries that ``FetchLog`` asked for, with the term of the one before them."""

    peer: NodeId
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]


class ElectionDue(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """The randomised deadline passed since this contact with a leader."""

    contact_count: int


class LeaderQuiet(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """The shortest election timeout passed since this contact with a leader."""

    contact_count: int


class HeartbeatDue(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """It is time to send heartbeats."""


class QuorumCheckDue(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """A longest election timeout passed since the last check of who answers the leader."""


class StorageCheckDue(msgspec.Struct, frozen=True, array_like=True, tag=39):
    """A longest election timeout passed since storage was last asked for a sign of life."""


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """Append this encoded ``Batch`` to the log."""

    number: int
    payload: bytes
    grows: bool = True  # whether it has an ``Insert``, so that it needs space


class Read(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """Serve this encoded ``ReadBatch`` linearizably; with ``lease``, if clocks are as assumed."""

    number: int
    payload: bytes
    lease: bool = False
    ahead: bool = True  # storage may read before this is confirmed


class RemoveMember(msgspec.Struct, frozen=True, array_like=True, tag=29):
    """Take a node out of the cluster; with ``force``, whoever answers."""

    number: int
    node: NodeId
    force: bool = False


class InviteMember(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """Ask the standby node at this address to join."""

    address: str


class AskStatus(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """Ask how this node stands."""

    number: int


class CommitNoticeDue(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """No entries came along in time to carry the commit index to the followers."""


class StepAside(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """The node is about to stop: hand leadership over, if it leads."""


class TransferTo(msgspec.Struct, frozen=True, array_like=True, tag=38):
    """Let the leader hand over to this voter, or to whichever is closest if none is named."""

    node: IdOrNone


class LogCompacted(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """The log does not go back as far as ``FetchLog`` asked: the follower needs a snapshot."""

    peer: NodeId
    from_index: int


class SnapshotRead(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """The chunk that ``FetchSnapshot`` asked for; None where that snapshot is not kept here."""

    reader: bytes
    chunk: SnapshotChunk | None


class ChunkStaged(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """How far the leader's snapshot has been taken in; the next chunk begins there."""

    position: SnapshotPosition


class SnapshotInstalled(msgspec.Struct, frozen=True, array_like=True, tag=37):
    """A snapshot is this node's state, durably; its last membership comes with it."""

    index: int
    term: int
    membership: MembershipAt


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
    """The data directory is open: who this node is."""

    node: NodeId
    cluster: bytes
    incarnation: int


class Leadership(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """Which cluster this node belongs to, who leads as far as it knows, and who the members are."""

    cluster: bytes
    term: int
    role: RoleName
    leader: NodeId | None
    leader_address: str
    membership: Membership
    removed: bool
    stalled: bool  # its storage does not answer, so that it can do nothing for clients


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """A proposal or membership change was certainly not begun by this attempt."""

    number: int
    refusal: Refusal
    detail: str = ""  # for people


class ReadFailed(msgspec.Struct, frozen=True, array_like=True, tag=43):
    """A read could not be confirmed by a leader."""

    number: int


class BatchApplied(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """The results of a batch, or of a change of members, that this node's gateway proposed."""

    number: int
    index: int  # of the entry that carried it
    results: tuple[Result, ...]


class ReadsDone(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """The encoded outcomes of a ``ReadBatch``, for clients once it is confirmed."""

    number: int
    outcomes: tuple[msgspec.Raw, ...]  # of its first operations; of all, if these weigh little
    confirmed: bool


class ReadsConfirmed(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """This node led after these reads had come: clients may be told what storage has read."""

    numbers: tuple[int, ...]


class StatusReport(msgspec.Struct, frozen=True, array_like=True, tag=46):
    """How this node stands."""

    number: int
    status: ReplicationStatus
    applied_index: int
    revision: int
    room: Room = Room()


class Changes(msgspec.Struct, frozen=True, array_like=True, tag=47):
    """What this node applied, in order."""

    events: tuple[Event, ...]


class Following(msgspec.Struct, frozen=True, array_like=True, tag=48):
    """Every change after this revision is sent."""

    nonce: bytes
    revision: int


class ChangesLost(msgspec.Struct, frozen=True, array_like=True, tag=49):
    """A snapshot took the place of entries: what they changed is not published."""

    revision: int  # up to here


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
    """Whether this node leads, and the count of its contacts with a leader."""

    leading: bool
    votes: bool  # a learner or a removed member must not campaign
    contact_count: int


TimerMessage = ClockState
