"""Log window: the newest log entries in memory, and the term of the entry before them."""

from collections.abc import Sequence

from protocol.compaction import LogLimits
from protocol.entry import LogEntry, payload_bytes

# Followers that lag only a little are served from here, without the disk.
WINDOW_ENTRIES_MAX = 100_000
WINDOW_BYTES_MAX = 64 << 20
ENTRY_OVERHEAD_BYTES = 200  # an empty entry costs memory too


class Log:
    """The window: every log entry after ``prev_index``.

    - Indexes have no gap, and terms never fall.
    - An entry is replaced only by ``replace_from``, never below the commit index.
    - Entries before the window are committed; only the last one's term is kept.
    """

    def __init__(
        self,
        prev_index: int,
        prev_term: int,
        entries: Sequence[LogEntry],
        window: LogLimits | None = None,
    ) -> None:
        self.prev_index = prev_index
        window = window or LogLimits(WINDOW_ENTRIES_MAX, WINDOW_BYTES_MAX)
        self._entries_max = min(window.entries, WINDOW_ENTRIES_MAX)
        self._bytes_max = min(window.bytes, WINDOW_BYTES_MAX)
        self._prev_term = prev_term
        self._entries = list(entries)
        self._bytes = sum(map(_cost, entries))

    @property
    def last_index(self) -> int:
        """The index of the last entry; 0 where there is none."""
        return self.prev_index + len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry; 0 where there is none."""
        return self._entries[-1].term if self._entries else self._prev_term

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at an index, or None outside the window."""
        if index == self.prev_index:
            return self._prev_term
        if self.prev_index < index <= self.last_index:
            return self._entries[index - self.prev_index - 1].term
        return None

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry at an index has this term; entries before the window always match."""
        return index < self.prev_index or self.term_at(index) == term

    def accepts_candidate_log(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate's log, by its last entry, is at least as up to date (Raft §5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def slice(self, from_index: int, bytes_max: int) -> tuple[LogEntry, ...]:
        """Return entries from an index on, up to a size, but at least one if it exists."""
        taken: list[LogEntry] = []
        size = 0
        for position in range(from_index - self.prev_index - 1, len(self._entries)):
            entry = self._entries[position]
            size += _cost(entry)
            if taken and size > bytes_max:
                break
            taken.append(entry)
        return tuple(taken)

    def payload_bytes(self, first: int, last: int) -> int:
        """Return the payload size of the entries from first to last."""
        entries = self._entries[first - self.prev_index - 1 : last - self.prev_index]
        return payload_bytes(entries)

    def new_among(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """Return the entries from the first one that is missing or conflicts here (Raft §5.3)."""
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                return entries[position:]
        return ()

    def replace_from(self, entries: Sequence[LogEntry]) -> None:
        """Append entries, truncating the log from the index of the first of them on."""
        keep = entries[0].index - self.prev_index - 1
        assert 0 <= keep <= len(self._entries), "the log has no gap and keeps committed entries"
        for dropped in self._entries[keep:]:
            self._bytes -= _cost(dropped)
        del self._entries[keep:]
        self._entries.extend(entries)
        self._bytes += sum(map(_cost, entries))

    def find_agreement(self, index: int, term: int) -> tuple[int, int]:
        """Return index and term of the last entry not after these: where two logs could agree.

        One step skips a whole conflicting term (the optimization of §5.3). The result is never
        before the window.
        """
        index = min(index, self.last_index)
        while index > self.prev_index and (self.term_at(index) or 0) > term:
            index -= 1
        return index, self.term_at(index) or 0

    def begin_after(self, index: int, term: int) -> None:
        """Drop all entries: the log continues after the last entry of a snapshot."""
        self.prev_index, self._prev_term = index, term
        self._entries.clear()
        self._bytes = 0

    def trim(self, up_to: int) -> None:
        """Drop old entries up to this index while the window is too large."""
        count = 0
        while self.prev_index + count < up_to and (
            self._bytes > self._bytes_max or len(self._entries) - count > self._entries_max
        ):
            self._bytes -= _cost(self._entries[count])
            count += 1
        if count:
            self._prev_term = self._entries[count - 1].term
            self.prev_index += count
            del self._entries[:count]


def _cost(entry: LogEntry) -> int:
    return len(entry.payload) + ENTRY_OVERHEAD_BYTES
