"""Log matching: entries that share index and term are equal, and so are the logs before them."""

from collections.abc import Sequence

from protocol.entry import LogEntry
from tests.harness.breach import expect


class LogMatching:
    """Every entry that any node has ever held, with the term of the one before it."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int], tuple[LogEntry, int]] = {}

    def append(self, entries: Sequence[LogEntry], term_before: int | None) -> None:
        """Check entries that a node appends after one of a term; None if that is unknown."""
        for entry in entries:
            if term_before is not None:
                expect(term_before <= entry.term, "terms fall along a log")
                self._check(entry, term_before)
            term_before = entry.term

    def forget(self, index: int, term: int) -> None:
        """Forget an entry that no node holds any more."""
        self._entries.pop((index, term), None)

    def _check(self, entry: LogEntry, term_before: int) -> None:
        known = self._entries.get((entry.index, entry.term))
        if known is None:
            self._entries[entry.index, entry.term] = (entry, term_before)
            return
        expect(known[0] is entry or known[0] == entry, "two entries share index and term")
        expect(known[1] == term_before, "logs that share an entry differ before it")
