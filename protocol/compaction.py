"""Log compaction as arithmetic: the log's size on disk, and the entries that may be dropped."""

from collections import deque
from collections.abc import Iterable
from itertools import accumulate

import msgspec

HELD_LOG_FACTOR = 16  # times what the limits keep: so long it may become for any follower


class LogLimits(msgspec.Struct, frozen=True):
    """How much of the log is kept for followers that are behind, once it is twice as long."""

    entries: int
    bytes: int


class Amount(msgspec.Struct, frozen=True):
    """So many entries of the log, or rows of a snapshot, and what they weigh."""

    count: int = 0
    bytes: int = 0


class LogSize:
    """What the log weighs, from the first entry kept to the last."""

    def __init__(self, limits: LogLimits, start_index: int, sizes: Iterable[int] = ()) -> None:
        self._limits = limits
        self._start = start_index  # the entry before the first one kept
        self._dropped = 0  # what weighed all up to there
        self._weights = deque(accumulate(sizes))  # of all up to each entry, dropped ones included

    def exceeds(self, factor: int) -> bool:
        """Whether the log is more than so many times as long as is kept."""
        limits, size = self._limits, self._weight() - self._dropped
        return len(self._weights) > factor * limits.entries or size > factor * limits.bytes

    def between(self, after: int, last: int) -> Amount:
        """Return how much of the log lies after an entry, up to another."""
        first, end = self._place(after), self._place(last)
        if first >= end:
            return Amount()
        return Amount(end - first, self._weight_at(end) - self._weight_at(first))

    def is_too_much(self, held: Amount, read: Amount) -> bool:
        """Whether more of the log is held for a reader than it has earned by what it has read.

        Whoever reads a snapshot at least as fast as entries are written gets through, and never is
        more held than the state weighs and some slack. Bytes earn any number of entries, so that
        small ones do not end the reading of a few large rows.
        """
        slack = HELD_LOG_FACTOR * self._limits.entries, HELD_LOG_FACTOR * self._limits.bytes
        if held.count > slack[0] + read.count and held.bytes > read.bytes:
            return True
        return held.bytes > slack[1] + read.bytes

    def append(self, size: int) -> None:
        """Count one more entry."""
        self._weights.append(self._weight() + size)

    def truncate_from(self, index: int) -> None:
        """Forget the entries from an index on: others take their place."""
        while self._start + len(self._weights) >= index and self._weights:
            self._weights.pop()

    def compact_to(self, index: int) -> None:
        """Forget the entries up to an index."""
        while self._start < index and self._weights:
            self._dropped = self._weights.popleft()
            self._start += 1
        self._start = index

    def cut(self, limit: int) -> int | None:
        """Return up to where the log should be dropped, never beyond a limit; None to wait.

        Waiting until twice the kept length makes one deletion of many.
        """
        if not self.exceeds(2):
            return None
        count, size = len(self._weights), self._weight() - self._dropped
        cut, dropped = 0, self._dropped
        for weight in self._weights:
            enough = count - cut <= self._limits.entries and size <= self._limits.bytes
            if enough or self._start + cut >= limit:
                break
            cut, size, dropped = cut + 1, size - (weight - dropped), weight
        return self._start + cut if cut else None

    def _weight(self) -> int:
        return self._weights[-1] if self._weights else self._dropped

    def _place(self, index: int) -> int:
        return min(max(index - self._start, 0), len(self._weights))

    def _weight_at(self, place: int) -> int:
        return self._weights[place - 1] if place else self._dropped
