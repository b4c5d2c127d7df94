"""Leaders: election safety, leader completeness and append-only logs."""

from protocol.entry import EntryKind
from protocol.membership import Membership, is_majority
from protocol.messages.storage import Append
from protocol.raft.node import RaftNode
from protocol.raft.roles import Leader
from tests.harness.breach import expect
from tests.harness.log_matching import LogMatching
from tests.simulation.admitted import Admitted
from tests.simulation.committed_log import CommittedLog
from tests.simulation.durable_state import DurableState
from tests.simulation.held_log import HeldLog
from tests.simulation.levels import Levels
from tests.simulation.totals import Totals


class Leaders:
    """The current leaders, and all entries that any node ever held."""

    def __init__(
        self,
        log: CommittedLog,
        disks: dict[bytes, DurableState],
        levels: Levels,
        totals: Totals,
    ) -> None:
        self.logs: dict[bytes, HeldLog] = {}
        self.cores: dict[bytes, RaftNode] = {}  # of the current leaders
        self._log = log
        self._disks = disks
        self._levels = levels
        self._totals = totals
        self._of_term: dict[int, bytes] = {}
        self._ends: dict[bytes, tuple[int, int]] = {}  # term and last index after the previous turn
        self._matching = LogMatching()
        self.admitted = Admitted()

    @property
    def latest(self) -> bytes | None:
        """The leader of the latest term that has one."""
        return max(self.cores, key=lambda each: self.cores[each].term, default=None)

    def see(self, core: RaftNode) -> bool:
        """Check a node that may lead; return whether it is a new leader."""
        if not core.leads or self._ends.get(core.id, (0, 0))[0] == core.term:
            return False
        only = self._of_term.setdefault(core.term, core.id) == core.id
        expect(only, f"two leaders in term {core.term}")
        self._totals.elections += 1
        self.cores[core.id] = core
        self._is_complete(core)
        return True

    def turn_over(self, core: RaftNode) -> None:
        """Note the end of a leader's log."""
        if core.leads:
            # A removed node that is being added again may have to lead, though as a learner.
            known = (core._state.memberships.committed.membership, core.membership)
            is_gone = all(each.members and each.get(core.id) is None for each in known)
            expect(not is_gone, "a leader leads on after its removal")
            self._ends[core.id] = (core.term, core._state.log.last_index)
        elif core.id in self._ends:
            self.ended(core.id)

    def ended(self, node: bytes) -> None:
        """Note that a node no longer leads."""
        self._ends.pop(node, None)
        self.cores.pop(node, None)

    def appends(self, core: RaftNode, append: Append) -> None:
        """Check the entries that are appended to a log."""
        if not append.entries:
            return
        term, last_index = self._ends.get(core.id, (0, 0))
        if core.leads and term == core.term:
            expect(append.entries[0].index > last_index, "a leader replaced an entry of its own")
        log = self.logs[core.id]
        self._matching.append(append.entries, log.term_at(append.entries[0].index - 1))
        log.append(append.entries)
        if core.leads:
            self._one_change_at_a_time(core, append)

    def founded(self) -> None:
        """Forget the first entry of a founding that a crash has undone: levels may differ now."""
        if not any(disk.holds(1, 1) for disk in self._disks.values()):
            self._matching.forget(1, 1)

    def term_of_commits(self, core: RaftNode) -> int:
        """Return the term in which a node commits in this turn; it may have stepped down since."""
        return core.term if core.leads else self._ends.get(core.id, (core.term, 0))[0]

    def may_commit(self, core: RaftNode, index: int) -> None:
        """Check that a leader commits first, and that a majority of disks holds the entry."""
        expect(core.leads or core.id in self._ends, "a follower was the first to commit")
        term = self.logs[core.id].term_at(index)
        expect(term == self.term_of_commits(core), "an entry of an earlier term was counted")
        assert term is not None
        memberships = core._state.memberships._history
        # The turn may have committed first, and then changed members or stepped down.
        _, end = self._ends.get(core.id, (0, 0))
        counted = memberships[-1:] if core.leads and memberships[-1].index <= end else memberships
        held = any(self._is_held(index, term, each.membership) for each in counted)
        expect(held, "committed before a majority's disks hold it")

    def committed(self, term: int) -> None:
        """Check that leaders of later terms hold the entry just committed in a term."""
        for other in list(self.cores.values()):
            if other.term > term:
                self._is_complete(other)

    def _is_held(self, index: int, term: int, membership: Membership) -> bool:
        holders = sum(self._disks[voter].holds(index, term) for voter in membership.voters)
        return is_majority(holders, len(membership.voters))

    def _is_complete(self, core: RaftNode) -> None:
        """Check the last entry committed before; log matching covers the earlier ones."""
        entry = self._log.last_committed_before(core.term)
        log = self.logs[core.id]
        if entry is not None and log.reaches_back_to(entry.index):
            expect(log.term_at(entry.index) == entry.term, "a leader lacks a committed entry")

    def _one_change_at_a_time(self, core: RaftNode, append: Append) -> None:
        state = core._state
        if not any(entry.kind == EntryKind.MEMBERSHIP for entry in append.entries):
            return
        self._totals.memberships += 1
        history = state.memberships._history
        expect(len(history) <= 2, "two changes of members are under way")
        before, after = history[-2].membership, history[-1].membership
        expect(len(before.voters ^ after.voters) <= 1, "a change of members by more than one")
        knowing = {node for node, disk in self._disks.items() if disk.last_index}
        self.admitted.changed(before, after, knowing)
        self._levels.changed(before, after)
        # The commits of this turn itself are judged right after this.
        committed = max(self._log.last_index, state.commit_index)
        expect(history[-2].index <= committed, "the change before is not committed")
        assert isinstance(state.role, Leader)
        expect(
            state.commit_index >= state.role.first_index,
            "members change before the leader has committed an entry of its term",
        )
