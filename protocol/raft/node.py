"""One node of Raft: messages in, and what is to be sent and stored because of them out.

Which rule handles which message stands in ``handlers``.
"""

import operator
from typing import Any

from protocol.compaction import LogLimits
from protocol.config import LEARNERS_MAX
from protocol.gateway.validation import check_proposal
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.node_messages import (
    AskStatus,
    ClockState,
    Commit,
    Persisted,
    Recovered,
    ReplicatorMessage,
    ReportStatus,
)
from protocol.peer_messages import (
    PEER_PROTOCOL_VERSION,
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    JoinReply,
    JoinRequest,
    MembershipTold,
    PeerFrame,
    PeerMessage,
    Removed,
    RequestVote,
    RequestVoteReply,
)
from protocol.raft import (
    changing_members,
    contradictions,
    election,
    heartbeats,
    reading,
    replication,
)
from protocol.raft.handlers import HANDLERS
from protocol.raft.outbox import Outbox
from protocol.raft.roles import Leader
from protocol.raft.senders import Senders
from protocol.raft.state import CheckProposal, RaftState


class StrangeFrame(ValueError):
    """A frame from another cluster, another version of the protocol or another life of a peer."""


class UnknownSender(StrangeFrame):
    """A frame of this cluster from a node that no known membership has, and no member vouched for.

    ``is_answered`` if the node is to be told that it was removed.
    """

    def __init__(self, *, is_answered: bool) -> None:
        super().__init__("a sender for which no known member vouches")
        self.is_answered = is_answered


