"""Raft node: a turn takes messages in and returns the messages to send because of them."""

import operator

from protocol.compaction import LogLimits
from protocol.config import LEARNERS_MAX
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    JoinReply,
    JoinRequest,
    MembershipReply,
    PeerFrame,
    PeerMessage,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
)
from protocol.messages.replicator import Recovered, ReplicatorMessage
from protocol.messages.storage import Commit
from protocol.messages.timer import ClockState
from protocol.raft import (
    commit,
    contradictions,
    election,
    key_leases,
    membership_changes,
    reads,
    removal,
    replication,
    transfer,
)
from protocol.raft.handlers import ACTOR_HANDLERS, PEER_HANDLERS
from protocol.raft.outbox import Outbox
from protocol.raft.roles import Leader
from protocol.raft.senders import RejectedFrame, Senders, UnknownSender
from protocol.raft.state import CheckProposal, RaftState
from protocol.raft.status import leadership_of
from protocol.state.batches import check_proposal
from protocol.state.levels import STATE_LEVEL


class RaftNode:
    """The Raft core of one node.

    ``step`` and ``receive`` take messages in; ``flush`` ends a turn and returns its messages, so
    that what arrives together is written and replicated together.
    """

    def __init__(
        self,
        recovered: Recovered,
        window: LogLimits | None = None,
        election_timeout_min_us: int = 0,
        *,
        learners_max: int = LEARNERS_MAX,
        level: int = STATE_LEVEL,
        check_proposal: CheckProposal = check_proposal,
    ) -> None:
        """Start from what storage recovered.

        A leader has at most ``learners_max`` learners at once. ``level`` is that of the commands
        that the node's state machine can apply. ``check_proposal`` returns the payload to append
        for another node's proposal, or raises ``InvalidOperation``.
        """
        self._state = RaftState(recovered, window, election_timeout_min_us)
        self._state.learners_max = learners_max
        self._state.level = level
        self._state.check_proposal = check_proposal
        self._senders = Senders(self._state)
        self._commit_handed = self._state.commit_index
        self._reported_contact = -1
        self._reported_standing: tuple[object, ...] = (None,) * 7
        if self._state.memberships.only_voter == self._state.id:
            election.campaign(self._state, pre=False)  # no other node could be the leader

    # --- what its shell may know

    @property
    def id(self) -> NodeId:
        """This node's id."""
        return self._state.id

    @property
    def cluster(self) -> bytes:
        """The id of the cluster this node belongs to; empty before it joined one."""
        return self._state.cluster

    @property
    def level(self) -> int:
        """The level of the commands that this node can apply."""
        return self._state.level

    @property
    def is_outdated(self) -> bool:
        """Whether the log may have committed commands that this node cannot apply."""
        return self._state.is_outdated

    @property
    def term(self) -> int:
        """The current term."""
        return self._state.term

    @property
    def leads(self) -> bool:
        """Whether this node is the leader, as far as it knows."""
        return isinstance(self._state.role, Leader)

    @property
    def follows(self) -> bool:
        """Whether another node leads, as far as this one knows."""
        return self._state.other_leader is not None

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self._state.membership

    @property
    def membership_index(self) -> int:
        """The index of the entry that brought the membership in force."""
        return self._state.memberships.latest.index

    @property
    def committed_member(self) -> Member | None:
        """This node as the committed membership lists it, or None."""
        return self._state.memberships.committed.membership.get(self._state.id)

    @property
    def was_member(self) -> bool:
        """Whether the log lists this node, other than by an addition that may be lost."""
        state = self._state
        return state.memberships.ever_had(state.id) and not state.addition_pending

    @property
    def removed(self) -> bool:
        """Whether this node knows that it was removed."""
        return self._state.removed

    @property
    def addition_lost(self) -> bool:
        """Whether members lack the uncommitted membership that lists this node."""
        return removal.addition_lost(self._state)

    @property
    def is_settled(self) -> bool:
        """Whether this node's membership is committed, with no change pending, under a leader."""
        state = self._state
        is_member = self.committed_member is not None and not state.removed
        return is_member and state.leader is not None and not state.memberships.pending

    @property
    def is_alone(self) -> bool:
        """Whether this node is the only member of its cluster."""
        return [member.id for member in self.membership.members] == [self.id]

    @property
    def belongs_durably(self) -> bool:
        """Whether this node belongs to a cluster, and would after a crash."""
        return bool(self._state.cluster) and not self._state.founding

    @property
    def owes_commit_notice(self) -> bool:
        """Whether ``CommitNoticeDue`` should follow soon, unless entries carry the commit index."""
        return commit.owes_notice(self._state)

    # --- belonging to a cluster

    def found(self, cluster: bytes, membership: Membership) -> None:
        """Begin a cluster with these members, none of which has belonged to any."""
        membership_changes.found(self._state, cluster, membership)
        election.campaign(self._state, pre=False)

    def adopt(self, cluster: bytes) -> None:
        """Belong to a cluster from now on, also after a removal from it."""
        self._state.cluster = cluster
        self._state.set_removed(removed=False)

    def join(self, joiner: NodeId, request: JoinRequest) -> JoinReply:
        """Answer a node that asks to become a member."""
        return membership_changes.join(self._state, joiner, request)

    def trusts(self, sender: NodeId) -> bool:
        """Whether a sender is a member, as far as this node knows, or a member vouches for it."""
        return self._senders.trusts(sender)

    def is_of_member(self, frame: PeerFrame) -> bool:
        """Whether a frame is of a listed member, and of its newest incarnation."""
        is_listed = self.membership.get(frame.sender) is not None
        return frame.cluster == self.cluster and is_listed and not self._senders.why_rejected(frame)

    @property
    def wants_vouchers(self) -> bool:
        """Whether to ask members, and addresses from the settings, for their memberships."""
        return self._senders.wants_vouchers or bool(self._state.removal_claims)

    def doubt_membership(self) -> None:
        """Ask the members whether this node was removed: one of them does not list it."""
        self._senders.wants_vouchers = True

    def membership_reply(self) -> MembershipReply:
        """Return the reply to a ``MembershipQuery``."""
        return MembershipReply(self._state.memberships.to_store(), self._state.term)

    def on_membership_reply(self, sender: NodeId, reply: MembershipReply) -> None:
        """Process the reply of a node at a known address, or at one from the settings."""
        self._senders.wants_vouchers = False
        for each in reply.memberships:
            self._senders.vouch(each, reply.term)
        if self._senders.trusts(sender) and removal.is_left_out(self._state, reply.memberships):
            self._handle(sender, RemovalNotice(reply.memberships[0].index))

    def vouch(self, listed: MembershipAt, term: int, *, joins: bool = True) -> None:
        """Trust the voters of a membership, in a term, that a node from the settings has sent.

        A node that ``joins`` takes its own listing from it, which one that has moved does not: an
        uncommitted one, lost since, would hide its removal.
        """
        self._senders.vouch(listed, term)
        if joins and listed.membership.get(self.id) is not None:
            self._state.listed_at = max(self._state.listed_at, listed.index)

    # --- a turn

    def set_time(self, now: int) -> None:
        """Set the microseconds of a steady clock: before a turn, and again before ``flush``.

        Leader leases are compared with the second time: the process may have been suspended after
        the first, while reads arrived for which the first would be too early.
        """
        self._state.set_time(now)

    def step(self, message: ReplicatorMessage) -> None:
        """Take a message of this node's own actors."""
        state = self._state
        ACTOR_HANDLERS[type(state.role), type(message)](state, state.role, message)
        self._count_own_votes()

    def receive(self, frame: PeerFrame) -> None:
        """Take all messages of a peer's frame.

        Raises:
            UnknownSender: no message was taken; ``wants_vouchers`` is set.
            RejectedFrame: no message was taken.
        """
        if frame.version != PEER_PROTOCOL_VERSION:
            raise RejectedFrame(f"peer protocol version {frame.version}")
        if not self._state.cluster or frame.cluster != self._state.cluster:
            raise RejectedFrame(f"another cluster, {frame.cluster.hex()}")
        if frame.sender == self._state.id:
            raise RejectedFrame("this node's own id: does another one run on a copy of its data?")
        is_member = self._state.membership.get(frame.sender) is not None
        if not is_member and not self._senders.trusts(frame.sender):
            raise UnknownSender(is_answered=self._meet_unknown(frame))
        reason = self._senders.why_rejected(frame)
        if reason:
            raise RejectedFrame(reason)
        for message in frame.messages:
            self._step_peer(frame.sender, message)

    def flush(self) -> Outbox:
        """End the turn: act once on all that it has brought, and return the messages to send."""
        state = self._state
        if isinstance(state.role, Leader):
            self._lead(state.role)
        self._write()
        self._hand_commit()
        self._report_role()
        state.log.trim(state.commit_index)
        outbox, state.outbox = state.outbox, Outbox()
        return outbox

    def _lead(self, leader: Leader) -> None:
        """Draw a leader's conclusions from the turn; handlers only record facts.

        Replies that arrive together advance the commit index, and confirm reads, just once. Each
        step comes after those whose results it needs.
        """
        state = self._state
        if leader.held_more:
            leader.held_more = False
            commit.advance(state, leader)
            if state.role is not leader:
                return  # its own removal is committed
        if leader.reads.confirming:
            reads.confirm_round(state, leader)
        if leader.heartbeat_answers:
            replication.resume(state, leader)
        membership_changes.record_levels(state, leader)
        if leader.answered:
            membership_changes.promote_learners(state, leader)
            leader.answered.clear()
        if state.shortage or state.id not in state.membership.voters:
            transfer.relocate(state, leader)
        if leader.transfer_to is not None:
            transfer.proceed(state, leader)
        reads.take_up(state, leader)
        key_leases.proceed(state, leader)
        replication.replicate(state, leader)

    # --- a peer's message

    def _meet_unknown(self, frame: PeerFrame) -> bool:
        """Notify a candidate if it was removed; return whether it was."""
        self._senders.wants_vouchers = True
        if any(isinstance(message, RequestVote) for message in frame.messages):
            return removal.notify_if_removed(self._state, frame.sender)
        return False

    def _step_peer(self, sender: NodeId, message: PeerMessage) -> None:
        term = getattr(message, "term", None)
        if term is None or term == self._state.term or election.is_pre_vote(message):
            self._handle_peer(sender, message)
        elif term > self._state.term:
            self._meet_newer_term(sender, message, term)
        else:
            self._answer_older_term(sender, message)

    def _meet_newer_term(self, sender: NodeId, message: PeerMessage, term: int) -> None:
        """Enter the newer term (§5.1), unless a candidate would disturb a leader with a lease."""
        state = self._state
        if isinstance(message, RequestVote) and state.leader_lease_active and not message.transfer:
            return
        if not self._senders.may_enter(sender, term):
            state.complain(sender, "term", f"sent term {term}, far beyond {state.term}")
            return
        state.set_term(term)
        state.become_follower()
        self._handle_peer(sender, message)

    def _answer_older_term(self, sender: NodeId, message: PeerMessage) -> None:
        """Answer a leader or candidate of an older term with the current term."""
        state = self._state
        match message:
            case AppendEntries(prev_index=prev_index):
                state.send_in_term(sender, AppendEntriesReply(state.term, False, prev_index))
            case Heartbeat() | InstallSnapshot():
                state.send_in_term(sender, HeartbeatReply(state.term, 0))
            case RequestVote():
                state.send_in_term(sender, RequestVoteReply(state.term, granted=False))
            case _:
                pass  # a reply to a request that this node sent in that term

    def _handle_peer(self, sender: NodeId, message: PeerMessage) -> None:
        contradiction = contradictions.find(self._state, sender, message)
        if contradiction is None:
            self._handle(sender, message)
        else:
            self._state.complain(sender, *contradiction)

    def _handle(self, sender: NodeId, message: PeerMessage) -> None:
        state = self._state
        PEER_HANDLERS[type(state.role), type(message)](state, state.role, sender, message)

    def _count_own_votes(self) -> None:
        """Take the votes for this node itself: they are votes like any others once durable."""
        while self._state.own_votes:
            self._step_peer(self._state.id, self._state.own_votes.pop(0))

    # --- the end of a turn

    def _write(self) -> None:
        state = self._state
        write = state.durability.take_write(state.log.last_index, state.log.last_term)
        if write is not None:
            state.outbox.storage.insert(0, write)
        for to, message in state.durability.take_ready():
            state.deliver(to, message)
        self._count_own_votes()

    def _hand_commit(self) -> None:
        """Let storage apply the entries that were committed in this turn.

        A node that cannot apply all of them applies none. It ends (``admission.py``), unless it is
        the older one whose removal let the others go on.
        """
        if self._state.commit_index > self._commit_handed and not self._state.is_outdated:
            self._commit_handed = self._state.commit_index
            self._state.outbox.storage.append(Commit(self._commit_handed))

    def _report_role(self) -> None:
        """Notify the timer and the gateway of a change of role, term, members or condition."""
        state = self._state
        # Compared by identity: every change replaces one of these objects.
        membership = (state.cluster, state.memberships.committed, state.removed, state.founding)
        standing = (state.role, state.term, state.durability.stalled, *membership)
        moved = not all(map(operator.is_, standing, self._reported_standing))
        if moved:
            self._reported_standing = standing
            state.outbox.gateway.append(leadership_of(state))
        if moved or state.contact_count != self._reported_contact:
            self._reported_contact = state.contact_count
            state.outbox.clock = ClockState(self.leads, state.may_campaign, state.contact_count)
