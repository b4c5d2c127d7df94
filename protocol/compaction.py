"""How long the log may grow on disk, as arithmetic: what it weighs, and what may be dropped."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

import msgspec


class LogLimits(msgspec.Struct, frozen=True):
    """How much of the log is kept for followers that are behind, once it is twice as long."""

    entries: int
    bytes: int


class LogSize:
    """The size of each entry of the log, from the first one kept to the last."""

    def __init__(self, limits: LogLimits, start_index: int, sizes: Iterable[int] = ()) -> None:
        self._limits = limits
        self._start = start_index  # the entry before the first one kept
        self._sizes = deque(sizes)
        self._bytes = sum(self._sizes)

    @property
    def bytes(self) -> int:
        """What all entries weigh."""
        return self._bytes

    def exceeds(self, factor: int) -> bool:
        """Whether the log is more than so many times as long as is kept."""
        limits = self._limits
        return len(self._sizes) > factor * limits.entries or self._bytes > factor * limits.bytes

    def exceeds_up_to(self, index: int, factor: int) -> bool:
        """Whether the log is that long without the entries after an index."""
        if not self.exceeds(factor):
            return False
        after = max(0, self._start + len(self._sizes) - index)
        count = len(self._sizes) - after
        size = self._bytes - sum(islice(reversed(self._sizes), after))
        return count > factor * self._limits.entries or size > factor * self._limits.bytes

    def append(self, size: int) -> None:
        """Count one more entry."""
        self._sizes.append(size)
        self._bytes += size

    def truncate_from(self, index: int) -> None:
        """Forget the entries from an index on: others take their place."""
        while self._start + len(self._sizes) >= index and self._sizes:
            self._bytes -= self._sizes.pop()

    def compact_to(self, index: int) -> None:
        """Forget the entries up to an index."""
        while self._start < index and self._sizes:
            self._bytes -= self._sizes.popleft()
            self._start += 1
        self._start = index

    def cut(self, limit: int) -> int | None:
        """Return up to where the log should be dropped, never beyond a limit; None to wait.

        Waiting until twice the kept length makes one deletion of many.
        """
        if not self.exceeds(2):
            return None
        count, size = len(self._sizes), self._bytes
        index = self._start
        for entry_size in self._sizes:
            enough = count <= self._limits.entries and size <= self._limits.bytes
            if enough or index >= limit:
                break
            index, count, size = index + 1, count - 1, size - entry_size
        return index if index > self._start else None
