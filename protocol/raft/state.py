"""Raft state: term, vote, role, log, commit index and membership, and the basic transitions."""

from collections.abc import Callable, Sequence

from protocol.compaction import LogLimits
from protocol.config import LEARNERS_MAX
from protocol.entry import EntryKind, LogEntry
from protocol.hard_state import HardState
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.messages.gateway import ReadFailed
from protocol.messages.peer import PeerMessage, ReadRefused
from protocol.messages.replicator import Persisted, Recovered
from protocol.messages.storage import EndSnapshot
from protocol.raft.durability import Durability
from protocol.raft.lease_records import by_lease
from protocol.raft.log import Log
from protocol.raft.membership_history import FOUNDING_INDEX, MembershipHistory
from protocol.raft.outbox import Complaint, Outbox
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.space import Shortage
from protocol.state.batches import check_proposal
from protocol.state.levels import STATE_LEVEL
from protocol.state.machine import decode_membership_change
from protocol.wire import Malformed

# Payload, proposer and highest level of its commands to the payload to append.
CheckProposal = Callable[[bytes, NodeId, int], bytes]


class RaftState:
    """The state of one Raft server (figure 2 of the paper), and its messages of this turn."""

    level = STATE_LEVEL  # of the commands that this node can apply

    def __init__(
        self,
        recovered: Recovered,
        window: LogLimits | None = None,
        election_timeout_min_us: int = 0,
    ) -> None:
        self.id = recovered.node
        self.cluster, self.incarnation = recovered.cluster, recovered.incarnation
        hard_state = recovered.hard_state
        self.term, self.voted_for = hard_state.term, hard_state.voted_for
        self.log = Log(recovered.prev_index, recovered.prev_term, recovered.entries, window)
        self.memberships = MembershipHistory(recovered.memberships)
        self.listed_at = -1  # index of the newest vouched membership that lists this node
        # Applied entries are committed. A leader will send the commit index beyond them.
        self.commit_index = recovered.applied_index
        # A leader may still rely on the lease that the node granted before it restarted.
        self.role: Role = Follower(leader_lease_granted=True)
        # Counts the events that postpone an election: leader contacts, votes, and this start.
        self.contact_count = 1
        self.now = 0  # microseconds of a steady clock, at the last ``set_time``
        self.leader_contact_at = 0  # 0 before the first contact
        self.election_timeout_min_us = election_timeout_min_us
        promised = hard_state.lease_promise_us
        self._recovered_promise_us = promised if promised > election_timeout_min_us else 0
        self.leader_lease_recovered_until = 0
        # May be out of date where the node was invited back: its log decides then.
        self.removed = hard_state.removed
        self.founding = False  # the first entry of a new cluster is not durable yet
        self.reads: dict[int, bytes] = {}  # this gateway's, until a leader confirms them
        # Of leases on keys, as applied here: id to milliseconds, and to those recorded as left.
        self.key_leases, self.leases_left = by_lease(recovered.leases)
        self.removal_claims: dict[NodeId, int] = {}  # claimant to the time of its first claim
        self.chunks_staging = 0  # handed to storage, not acknowledged yet
        self.durability = Durability()
        self.own_votes: list[PeerMessage] = []  # durable by now, and still to be counted
        self.shortage = Shortage.NONE  # of space on this node
        self.learners_max = LEARNERS_MAX
        self.check_proposal: CheckProposal = check_proposal
        self.outbox = Outbox()
        if election_timeout_min_us > promised:
            self._write_hard_state()

    def set_time(self, now: int) -> None:
        """Set the time; the first call starts the countdown of a recovered lease promise."""
        if not self.now:
            self.leader_lease_recovered_until = now + self._recovered_promise_us
        self.now = now

    # --- the leader lease, as granted by this node

    @property
    def leader_lease_recovered(self) -> bool:
        """Whether a leader may still rely on a promise of an earlier incarnation."""
        return self.now < self.leader_lease_recovered_until

    @property
    def leader_lease_granted(self) -> bool:
        """Whether this node, as a follower, lets no other node become leader yet (§9.6)."""
        if not isinstance(self.role, Follower):
            return False
        return self.role.leader_lease_granted or self.leader_lease_recovered

    @property
    def leader_lease_active(self) -> bool:
        """Whether this node leads or protects a leader: candidates do not disturb it (§9.6)."""
        return isinstance(self.role, Leader) or self.leader_lease_granted

    # --- membership and role

    @property
    def agreed_index(self) -> int:
        """The index up to which this log certainly is the committed one.

        Right after a start, a membership may be known as committed beyond the commit index.
        """
        known = max(self.commit_index, self.memberships.committed.index)
        return min(known, self.log.last_index)

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self.memberships.latest.membership

    @property
    def is_member(self) -> bool:
        """Whether the membership in force lists this node."""
        return self.membership.get(self.id) is not None

    @property
    def addition_pending(self) -> bool:
        """Whether only an uncommitted membership lists this node, other than the founding one.

        A cluster has one founding entry, and each node that it lists was a member.
        """
        is_listed = self.memberships.committed.membership.get(self.id) is not None
        return self.is_member and not is_listed and self.memberships.latest.index > FOUNDING_INDEX

    @property
    def _is_left_out(self) -> bool:
        """Whether neither the committed membership nor a later one lists this node."""
        committed = self.memberships.committed.membership
        left_out = bool(committed.members) and committed.get(self.id) is None
        return left_out and not self.is_member

    @property
    def is_outdated(self) -> bool:
        """Whether commands that this node cannot apply may follow the committed membership."""
        committed = self.memberships.committed.membership
        return committed.level > self.level

    @property
    def may_campaign(self) -> bool:
        """Whether this node's own timeout may begin an election.

        A removed voter may still be needed until its removal is committed (dissertation §4.2.2).
        A node that cannot persist its own vote would only raise the term.
        """
        known = (self.membership, self.memberships.committed.membership)
        is_able = not self.removed and not self.durability.stalled
        return is_able and any(each.is_voter(self.id) for each in known)

    @property
    def cannot_store(self) -> bool:
        """Whether storage takes no snapshot: it is stalled, or its disk is nearly full."""
        return self.durability.stalled or self.shortage is Shortage.CRITICAL

    @property
    def leader(self) -> NodeId | None:
        """The leader of this term, where this node knows it."""
        match self.role:
            case Leader():
                return self.id
            case Follower(leader=leader):
                return leader
            case Candidate():
                return None

    @property
    def other_leader(self) -> NodeId | None:
        """The leader to forward requests to, unless it is unknown or this node itself."""
        return None if self.leader == self.id else self.leader

    # --- sending

    def send(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message that depends on no state which a crash could take back."""
        self.outbox.peers[to].append(message)

    def send_in_term(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message that asserts the current term, as soon as the term is durable."""
        if self.durability.hard_state_durable:
            self.send(to, message)
        else:
            self.durability.promise(to, message)

    def deliver(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message whose write is durable by now; a vote may be for this node itself."""
        if to == self.id:
            self.own_votes.append(message)
        else:
            self.send(to, message)

    def release(self, persisted: Persisted) -> tuple[int, int] | None:
        """Send the messages that waited for a write; return index and term of the durable end."""
        if persisted.incarnation != self.incarnation:
            return None
        released, end = self.durability.acknowledge(persisted)
        if self.durability.hard_state_durable:
            self.founding = False
        for to, message in released:
            self.deliver(to, message)
        return end

    def complain(self, sender: NodeId, subject: str, sentence: str) -> None:
        """Report a fault in a message of some node to the operator."""
        self.outbox.complaints.append(Complaint(sender, subject, sentence))

    # --- term, vote and removal

    def set_term(self, term: int, voted_for: NodeId = b"") -> None:
        """Enter a term, or vote in the current one."""
        self.term = term
        self.voted_for = voted_for
        self._write_hard_state()

    def _write_hard_state(self) -> None:
        """Persist term, vote and lease promise, the recovered promise while it may be relied on."""
        if self.now and not self.leader_lease_recovered:
            self._recovered_promise_us = 0
        promise = max(self.election_timeout_min_us, self._recovered_promise_us)
        hard_state = HardState(self.term, self.voted_for, promise, self.removed)
        self.durability.write_hard_state(hard_state)

    def set_removed(self, *, removed: bool = True) -> None:
        """Persist whether this node was removed: a restart must not bring it back by itself."""
        if self.removed != removed:
            self.removed = removed
            self._write_hard_state()

    # --- roles

    def become_follower(self, leader: NodeId | None = None) -> None:
        """Follow a leader, or none yet."""
        # A lease outlives the change of term: the leader that relies on it may be of an older one.
        before, granted = self.role, leader is not None or self.leader_lease_granted
        self.role = Follower(leader, granted)
        self.contact_count += 1
        if isinstance(before, Leader):
            self._refuse_reads(before)
            self._end_snapshots(before)
        self.fail_reads()

    def follow(self, leader: NodeId) -> None:
        """Record a contact with the leader of this term, which counts this node as a member."""
        self.leader_contact_at = self.now
        if self.removal_claims:
            self.removal_claims.clear()
        if isinstance(self.role, Follower) and self.role.leader == leader:
            self.role.leader_lease_granted = True
            self.contact_count += 1
        else:
            self.become_follower(leader)

    def fail_reads(self) -> None:
        """Let the gateway repeat the reads that the former leader will not confirm."""
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

    # --- log and memberships

    def append_entries(self, entries: Sequence[LogEntry]) -> None:
        """Append entries, truncating the log from the index of the first of them on."""
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

    def _enter_membership(self, entry: LogEntry) -> bool:
        """Put an entry's membership in force; a malformed one has no effect on any node."""
        try:
            membership = decode_membership_change(entry.payload).membership
        except Malformed:
            return False  # storage logs it when it applies the entry
        self.memberships.append(entry.index, membership)
        return True

    def membership_changed(self) -> None:
        """Persist the memberships; a node that finds itself listed is not removed."""
        self.durability.write_memberships(self.memberships.to_store())
        if self.is_member:
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
        """Begin the log after a snapshot, unless the log holds the snapshot's last entry.

        A leader always holds it, or it would not have been elected, and commits it by counting.
        """
        if isinstance(self.role, Leader):
            return
        if self.log.matches(index, term):
            self.commit_to(index)
            return
        was_member = self.memberships.committed.membership.get(self.id) is not None
        self.log.begin_after(index, term)
        self.commit_index = index
        self.memberships = MembershipHistory((membership,))
        self.membership_changed()
        if was_member:
            self._leave_if_left_out()

    def _leave_if_left_out(self) -> None:
        # A joining node first receives memberships older than its own: those remove no node.
        if self._is_left_out and self.memberships.committed.index > self.listed_at:
            self.set_removed()
