"""Messages between the log replicators of two nodes, over TCP.

A message may be late, reordered or lost: Raft re-sends what matters. Raft's own messages may also
be duplicated. Proposals and their refusals are not: links do not repeat them, and a gateway counts
the refusals to decide whether an attempt may have succeeded.
"""

import msgspec

from protocol.entry import LogEntry
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.ranges import (
    LEVEL_MIN,
    AddressText,
    IdOrNone,
    Incarnation,
    Index,
    Level,
    Microseconds,
    Number,
    Term,
)
from protocol.refusal import Refusal
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.space import Shortage

PEER_PROTOCOL_VERSION = 1


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A candidate asks for a vote in its term (Raft §5.2).

    A pre-vote only asks whether the vote would be granted, for the term after the candidate's own
    (dissertation §9.6).
    """

    term: Term  # of the election; of a pre-vote, one above the candidate's own
    last_index: Index  # of the last entry of the candidate's log
    last_term: Term  # of that entry
    pre: bool = False  # whether it is a pre-vote
    transfer: bool = False  # the leader itself asked for this election (dissertation §3.10)


class RequestVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A vote, or its refusal."""

    term: Term  # the voter's; of a granted pre-vote, that of the request
    granted: bool  # whether the candidate has the vote
    pre: bool = False  # whether it answers a pre-vote


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The leader's log entries for a follower (Raft §5.3)."""

    term: Term  # the leader's
    prev_index: Index  # of the entry before the first one sent
    prev_term: Term  # of that entry
    entries: tuple[LogEntry, ...]  # consecutive, from ``prev_index`` + 1; may be none
    commit_index: Index  # the leader's


class AppendEntriesReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The last durable match with the leader's log, or a hint where the logs may agree."""

    term: Term  # the follower's
    accepted: bool  # whether the logs agree at the ``prev_index`` that was sent
    index: Index  # accepted: last durable match; refused: the leader's ``prev_index``
    hint_index: Index = 0  # refused: last entry of the follower that could still agree
    hint_term: Term = 0  # of that entry


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A heartbeat of the leader; its reply confirms that it still leads."""

    term: Term  # the leader's
    round: Number  # number that the reply repeats; reads wait for a whole round
    commit_index: Index  # never beyond what this follower is known to hold
    stamp: Microseconds = 0  # microseconds of the leader's clock, read before sending


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Confirmation that the sender followed this leader in this term and round.

    From the receipt of the heartbeat on, the follower grants no vote to another candidate until its
    minimum election timeout has passed, unless the leader itself asked for the election.
    """

    term: Term  # the follower's
    round: Number  # that of the heartbeat
    stamp: Microseconds = 0  # that of the heartbeat
    election_timeout_min_us: Microseconds = 0  # microseconds of the follower's clock
    shortage: Shortage = Shortage.NONE  # of space, at the sender
    level: Level = LEVEL_MIN  # of the commands that the sender can apply


class ForwardProposal(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A batch that the sender's gateway proposed, for the leader to append."""

    number: Number  # of the proposal at the sender's gateway
    payload: bytes  # encoded ``Batch``
    grows: bool = True  # whether it has an ``Insert``, so that it needs space


class ProposalRefused(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The batch or membership change was not appended by this attempt."""

    number: Number  # that of the proposal or change
    refusal: Refusal  # reason
    detail: str = ""  # further explanation for people


class ForwardRead(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Ask the leader for the index that a read at the sender must wait for (dissertation §6.4)."""

    number: Number  # of the read at the sender's gateway
    leader_lease: bool = False  # whether the leader's lease is enough
    leases: tuple[Number, ...] = ()  # ids of the leases that the read keeps alive


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The commit index at a moment at which the sender was confirmed as leader."""

    number: Number  # that of the read
    index: Index  # of the last entry that the read must see


class ReadRefused(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The sender could not confirm that it leads."""

    number: Number  # that of the read


class ForwardMembershipChange(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A membership change that the sender's gateway asked for."""

    number: Number  # of the request at the sender's gateway
    incarnation: Incarnation  # the sender's, so that only the same incarnation takes the result
    remove: NodeId  # id of the member to remove
    force: bool = False  # even if the voters that answer would be no majority


class RemovalNotice(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """The receiver was removed by the committed membership at this index.

    If it knows several members, it requires such a notice from more than one.
    """

    index: Index  # of the entry with the committed membership that lacks the node
    node: IdOrNone = b""  # id of the removed node; another node may use its address by now


class JoinRequest(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """A node asks for membership, repeatedly until it is a member.

    The leader grants it only on the basis of its own latest membership, so that a request which
    the network has delayed cannot undo a removal.
    """

    address: AddressText  # host:port at which it will be reached
    rejoin: bool = False  # take the place of the member that lost its directory at this address
    index: Index = 0  # of the membership in the leader's last reply
    term: Term = 0  # of the leader in that reply
    level: Level = LEVEL_MIN  # of the commands that the sender can apply
    is_member: bool = False  # by its own log: it has moved, unless it was removed since


class JoinReply(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Whether the leader has begun to add the node, or which node leads."""

    accepted: bool  # whether the leader has begun to add the node
    membership: Membership  # in force at the sender; may be empty
    leader_address: AddressText = ""  # host:port; empty where none is known
    refusal: str = ""  # for people; empty if the node may try again
    index: Index = 0  # of the entry that brought the membership
    term: Term = 0  # the sender's


class Invitation(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Ask a standby node to join the sender's cluster through this address."""

    address: AddressText  # host:port of the member that invites


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """The leader asks the receiver to campaign at once (dissertation §3.10)."""

    term: Term  # the leader's


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """A chunk of the leader's snapshot, for a follower whose next entry is compacted (Raft §7)."""

    term: Term  # the leader's
    chunk: SnapshotChunk  # the next one that the follower lacks


class InstallSnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """How much of the snapshot the follower has staged; the next chunk begins there."""

    term: Term  # the follower's
    position: SnapshotPosition  # end of what is durable at the follower


class ForwardTransfer(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The sender's gateway asks for a transfer of leadership to this voter, or to any."""

    node: IdOrNone  # id of the voter; empty for any


class MembershipQuery(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Ask a member for its memberships: the sender receives messages from unknown nodes."""


class MembershipReply(msgspec.Struct, frozen=True, array_like=True, tag=26):
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
    level: Level = LEVEL_MIN  # of the commands that the sender can apply


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
    | MembershipReply
)


class PeerFrame(msgspec.Struct, frozen=True, array_like=True):
    """The messages of one turn of the sender to one peer.

    It carries the sender's address, which a follower may not have in its log yet.
    """

    version: int  # ``PEER_PROTOCOL_VERSION``
    cluster: IdOrNone  # id of the cluster; empty before the sender has joined one
    sender: NodeId  # id of the sending node
    incarnation: Incarnation  # number of starts of the sender
    address: AddressText  # host:port at which the sender receives replies
    messages: tuple[PeerMessage, ...]  # in the order in which they are handled
