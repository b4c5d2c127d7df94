"""CommittedLog: the log that a cluster has agreed on, and the state that it implies."""

from protocol.entry import EntryKind, LogEntry
from tests.harness.breach import expect
from tests.simulation.model import Model
from tests.simulation.totals import Totals


class CommittedLog:
    """Every entry that any node has committed, and the term in which that first happened."""

    def __init__(self, totals: Totals) -> None:
        self.entries: list[LogEntry] = []
        self.committed_in: list[int] = []
        self.model = Model()
        self._memberships = [0]  # indexes of membership changes; 0 for none
        self._totals = totals

    @property
    def last_index(self) -> int:
        """The highest index that any node has committed."""
        return len(self.entries)

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at an index, if one is committed there."""
        return self.entries[index - 1].term if 0 < index <= len(self.entries) else None

    def commit(self, entry: LogEntry, term: int) -> None:
        """Note an entry that a node has committed; check state machine safety."""
        if entry.index > len(self.entries):
            self.append(entry, term)
            return
        known = self.entries[entry.index - 1]
        expect(known is entry or known == entry, f"two entries are committed at {entry.index}")

    def append(self, entry: LogEntry, term: int) -> None:
        """Append the next entry."""
        expect(entry.index == len(self.entries) + 1, "the committed log has a gap")
        self.entries.append(entry)
        self.committed_in.append(term)
        self._totals.commits += 1
        if entry.kind == EntryKind.MEMBERSHIP:
            self._memberships.append(entry.index)
        self.model.apply(entry)

    def memberships_from(self, first: int, last: int) -> list[int]:
        """Return the indexes of membership changes from ``first``, if it is one, to ``last``."""
        return [each for each in self._memberships if each == first or first < each <= last]

    def last_committed_before(self, term: int) -> LogEntry | None:
        """Return the last entry that was committed in an earlier term."""
        for index in range(len(self.entries) - 1, -1, -1):
            if self.committed_in[index] < term:
                return self.entries[index]
        return None
