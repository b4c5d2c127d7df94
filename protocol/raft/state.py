"""The state of one Raft server, and the few changes that every rule is made of."""

from collections.abc import Callable, Sequence

from protocol.compaction import LogLimits
from protocol.config import LEARNERS_MAX
from protocol.entry import Entry, EntryKind
from protocol.gateway.validation import check_proposal
from protocol.hard_state import HardState
from protocol.membership import Membership, MembershipAt, NodeId, majority_index
from protocol.node_messages import (
    EndSnapshot,
    Leadership,
    ReadFailed,
    Recovered,
)
from protocol.peer_messages import PeerMessage, ReadRefused
from protocol.raft.durability import Durability
from protocol.raft.log import Log
from protocol.raft.memberships import Memberships
from protocol.raft.outbox import Complaint, Outbox
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.space import Shortage
from protocol.standing import ReplicationStatus, RoleName
from protocol.state_machine import decode_membership_change
from protocol.wire import Malformed

CheckProposal = Callable[[bytes, NodeId], bytes]  # payload and proposer to what is appended


class RaftState:
    """Term, vote, role, log, commit index and membership of one node."""

    def __init__(
        self,
        recovered: Recovered,
        window: LogLimits | None = None,
        election_timeout_min_us: int = 0,
    ) -> None:
        self.id = recovered.node
        self.cluster = recovered.cluster
        self.incarnation = recovered.incarnation
        self.term = recovered.hard_state.term
        self.voted_for = recovered.hard_state.voted_for
        self.log = Log(recovered.prev_index, recovered.prev_term, recovered.entries, window)
        self.memberships = Memberships(recovered.memberships)
        self.listed_at = -1  # index of the newest membership told of that lists this node
        # What was applied was committed; how much more is, a leader will tell.
        self.commit_index = recovered.applied_index
        # In its life before, the node may have heard a leader that still counts on its loyalty.
        self.role: Role = Follower(leader_lease_active=True)
        # Counts the reasons not to campaign: hearing a leader, giving a vote; and this beginning.
        self.contact_count = 1
        self.now = 0  # microseconds of a steady clock, as told last
        self.heard_at = 0  # when a leader was heard last, 0 for never
        self.election_timeout_min_us = election_timeout_min_us
        promised = recovered.hard_state.lease_promise_us
        self._promised = promised if promised > election_timeout_min_us else 0  # in a life before
        self.bound_until = 0
        # A log may still say so of a node that was invited back.
        self.removed = recovered.hard_state.removed
        self.founding = False  # whether the first entry of a cluster is not durable yet
        self.reads: dict[int, bytes] = {}  # own gateway's, until a leader confirms them
        self.removal_claims: dict[NodeId, int] = {}  # who says so, and since when by this clock
        self.chunks_staging = 0  # handed to storage, not answered yet
        self.durability = Durability()
        self.shortage = Shortage.NONE  # of space on this node
        self.learners_max = LEARNERS_MAX
        self.check_proposal: CheckProposal = check_proposal
        self.outbox = Outbox()
        if election_timeout_min_us > promised:
            self._write_hard_state()

    def tell_time(self, now: int) -> None:
        """Note the time; from the first on, what was promised in an earlier life counts down."""
        if not self.now:
            self.bound_until = now + self._promised
        self.now = now

    @property
    def is_bound(self) -> bool:
        """Whether a leader may still count on a promise of an earlier life."""
        return self.now < self.bound_until

    @property
    def agreed_index(self) -> int:
        """Up to where this log certainly is the committed one.

        Right after a start, a membership may be known as committed beyond the commit index.
        """
        known = max(self.commit_index, self.memberships.committed.index)
        return min(known, self.log.last_index)

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self.memberships.latest.membership

    @property
    def member(self) -> bool | None:
        """Whether this node votes, or None if it is no member."""
        member = self.membership.get(self.id)
        return None if member is None else member.voter

    @property
    def _is_left_out(self) -> bool:
        """Whether neither the committed membership nor a later one has this node."""
        committed = self.memberships.committed.membership
        left_out = bool(committed.members) and committed.get(self.id) is None
        return left_out and self.member is None

    @property
    def may_campaign(self) -> bool:
        """Whether this node's own timeout may begin an election.

        A removed voter may be needed until its removal is committed (dissertation §4.2.2). Who
        cannot write down its own vote would only raise the term.
        """
        known = (self.membership, self.memberships.committed.membership)
        is_able = not self.removed and not self.durability.stalled
        return is_able and any(each.is_voter(self.id) for each in known)

    @property
    def cannot_store(self) -> bool:
        """Whether storage takes in no snapshot: it hangs, or its disk is as good as full."""
        return self.durability.stalled or self.shortage is Shortage.CRITICAL

    @property
    def leader(self) -> NodeId | None:
        """Who leads in this term, as far as this node knows."""
        match self.role:
            case Leader():
                return self.id
            case Follower(leader=leader):
                return leader
            case Candidate():
                return None

    @property
    def other_leader(self) -> NodeId | None:
        """To whom to pass what only a leader may begin; a leader has nobody."""
        return None if self.leader == self.id else self.leader

    @property
    def leader_lease_active(self) -> bool:
        """Whether a leader was heard so lately that nobody else should become one (§9.6)."""
        return isinstance(self.role, Leader) or self._is_loyal

    @property
    def _is_loyal(self) -> bool:
        return isinstance(self.role, Follower) and (self.role.leader_lease_active or self.is_bound)

    def send(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message that rests on no fact which a crash could take back."""
        self.outbox.peers[to].append(message)

    def say(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message that speaks for this term, as soon as the term is durable."""
        if self.durability.hard_state_durable:
            self.send(to, message)
        else:
            self.durability.promise(to, message)

    def complain(self, sender: NodeId, subject: str, sentence: str) -> None:
        """Let the operator know what is wrong with something that a node has sent."""
        self.outbox.complaints.append(Complaint(sender, subject, sentence))

    def set_term(self, term: int, voted_for: NodeId = b"") -> None:
        """Enter a term, or vote in the present one."""
        self.term = term
        self.voted_for = voted_for
        self._write_hard_state()

    def _write_hard_state(self) -> None:
        """Store term, vote and the promise to a leader: the former one too, while it may count."""
        if self.now and not self.is_bound:
            self._promised = 0
        promise = max(self.election_timeout_min_us, self._promised)
        hard_state = HardState(self.term, self.voted_for, promise, self.removed)
        self.durability.write_hard_state(hard_state)

    def set_removed(self, *, removed: bool = True) -> None:
        """Note, durably, whether this node is a member no more: it must not come back by itself."""
        if self.removed != removed:
            self.removed = removed
            self._write_hard_state()

    def become_follower(self, leader: NodeId | None = None) -> None:
        """Follow a leader, or nobody yet."""
        # Whoever was heard lately may count on it, whatever term this node has come to know.
        before, lives = self.role, leader is not None or self._is_loyal
        self.role = Follower(leader, lives)
        self.contact_count += 1
        if isinstance(before, Leader):
            self._refuse_reads(before)
            self._end_snapshots(before)
        self.fail_reads()

    def hear_leader(self, leader: NodeId) -> None:
        """Note that the leader of this term lives, for which this node is a member."""
        self.heard_at = self.now
        if self.removal_claims:
            self.removal_claims.clear()
        if isinstance(self.role, Follower) and self.role.leader == leader:
            self.role.leader_lease_active = True
            self.contact_count += 1
        else:
            self.become_follower(leader)

    def fail_reads(self) -> None:
        """Tell the gateway to ask again for what the former leader will not confirm."""
        for number in self.reads:
            self.outbox.gateway.append(ReadFailed(number))
        self.reads.clear()

    def _refuse_reads(self, leader: Leader) -> None:
        for read in leader.reads.take_all():
            if read.reader != self.id:
                self.send(read.reader, ReadRefused(read.number))

    def _end_snapshots(self, leader: Leader) -> None:
        for peer, progress in leader.progress.items():
            if progress.holding:
                self.outbox.storage.append(EndSnapshot(peer))

    def take_entries(self, entries: Sequence[Entry]) -> None:
        """Put entries into the log, in place of what it held from the first of them on."""
        first = entries[0].index
        assert first > self.agreed_index, "committed entries never change"
        changed = first <= self.log.last_index and self.memberships.truncate_from(first)
        self.log.replace_from(entries)
        self.durability.write_entries(entries)
        for entry in entries:
            if entry.kind == EntryKind.MEMBERSHIP:
                changed |= self._enter_membership(entry)
        if changed:
            self.membership_changed()

    def _enter_membership(self, entry: Entry) -> bool:
        """Put an entry's membership in force; one that cannot be read changes no node's."""
        try:
            membership = decode_membership_change(entry.payload).membership
        except Malformed:
            return False  # storage logs it when it is applied
        self.memberships.append(entry.index, membership)
        return True

    def membership_changed(self) -> None:
        """Store the memberships; a node that finds itself a member is not removed."""
        self.durability.write_memberships(self.memberships.to_store())
        if self.member is not None:
            self.set_removed(removed=False)

    def commit_to(self, index: int) -> MembershipAt | None:
        """Raise the commit index; return the membership that this committed, if any."""
        if index <= self.commit_index:
            return None
        self.commit_index = index
        was_member = self.memberships.ever_had(self.id)
        if not self.memberships.commit(index):
            return None
        self.durability.write_memberships(self.memberships.to_store())
        if was_member:
            self._leave_if_left_out()
        return self.memberships.committed

    def install(self, index: int, term: int, membership: MembershipAt) -> None:
        """Begin the log after a snapshot, unless it holds the snapshot's last entry.

        A leader holds that entry: only such a node is elected. It commits it in its own way.
        """
        if isinstance(self.role, Leader):
            return
        if self.log.matches(index, term):
            self.commit_to(index)
            return
        was_member = self.memberships.ever_had(self.id)
        self.log.begin_after(index, term)
        self.commit_index = index
        self.memberships = Memberships((membership,))
        self.membership_changed()
        if was_member:
            self._leave_if_left_out()

    def _leave_if_left_out(self) -> None:
        # A node that joins first reads of memberships from before its time: they remove nobody.
        if self._is_left_out and self.memberships.committed.index > self.listed_at:
            self.set_removed()

    @property
    def role_name(self) -> RoleName:
        """The role, as others are told."""
        match self.role:
            case Leader():
                return RoleName.LEADER
            case Candidate():
                return RoleName.CANDIDATE
            case Follower():
                return RoleName.FOLLOWER

    def leadership(self) -> Leadership:
        """Who leads, for the gateway."""
        leader = None if self.leader is None else self.membership.get(self.leader)
        return Leadership(
            self.cluster,
            self.term,
            self.role_name,
            self.leader,
            "" if leader is None else leader.address,
            self.memberships.committed.membership,
            self.removed,
            self.durability.stalled,
        )

    def status(self) -> ReplicationStatus:
        """How this node stands, for people."""
        return ReplicationStatus(
            self.term,
            self.role_name,
            self.leader,
            self.log.last_index,
            self.commit_index,
            self.memberships.committed.membership,
            self.removed,
            self._silence_ms(),
        )

    def _silence_ms(self) -> int | None:
        heard_at = self.heard_at
        if isinstance(self.role, Leader):
            progress = self.role.progress
            answers = [
                self.now if voter == self.id else progress[voter].answered_at
                for voter in self.membership.voters
            ]
            heard_at = majority_index(answers)
        return max(0, self.now - heard_at) // 1000 if heard_at else None