class RaftNode:
    """The Raft core of one node.

    ``step`` and ``receive`` take messages in; ``flush`` ends a turn and returns what it wants
    sent, so that what arrives together is written and replicated together.
    """

    def __init__(
        self,
        recovered: Recovered,
        window: LogLimits | None = None,
        election_timeout_min_us: int = 0,
        *,
        learners_max: int = LEARNERS_MAX,
        check_proposal: CheckProposal = check_proposal,
    ) -> None:
        """Start from what storage recovered.

        No more than ``learners_max`` nodes are brought up at once while this one leads.
        ``check_proposal`` returns what is to be appended of another node's proposal, or raises
        ``InvalidOperation``.
        """
        self._state = RaftState(recovered, window, election_timeout_min_us)
        self._state.learners_max = learners_max
        self._state.check_proposal = check_proposal
        self._senders = Senders(self._state)
        self._commit_handed = self._state.commit_index
        self._contact_told = -1
        self._standing_told: tuple[object, ...] = (None,) * 6
        if self._state.memberships.only_voter == self._state.id:
            election.campaign(self._state, pre=False)  # nobody else could be the leader

    @property
    def id(self) -> NodeId:
        """This node's id."""
        return self._state.id

    @property
    def cluster(self) -> bytes:
        """The id of the cluster this node belongs to; empty before it joined one."""
        return self._state.cluster

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self._state.membership

    @property
    def leads(self) -> bool:
        """Whether this node is the leader, as far as it knows."""
        return isinstance(self._state.role, Leader)

    @property
    def follows(self) -> bool:
        """Whether another node leads, as far as this one knows."""
        return self._state.other_leader is not None

    @property
    def committed_member(self) -> Member | None:
        """This node as the cluster knows it for good, or None if it does not."""
        return self._state.memberships.committed.membership.get(self._state.id)

    @property
    def removed(self) -> bool:
        """Whether this node has learned that it is no member any more."""
        return self._state.removed

    @property
    def is_settled(self) -> bool:
        """Whether this node is a member for good, and knows so from a leader."""
        state = self._state
        is_member = self.committed_member is not None and not state.removed
        return is_member and state.leader is not None and not state.memberships.pending

    @property
    def term(self) -> int:
        """The present term."""
        return self._state.term

    @property
    def is_alone(self) -> bool:
        """Whether this node is the only member of its cluster."""
        return [member.id for member in self.membership.members] == [self.id]

    @property
    def membership_index(self) -> int:
        """The index of the entry that brought the membership in force."""
        return self._state.memberships.latest.index

    @property
    def belongs_durably(self) -> bool:
        """Whether this node belongs to a cluster that no crash of its own can take back."""
        return bool(self._state.cluster) and not self._state.founding

    def found(self, cluster: bytes, membership: Membership) -> None:
        """Begin a cluster with these members, none of which has belonged to any."""
        changing_members.found(self._state, cluster, membership)
        election.campaign(self._state, pre=False)

    def adopt(self, cluster: bytes) -> None:
        """Belong to a cluster from now on; a removed node that joins anew may take part again."""
        self._state.cluster = cluster
        self._state.set_removed(removed=False)

    def join(self, joiner: NodeId, request: JoinRequest) -> JoinReply:
        """Answer a node that wants to be a member."""
        return changing_members.join(self._state, joiner, request)

    def tell_time(self, now: int) -> None:
        """Tell the microseconds of a steady clock: before a turn, and when all is taken in.

        What is decided by the clock is decided by the second: the process may have been stopped
        after the first, while reads arrived for which that one is too early.
        """
        self._state.tell_time(now)

    def receive(self, frame: PeerFrame) -> None:
        """Take in all messages of a peer's frame.

        Raises:
            UnknownSender: nothing of the frame was taken in; ``wants_vouchers`` is set.
            StrangeFrame: nothing of the frame was taken in.
        """
        if frame.version != PEER_PROTOCOL_VERSION:
            raise StrangeFrame(f"peer protocol version {frame.version}")
        if not self._state.cluster or frame.cluster != self._state.cluster:
            raise StrangeFrame(f"another cluster, {frame.cluster.hex()}")
        if frame.sender == self._state.id:
            raise StrangeFrame("this node's own id: does another one run on a copy of its data?")
        is_member = self._state.membership.get(frame.sender) is not None
        if not is_member and not self._senders.believes(frame.sender):
            raise UnknownSender(is_answered=self._meet_unknown(frame))
        strange = self._senders.why_strange(frame)
        if strange:
            raise StrangeFrame(strange)
        for message in frame.messages:
            self._step_peer(frame.sender, message)

    def believes(self, sender: NodeId) -> bool:
        """Whether a sender is a member, as far as this node knows, or vouched for by one."""
        return self._senders.believes(sender)

    @property
    def wants_vouchers(self) -> bool:
        """Whether to ask members, and addresses that people have named, for their memberships."""
        return self._senders.wants_vouchers or bool(self._state.removal_claims)

    def tell_memberships(self) -> MembershipTold:
        """Return what a node is told that asks who belongs to the cluster."""
        return MembershipTold(self._state.memberships.to_store(), self._state.term)

    def hear_memberships(self, sender: NodeId, told: MembershipTold) -> None:
        """Take in what a node has told that was asked at a known or a named address."""
        self._senders.wants_vouchers = False
        for each in told.memberships:
            self._senders.vouch(each, told.term)
        if self._senders.believes(sender) and self._is_left_out_of(told.memberships):
            election.on_removed(self._state, sender, Removed(told.memberships[0].index))

    def _is_left_out_of(self, memberships: tuple[MembershipAt, ...]) -> bool:
        if not self._state.memberships.ever_had(self._state.id):
            return False  # it is just joining, and these may be of times before it was a member
        has = [each.membership.get(self._state.id) is not None for each in memberships]
        return bool(memberships) and bool(memberships[0].membership.members) and not any(has)

    def vouch(self, told: MembershipAt, term: int) -> None:
        """Believe the voters of a membership told, in a term, at an address that people named."""
        self._senders.vouch(told, term)
        if told.membership.get(self.id) is not None:
            self._state.listed_at = max(self._state.listed_at, told.index)

    def _meet_unknown(self, frame: PeerFrame) -> bool:
        """Let a candidate know if it was removed; return whether it is told."""
        self._senders.wants_vouchers = True
        if any(isinstance(message, RequestVote) for message in frame.messages):
            return election.tell_removed(self._state, frame.sender)
        return False

    def step(self, message: ReplicatorMessage) -> None:
        """Take in a message of this node's own actors."""
        match message:
            case Persisted():
                self._on_persisted(message)
            case AskStatus(number):
                report = ReportStatus(number, self._state.status())
                self._state.outbox.storage.append(report)
            case _:
                self._handle(self._state.id, message)

    def flush(self) -> Outbox:
        """End the turn: replicate what is new, and return all that is to be sent."""
        state = self._state
        if isinstance(state.role, Leader):
            if state.role.reads.leased:
                reading.serve_leased(state, state.role)
            if reading.begin_round(state, state.role):
                heartbeats.ask_enough(state, state.role)
            replication.replicate(state, state.role)
        self._write()
        self._tell_commit()
        self._tell_role()
        state.log.trim(state.commit_index)
        outbox, state.outbox = state.outbox, Outbox()
        return outbox

    @property
    def owes_commit_notice(self) -> bool:
        """Whether ``CommitNoticeDue`` should follow soon, if no entries do."""
        return heartbeats.owes_commit_notice(self._state)

    def _step_peer(self, sender: NodeId, message: PeerMessage) -> None:
        term = getattr(message, "term", None)
        if term is None or term == self._state.term or _is_pre_vote(message):
            self._handle_peer(sender, message)
        elif term > self._state.term:
            self._meet_newer_term(sender, message, term)
        else:
            self._answer_older_term(sender, message)

    def _meet_newer_term(self, sender: NodeId, message: PeerMessage, term: int) -> None:
        """Enter the newer term first (§5.1), unless a living leader should not be disturbed."""
        state = self._state
        if isinstance(message, RequestVote) and state.leader_lease_active and not message.transfer:
            return
        if not self._senders.may_enter(sender, term):
            state.complain(sender, "term", f"speaks of term {term}, far beyond {state.term}")
            return
        state.set_term(term)
        state.become_follower()
        self._handle_peer(sender, message)

    def _answer_older_term(self, sender: NodeId, message: PeerMessage) -> None:
        """Let a leader or candidate of an older term know that it is one."""
        state = self._state
        match message:
            case AppendEntries(prev_index=prev_index):
                state.say(sender, AppendEntriesReply(state.term, False, prev_index))
            case Heartbeat() | InstallSnapshot():
                state.say(sender, HeartbeatReply(state.term, 0))
            case RequestVote():
                state.say(sender, RequestVoteReply(state.term, granted=False))
            case _:
                pass  # an answer to a question of that term, which nobody asks any more

    def _handle_peer(self, sender: NodeId, message: PeerMessage) -> None:
        contradiction = contradictions.find(self._state, sender, message)
        if contradiction is None:
            self._handle(sender, message)
        else:
            self._state.complain(sender, *contradiction)

    def _handle(self, sender: NodeId, message: Any) -> None:
        handler = HANDLERS.get(type(message))
        if handler is not None:
            handler(self._state, sender, message)

    def _on_persisted(self, message: Persisted) -> None:
        if message.incarnation != self._state.incarnation:
            return
        released, end = self._state.durability.acknowledge(message)
        if self._state.durability.hard_state_durable:
            self._state.founding = False
        for to, promise in released:
            self._deliver(to, promise)
        leader = self._state.role
        # The write may be of entries that have been replaced since: then it says nothing.
        if isinstance(leader, Leader) and end is not None and self._state.log.matches(*end):
            leader.durable_index = max(leader.durable_index, end[0])
            replication.advance_commit(self._state, leader)

    def _deliver(self, to: NodeId, promise: PeerMessage) -> None:
        if to == self._state.id:
            self._step_peer(to, promise)
        else:
            self._state.send(to, promise)

    def _write(self) -> None:
        state = self._state
        write = state.durability.take_write(state.log.last_index, state.log.last_term)
        if write is not None:
            state.outbox.storage.insert(0, write)
        for to, promise in state.durability.take_ready():
            self._deliver(to, promise)

    def _tell_commit(self) -> None:
        if self._state.commit_index > self._commit_handed:
            self._commit_handed = self._state.commit_index
            self._state.outbox.storage.append(Commit(self._commit_handed))

    def _tell_role(self) -> None:
        """Let the timer and the gateway know what has changed for them."""
        state = self._state
        # Any change of leadership puts another object in one of these places.
        committed = state.memberships.committed
        condition = (state.removed, state.durability.stalled)
        standing = (state.cluster, state.role, state.term, committed, *condition)
        moved = not all(map(operator.is_, standing, self._standing_told))
        if moved:
            self._standing_told = standing
            state.outbox.gateway.append(state.leadership())
        if moved or state.contact_count != self._contact_told:
            self._contact_told = state.contact_count
            state.outbox.clock = ClockState(self.leads, state.may_campaign, state.contact_count)


def _is_pre_vote(message: PeerMessage) -> bool:
    """Whether the message's term is only asked about; a refusal tells the voter's real term."""
    match message:
        case RequestVote(pre=pre):
            return pre
        case RequestVoteReply(pre=pre, granted=granted):
            return pre and granted
        case _:
            return False
