"""Compaction: limits of log and history, and arithmetic on the log's size."""

from collections import deque
from collections.abc import Iterable
from itertools import accumulate

import msgspec

HISTORY_CHANGES_KEPT = 100_000
HISTORY_BYTES_KEPT = 64 << 20
HISTORY_SECONDS_KEPT = 24 * 3600
HELD_LOG_FACTOR = 16  # times the limits: the longest log that is retained for a snapshot reader


class LogLimits(msgspec.Struct, frozen=True):
    """How much of the log compaction keeps for followers that are behind."""

    entries: int
    bytes: int


class HistoryLimits(msgspec.Struct, frozen=True):
    """How many of the latest changes are kept for watches that resume."""

    changes: int = HISTORY_CHANGES_KEPT
    bytes: int = HISTORY_BYTES_KEPT  # of their rows
    seconds: int = HISTORY_SECONDS_KEPT


class Amount(msgspec.Struct, frozen=True):
    """A number of log entries or snapshot rows, and their size in bytes."""

    count: int = 0
    bytes: int = 0


class LogSize:
    """The sizes of the entries in the log."""

    def __init__(self, limits: LogLimits, start_index: int, sizes: Iterable[int] = ()) -> None:
        self._limits = limits
        self._start = start_index  # index before the first entry kept
        self._dropped = 0  # size of all entries up to there
        self._weights = deque(accumulate(sizes))  # cumulative sizes, dropped entries included

    def exceeds(self, factor: int) -> bool:
        """Whether the log is longer than ``factor`` times the limits."""
        limits, size = self._limits, self._weight() - self._dropped
        return len(self._weights) > factor * limits.entries or size > factor * limits.bytes

    def between(self, after: int, last: int) -> Amount:
        """Return the amount of log after index ``after``, up to ``last``."""
        first, end = self._place(after), self._place(last)
        if first >= end:
            return Amount()
        return Amount(end - first, self._weight_at(end) - self._weight_at(first))

    def is_too_much(self, held: Amount, read: Amount) -> bool:
        """Whether more of the log is retained for a snapshot reader than its progress justifies.

        A reader that is at least as fast as the writes finishes its snapshot, and the log retained
        for it never exceeds the size of the state plus some slack. The count alone decides nothing
        while fewer bytes are retained than were read, so that many small entries do not end the
        reading of a few large rows.
        """
        slack = HELD_LOG_FACTOR * self._limits.entries, HELD_LOG_FACTOR * self._limits.bytes
        if held.count > slack[0] + read.count and held.bytes > read.bytes:
            return True
        return held.bytes > slack[1] + read.bytes

    def append(self, size: int) -> None:
        """Add an entry of ``size`` bytes."""
        self._weights.append(self._weight() + size)

    def truncate_from(self, index: int) -> None:
        """Remove the entries from an index on."""
        while self._start + len(self._weights) >= index and self._weights:
            self._weights.pop()

    def compact_to(self, index: int) -> None:
        """Remove the entries up to an index."""
        while self._start < index and self._weights:
            self._dropped = self._weights.popleft()
            self._start += 1
        self._start = index

    def cut(self, limit: int) -> int | None:
        """Return the index up to which to compact, at most ``limit``; None if it is too early.

        Compaction waits for twice the kept length, so that many entries are deleted at once.
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
