"""Disk: tables whose unsynced writes may be lost in a crash, the latest first."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from protocol.state.tables import Row, SortedTable
from protocol.storage.state_tables import table_names


class DiskFailure(Exception):
    """The disk reported an error; the write may or may not have been done."""


class Change(NamedTuple):
    """A row before and after a write, None where it is absent."""

    table: str
    key: bytes
    before: bytes | None
    after: bytes | None


Batch = list[Change]


class Disk:
    """The tables of one node, and the writes that a crash may take back."""

    def __init__(self, on_durable: Callable[[Batch], None]) -> None:
        self.fails_next = False
        self.syncing = False  # a synced write is in progress
        self._on_durable = on_durable
        self._journal: list[Batch] = []  # written but not durable, oldest first
        self._pending: list[tuple[DiskTable, bytes, bytes | None, bool]] = []
        self._tables = {name: DiskTable(name, self._pending) for name in table_names()}

    def table(self, name: str) -> SortedTable:
        """Return a table by its name."""
        return self._tables[name]

    def write(self, *, sync: bool) -> None:
        """Write all pending rows; with ``sync``, ``finish_sync`` makes them durable.

        Raises:
            DiskFailure: the rows may or may not be written.
        """
        self.syncing |= sync
        if self._pending:
            self._journal.append(self._write_pending())
        if self.fails_next:
            self.fails_next = False
            raise DiskFailure

    def finish_sync(self) -> None:
        """Make all writes durable."""
        self.syncing = False
        self._settle(len(self._journal))

    def crash(self, chance: Random) -> int:
        """Lose pending rows and some of the latest unsynced writes; return their number."""
        self._pending.clear()
        self.fails_next = False
        for table in self._tables.values():
            table.forget_pending()
        kept = chance.randint(0, len(self._journal))
        lost = self._journal[kept:]
        for batch in reversed(lost):
            for change in reversed(batch):
                self._tables[change.table].set(change.key, change.before)
        del self._journal[kept:]
        self.finish_sync()
        return len(lost)

    def _settle(self, count: int) -> None:
        settled, self._journal = self._journal[:count], self._journal[count:]
        for batch in settled:
            self._on_durable(batch)

    def _write_pending(self) -> Batch:
        batch: Batch = []
        for table, key, value, is_range in self._pending:
            if is_range:
                for row in table.keys_between(key, value or b""):
                    batch.append(Change(table.name, row, table.set(row, None), None))
            else:
                batch.append(Change(table.name, key, table.set(key, value), value))
        self._pending.clear()
        for table in self._tables.values():
            table.forget_pending()
        return batch


class DiskTable:
    """A table with reads of pending rows, and scans of written rows only."""

    def __init__(
        self, name: str, pending: list[tuple["DiskTable", bytes, bytes | None, bool]]
    ) -> None:
        self.name = name
        self._fingerprint = 0  # of all written rows, in any order
        self._rows: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = []
        self._unwritten: dict[bytes, bytes | None] = {}
        self._pending = pending

    @property
    def fingerprint(self) -> int:
        """A hash of all rows, pending ones included."""
        shown = self._fingerprint
        for key, value in self._unwritten.items():
            before = self._rows.get(key)
            for row in (before, value):
                if row is not None:
                    shown ^= hash((key, row))
        return shown

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, pending or written."""
        if key in self._unwritten:
            return self._unwritten[key]
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""
        self._unwritten[key] = value
        self._pending.append((self, key, value, False))

    def delete(self, key: bytes) -> None:
        """Delete the key, if it exists."""
        self._unwritten[key] = None
        self._pending.append((self, key, None, False))

    def delete_range(self, first: bytes, end: bytes) -> None:
        """Delete all keys from ``first`` up to, but not including, ``end``."""
        for key in self._unwritten:
            if first <= key < end:
                self._unwritten[key] = None
        self._pending.append((self, first, end, True))

    def keys_under(self, prefix: bytes, first: bytes, count_max: int) -> list[bytes]:
        """Return the keys with a prefix from ``first`` on, written or not, in order."""
        keys = {*self._rows, *self._unwritten}
        under = [key for key in keys if key >= first and key.startswith(prefix)]
        return sorted(key for key in under if self.get(key) is not None)[:count_max]

    def scan(self, first: bytes) -> Iterator[Row]:
        """Yield the written rows, from a key on."""
        keys = self._keys
        for position in range(bisect_left(keys, first), len(keys)):
            yield keys[position], self._rows[keys[position]]

    def keys(self, first: bytes, *, reverse: bool = False) -> Iterator[bytes]:
        """Yield the written keys, from one on or from there down."""
        yield from _from(self._keys, first, reverse=reverse)

    def rows_estimate(self) -> int:
        """Return the number of written rows."""
        return len(self._rows)

    def view(self) -> "DiskView":
        """Return a view of the rows written so far."""
        return DiskView(dict(self._rows))

    def rows(self) -> dict[bytes, bytes]:
        """Return all written rows."""
        return self._rows

    def keys_between(self, first: bytes, end: bytes) -> list[bytes]:
        """Return the written keys of a range."""
        if not self._rows:
            return []
        keys = self._keys
        return keys[bisect_left(keys, first) : bisect_left(keys, end)]

    def set(self, key: bytes, value: bytes | None) -> bytes | None:
        """Write a row; return its previous value."""
        before = self._rows.get(key)
        if before is not None:
            self._fingerprint ^= hash((key, before))
        if value is None:
            if before is not None:
                del self._rows[key]
                self._sorted = None
            return before
        if before is None:
            self._note_new(key)
        self._rows[key] = value
        self._fingerprint ^= hash((key, value))
        return before

    def forget_pending(self) -> None:
        """Discard pending rows."""
        if self._unwritten:
            self._unwritten.clear()

    def _note_new(self, key: bytes) -> None:
        if self._sorted is not None and (not self._sorted or self._sorted[-1] < key):
            self._sorted.append(key)
        else:
            self._sorted = None

    @property
    def _keys(self) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._rows)
        return self._sorted


class DiskView:
    """A snapshot of a table."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows = rows
        self._keys = sorted(rows)

    def scan(self, first: bytes, *, reverse: bool = False) -> Iterator[Row]:
        """Yield the rows of the snapshot, from a key on or from there down."""
        for key in _from(self._keys, first, reverse=reverse):
            yield key, self._rows[key]


def _from(keys: list[bytes], first: bytes, *, reverse: bool) -> list[bytes]:
    """Return the sorted keys from one on, or from there down."""
    if reverse:
        return keys[bisect_right(keys, first) - 1 :: -1] if keys and keys[0] <= first else []
    return keys[bisect_left(keys, first) :]
