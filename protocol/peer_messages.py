"""Messages between the log replicators of two nodes, over TCP.

Each message may arrive late, out of order or not at all: Raft sends again what matters. Raft's own
messages may also come twice. Proposals and their refusals do not: a link repeats none, and a
gateway concludes from the number of refusals what was certainly not begun.
"""

import msgspec

from protocol.entry import Entry
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.ranges import AddressText, IdOrNone, Incarnation, Index, Microseconds, Number, Term
from protocol.refusal import Refusal
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.space import Shortage

PEER_PROTOCOL_VERSION = 1


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A candidate asks for a vote in its term (Raft §5.2).

    A pre-vote only asks whether the vote would be given, for the term after the candidate's own
    (dissertation §9.6).
    """

    term: Term
    last_index: Index
    last_term: Term
    pre: bool = False
    transfer: bool = False  # the leader itself asked for this election (dissertation §3.10)


class RequestVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The vote, in the voter's term; a granted pre-vote repeats the term that was asked for."""

    term: Term
    granted: bool
    pre: bool = False


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The leader's entries after ``prev_index`` and what is committed (Raft §5.3)."""

    term: Term
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit_index: Index


class AppendEntriesReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What the follower's disk holds; or, refused, where to look for the last agreement.

    Accepted, ``index`` is the last entry known to match the leader's log and durable here.
    Refused, it is the ``prev_index`` refused, and the hint is the follower's last entry that
    could still agree.
    """

    term: Term
    accepted: bool
    index: Index
    hint_index: Index = 0
    hint_term: Term = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The leader lives; ``round`` is confirmed by the reply, so that reads may be served.

    ``commit_index`` never exceeds what this follower is known to hold. ``stamp`` is the leader's
    clock in microseconds, not later than the sending; it means something to the leader only.
    """

    term: Term
    round: Number
    commit_index: Index
    stamp: Microseconds = 0


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """In this term and round the sender followed this leader.

    From the receipt of the heartbeat with this stamp, it votes for no other candidate until
    ``election_timeout_min_us`` has passed by its own clock, unless the leader itself asks for an
    election.
    """

    term: Term
    round: Number
    stamp: Microseconds = 0
    election_timeout_min_us: Microseconds = 0
    shortage: Shortage = Shortage.NONE  # of space, at the sender


class ForwardProposal(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A batch that the sender's gateway proposed, for the leader to append."""

    number: Number
    payload: bytes
    grows: bool = True  # whether it has an ``Insert``, so that it needs space


class ProposalRefused(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The batch or change of members was certainly not appended by this attempt."""

    number: Number
    refusal: Refusal
    detail: str = ""  # what more there is to say to people


class ForwardRead(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Ask the leader up to which index a read of the sender's must wait (dissertation §6.4)."""

    number: Number
    lease: bool = False


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The commit index at a moment when the sender was certainly the leader."""

    number: Number
    index: Index


class ReadRefused(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The sender could not confirm that it leads."""

    number: Number


class ForwardMembershipChange(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A change of members that the sender's gateway asked for."""

    number: Number
    incarnation: Incarnation  # the sender's, so that the answer finds this life of it
    remove: NodeId
    force: bool = False  # even if no majority may be left that answers


class Removed(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """This node is no member any more since the committed membership at this index.

    It does not take the word of one other member for that, if it knows more of them.
    """

    index: Index
    node: IdOrNone = b""  # a frame may have come with the address of another one


class JoinRequest(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """A node asks for membership; repeated until it finds itself a member."""

    address: AddressText  # host:port at which it will be reached
    rejoin: bool = False  # take the place of the member that lost its directory at this address


class JoinReply(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Whether the sender, as leader, has begun to add the node, or whom to ask instead."""

    accepted: bool
    membership: Membership
    leader_address: AddressText = ""
    refusal: str = ""
    index: Index = 0  # of the entry that brought the membership
    term: Term = 0  # the sender's


class Invitation(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Ask a standby node to join the sender's cluster through this address."""

    address: AddressText


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """The leader asks the receiver to campaign at once (dissertation §3.10)."""

    term: Term


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """A chunk of the leader's state, for a follower whose next entry is gone (Raft §7)."""

    term: Term
    chunk: SnapshotChunk


class InstallSnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """How far the follower has taken the snapshot in; the next chunk begins there."""

    term: Term
    position: SnapshotPosition


class ForwardTransfer(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The sender's gateway wants this voter to lead, or another one if none is named."""

    node: IdOrNone


class MembershipQuery(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Ask a member which memberships may count: the sender hears nodes that it does not know."""


class MembershipTold(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """The last committed membership that the sender knows, and those after it, oldest first."""

    memberships: tuple[MembershipAt, ...]
    term: Term = 0  # the sender's


class ClusterQuery(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Ask any node which cluster it belongs to; changes nothing."""


class ClusterReply(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """The sender's cluster and members; or, in a bootstrap, the addresses that it expects."""

    cluster: bytes  # 16 bytes; empty where the sender belongs to none
    membership: Membership  # in force at the sender
    expects: tuple[str, ...] = ()  # sorted host:port of all nodes of the bootstrap


PeerMessage = (
    RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendEntriesReply
    | Heartbeat
    | HeartbeatReply
    | ForwardProposal
    | ProposalRefused
    | ForwardRead
    | ReadIndex
    | ReadRefused
    | ForwardMembershipChange
    | Removed
    | JoinRequest
    | JoinReply
    | Invitation
    | TimeoutNow
    | InstallSnapshot
    | InstallSnapshotReply
    | ForwardTransfer
    | ClusterQuery
    | ClusterReply
    | MembershipQuery
    | MembershipTold
)


class PeerFrame(msgspec.Struct, frozen=True, array_like=True):
    """All that one turn of the sender has for one peer; the cluster is empty before a join.

    The address is where the sender hears answers: a follower whose log is behind may not know it.
    """

    version: int
    cluster: IdOrNone
    sender: NodeId
    incarnation: Incarnation
    address: AddressText
    messages: tuple[PeerMessage, ...]
