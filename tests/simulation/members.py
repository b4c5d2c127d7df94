"""Members: every node counts exactly the members that its own log has (§4.1)."""

from protocol.entry import EntryKind
from protocol.messages.replicator import Recovered
from protocol.raft.node import RaftNode
from tests.harness.breach import expect
from tests.simulation.committed_log import CommittedLog
from tests.simulation.held_log import HeldLog


class Members:
    """Compares the memberships of every node with the entries of its log."""

    def __init__(self, log: CommittedLog, logs: dict[bytes, HeldLog]) -> None:
        self._log = log
        self._logs = logs
        self._seen: dict[bytes, tuple[int, ...]] = {}

    def started(self, recovered: Recovered) -> None:
        """Check that a start recovers the memberships of the entries on disk."""
        stored = {each.index for each in recovered.memberships}
        first = min(stored, default=0)
        for entry in recovered.entries:
            if entry.kind == EntryKind.MEMBERSHIP and entry.index > first:
                expect(entry.index in stored, "a start found other members than its log has")

    def turn_over(self, core: RaftNode) -> None:
        """Check the memberships of a node after a turn."""
        state = core._state
        known = [each.index for each in state.memberships._history]
        here = (state.log.last_index, state.commit_index, *known)
        if self._seen.get(core.id) == here:
            return
        self._seen[core.id] = here
        # The commit index that a start recovers may be older or newer than its membership's.
        later = self._log.memberships_from(known[0], state.commit_index)
        expect(later[:1] == known[:1], "a node takes a change of members for committed that is not")
        in_force = [*later, *self._uncommitted(core, known[0])]
        expect(known == in_force, "a node counts other members than its log has")

    def _uncommitted(self, core: RaftNode, index: int) -> list[int]:
        """Return the indexes of membership changes after an index and the commit index."""
        state, log = core._state, self._logs[core.id]
        rest = range(max(index, state.commit_index) + 1, state.log.last_index + 1)
        entries = [log.entry_at(index) for index in rest]
        return [each.index for each in entries if each and each.kind == EntryKind.MEMBERSHIP]
