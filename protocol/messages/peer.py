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

    term: Term  # of the election; of a pre-vote, one above the candidate's own
    last_index: Index  # of the last entry of the candidate's log
    last_term: Term  # of that entry
    pre: bool = False  # whether it is a pre-vote
    transfer: bool = False  # the leader itself asked for this election (dissertation §3.10)


class RequestVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A vote, or its refusal."""

    term: Term  # the voter's; of a granted pre-vote, the one asked for
    granted: bool  # whether the candidate has the vote
    pre: bool = False  # whether it answers a pre-vote


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The leader's log entries for a follower (Raft §5.3)."""

    term: Term  # the leader's
    prev_index: Index  # of the entry before the first one sent
    prev_term: Term  # of that entry
    entries: tuple[Entry, ...]  # consecutive, from ``prev_index`` + 1; may be none
    commit_index: Index  # the leader's


class AppendEntriesReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The end of what the follower's disk holds, or a hint where the two logs may agree."""

    term: Term  # the follower's
    accepted: bool  # whether the logs agree at the ``prev_index`` that was sent
    index: Index  # accepted: last durable match; refused: the leader's ``prev_index``
    hint_index: Index = 0  # refused: last entry of the follower that could still agree
    hint_term: Term = 0  # of that entry


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A sign of life of the leader, whose reply confirms that it still leads."""

    term: Term  # the leader's
    round: Number  # number that the reply repeats; reads wait for a whole round
    commit_index: Index  # never beyond what this follower is known to hold
    stamp: Microseconds = 0  # microseconds of the leader's clock, not later than the sending


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Confirmation that the sender followed this leader in this term and round.

    From the receipt of the heartbeat on, the follower votes for no other candidate until its
    election timeout has passed, unless the leader itself asks for an election.
    """

    term: Term  # the follower's
    round: Number  # that of the heartbeat
    stamp: Microseconds = 0  # that of the heartbeat
    election_timeout_min_us: Microseconds = 0  # microseconds of the follower's clock
    shortage: Shortage = Shortage.NONE  # of space, at the sender


class ForwardProposal(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A batch that the sender's gateway proposed, for the leader to append."""

    number: Number  # of the proposal at the sender's gateway
    payload: bytes  # encoded ``Batch``
    grows: bool = True  # whether it has an ``Insert``, so that it needs space


class ProposalRefused(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The batch or change of members was certainly not appended by this attempt."""

    number: Number  # that of the proposal or change
    refusal: Refusal  # reason
    detail: str = ""  # further explanation for people


class ForwardRead(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Ask the leader up to which index a read of the sender's must wait (dissertation §6.4)."""

    number: Number  # of the read at the sender's gateway
    lease: bool = False  # whether the leader's lease is enough


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The commit index at a moment when the sender was certainly the leader."""

    number: Number  # that of the read
    index: Index  # of the last entry that the read must see


class ReadRefused(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The sender could not confirm that it leads."""

    number: Number  # that of the read


class ForwardMembershipChange(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A change of members that the sender's gateway asked for."""

    number: Number  # of the request at the sender's gateway
    incarnation: Incarnation  # the sender's, so that the answer finds the same start of it
    remove: NodeId  # id of the member to remove
    force: bool = False  # even if the voters that answer would be no majority


class RemovalNotice(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """This node is no member any more since the committed membership at this index.

    It does not take the word of one other member for that, if it knows more of them.
    """

    index: Index  # of the entry with the committed membership that lacks the node
    node: IdOrNone = b""  # id of the removed node: its address may be that of another one by now


class JoinRequest(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """A node asks for membership; repeated until it finds itself a member."""

    address: AddressText  # host:port at which it will be reached
    rejoin: bool = False  # take the place of the member that lost its directory at this address


class JoinReply(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Whether the sender, as leader, has begun to add the node, or whom to ask instead."""

    accepted: bool  # whether the leader has begun to add the node
    membership: Membership  # in force at the sender; may be empty
    leader_address: AddressText = ""  # host:port of the leader; empty where none is known
    refusal: str = ""  # for people; empty where the node may try again
    index: Index = 0  # of the entry that brought the membership
    term: Term = 0  # the sender's


class Invitation(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Ask a standby node to join the sender's cluster through this address."""

    address: AddressText  # host:port of the member that invites


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """The leader asks the receiver to campaign at once (dissertation §3.10)."""

    term: Term  # the leader's


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """A chunk of the leader's state, for a follower whose next entry is gone (Raft §7)."""

    term: Term  # the leader's
    chunk: SnapshotChunk  # the next one that the follower lacks


class InstallSnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """How far the follower has taken the snapshot in; the next chunk begins there."""

    term: Term  # the follower's
    position: SnapshotPosition  # end of what is durable at the follower


class ForwardTransfer(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The sender's gateway wants this voter to lead, or another one if none is named."""

    node: IdOrNone  # id of the voter; empty for any


class MembershipQuery(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Ask a member which memberships may count: the sender hears nodes that it does not know."""


class MembershipTold(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """The last committed membership that the sender knows, and those after it, oldest first."""

    memberships: tuple[MembershipAt, ...]  # the last committed one, then later ones, oldest first
    term: Term = 0  # the sender's


class ClusterQuery(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Ask any node for its cluster; changes nothing."""


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
    | RemovalNotice
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
    """All that one turn of the sender has for one peer.

    It carries the sender's address, which a follower whose log is behind may not know.
    """

    version: int  # ``PEER_PROTOCOL_VERSION``
    cluster: IdOrNone  # id of the cluster; empty before the sender has joined one
    sender: NodeId  # id of the sending node
    incarnation: Incarnation  # number of starts of the sender
    address: AddressText  # host:port at which the sender hears answers
    messages: tuple[PeerMessage, ...]  # in the order in which they are handled
