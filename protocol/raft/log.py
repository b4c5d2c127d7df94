"""The log in memory: the newest entries of the log on disk, and what came right before them."""

from collections.abc import Sequence

from protocol.compaction import LogLimits
from protocol.entry import Entry, payload_bytes

# What followers a little behind are served from, without the disk.
WINDOW_ENTRIES_MAX = 100_000
WINDOW_BYTES_MAX = 64 << 20
ENTRY_OVERHEAD_BYTES = 200  # an empty entry costs memory too


class Log:
    """A window on the log: every entry after ``prev_index``, up to the last one.

    - Indexes have no gap, and terms never fall.
    - An entry is replaced only by ``replace_from``, never below the commit index.
    - What left the window is committed; only its last term is remembered.
    """

    def __init__(
        self,
        prev_index: int,
        prev_term: int,
        entries: Sequence[Entry],
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
        """Whether the entry at an index has this term; what left the window always matches."""
        return index < self.prev_index or self.term_at(index) == term

    def accepts_candidate_log(self, last_index: int, last_term: int) -> bool:
        """Whether a log with this end is at least as up to date as this one (Raft §5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def slice(self, from_index: int, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from an index on: at least one if there is one, then up to a size."""
        taken: list[Entry] = []
        size = 0
        for position in range(from_index - self.prev_index - 1, len(self._entries)):
            entry = self._entries[position]
            size += _cost(entry)
            if taken and size > bytes_max:
                break
            taken.append(entry)
        return tuple(taken)

    def payload_bytes(self, first: int, last: int) -> int:
        """Return the size of what the entries from first to last carry."""
        entries = self._entries[first - self.prev_index - 1 : last - self.prev_index]
        return payload_bytes(entries)

    def new_among(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries from the first that is absent here or differs (Raft §5.3)."""
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                return entries[position:]
        return ()

    def replace_from(self, entries: Sequence[Entry]) -> None:
        """Put entries in, in place of all that the log held from the first of them on."""
        keep = entries[0].index - self.prev_index - 1
        assert 0 <= keep <= len(self._entries), "the log has no gap and keeps what is committed"
        for dropped in self._entries[keep:]:
            self._bytes -= _cost(dropped)
        del self._entries[keep:]
        self._entries.extend(entries)
        self._bytes += sum(map(_cost, entries))

    def find_agreement(self, index: int, term: int) -> tuple[int, int]:
        """Return index and term of the last entry not after these: where logs could agree.

        Skips a whole term of a diverged log in one step; the window's edge is the lowest answer.
        """
        index = min(index, self.last_index)
        while index > self.prev_index and (self.term_at(index) or 0) > term:
            index -= 1
        return index, self.term_at(index) or 0

    def begin_after(self, index: int, term: int) -> None:
        """Drop everything: the log goes on after an entry that a snapshot contains."""
        self.prev_index, self._prev_term = index, term
        self._entries.clear()
        self._bytes = 0

    def trim(self, up_to: int) -> None:
        """Let old entries leave the window, none after this index, while it is too large."""
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


def _cost(entry: Entry) -> int:
    return len(entry.payload) + ENTRY_OVERHEAD_BYTES
