"""HeldLog: the whole log of one incarnation of a node, of which its core keeps a window."""

from protocol.entry import LogEntry
from protocol.messages.replicator import Recovered


class HeldLog:
    """Every entry that a node recovered or appended since its start and has not truncated."""

    def __init__(self, recovered: Recovered) -> None:
        self._begin = recovered.prev_index
        self._begin_term = recovered.prev_term
        self._entries = {entry.index: entry for entry in recovered.entries}
        self._last = recovered.prev_index + len(recovered.entries)

    def append(self, entries: tuple[LogEntry, ...]) -> None:
        """Append entries, replacing all from the first of them on."""
        self.cut_after(entries[0].index - 1)
        for entry in entries:
            self._entries[entry.index] = entry
        self._last = entries[-1].index

    def cut_after(self, index: int) -> None:
        """Drop the entries after an index."""
        while self._last > index:
            self._entries.pop(self._last, None)
            self._last -= 1

    def begin_after(self, index: int, term: int) -> None:
        """Start a new log after a snapshot."""
        self._begin = self._last = index
        self._begin_term = term
        self._entries.clear()

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, or None before the start of this log."""
        entry = self._entries.get(index)
        if entry is not None:
            return entry.term
        return self._begin_term if index == self._begin else None

    def reaches_back_to(self, index: int) -> bool:
        """Return whether an index is within this log or after it."""
        return index > self._begin

    def entry_at(self, index: int) -> LogEntry | None:
        """Return the entry at an index."""
        return self._entries.get(index)
