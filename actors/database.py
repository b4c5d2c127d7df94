"""Database: the RocksDB directory, its column families and its atomic writes.

    raft_meta   identity, hard state, memberships, where log and state begin
    raft_log    index, eight bytes big-endian -> entry
    changes     revision, eight bytes big-endian -> the changes of one entry up to it
    values      key -> value and its history; also the applied index, so that both agree
    prefixes    parent path -> number of keys in it
    sessions    session, eight bytes big-endian -> results kept to answer retries
    leases      lease, eight bytes big-endian -> its TTL and its number of keys
    lease_keys  lease and key -> nothing
    rights      user or role -> its keys and roles, or its rights

The last six exist twice, as ``values.0`` and ``values.1``: one set is active, the
other one stages a snapshot. No other module imports rocksdict.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import rocksdict

from actors import manifest
from actors.failure import ActorFailure, damaged_data
from protocol.state.tables import Row
from protocol.storage.state_tables import AFTER_ALL_KEYS, table_names

FAMILIES = table_names()
RIGHTS_FAMILIES = {"rights.0", "rights.1"}
LEASE_FAMILIES = {"leases.0", "lease_keys.0", "leases.1", "lease_keys.1"}
# Those that directories of older versions lack.
NEWER_FAMILIES = (
    RIGHTS_FAMILIES,
    RIGHTS_FAMILIES | LEASE_FAMILIES,
    RIGHTS_FAMILIES | LEASE_FAMILIES | {"changes"},
)
WRITE_BUFFER_BYTES = 32 << 20
WRITE_BUFFERS_MAX = 4  # of a table; writes stall while all but one are being flushed
WAL_BYTES_MAX = 96 << 20  # beyond this, RocksDB flushes tables to free old write-ahead logs
# A file with so many deletions among so many rows in a row is compacted soon: readers of a queue's
# first keys pass over the deletions of all that were there before.
DELETIONS_WINDOW, DELETIONS_MAX = 1000, 500
KEPT_INFO_LOGS = 3
SYNCS_KEY = b"syncs"
SYNCS_FILE = "SYNCS"  # among RocksDB's files, which ignores it

FULL_DISK_SIGNS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "Status(NoSpace)")

_ReturnT = TypeVar("_ReturnT")


class RocksDatabase:
    """Tables in one RocksDB directory; all changes between two writes are one batch."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        if not create:
            _check_manifest(path)
            create = self._guard(lambda: _is_older(path))
        families = {name: _options(create=create) for name in FAMILIES}
        self._db: rocksdict.Rdict = self._guard(
            lambda: rocksdict.Rdict(str(path), _options(create=create), families)
        )
        self._batch = rocksdict.WriteBatch(raw_mode=True)
        self._synced = rocksdict.WriteOptions()
        self._synced.sync = True
        self._buffered = rocksdict.WriteOptions()
        self._tables = {
            name: RocksTable(
                self._db.get_column_family(name),
                self._db.get_column_family_handle(name),
                self._batch,
                path,
            )
            for name in FAMILIES
        }
        self._meta = self._tables["raft_meta"]
        self._syncs = int.from_bytes(self._meta.get(SYNCS_KEY) or b"", "big")
        self._syncs_file = os.open(path / SYNCS_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._refuse_lost_syncs()
        self._guard(lambda: manifest.note_end(path))

    def table(self, family: str) -> "RocksTable":
        """Return the table of a column family."""
        return self._tables[family]

    def write(self, *, sync: bool) -> None:
        """Write all changes since the last call as one atomic batch.

        Raises:
            ActorFailure: the write's outcome is unknown; the directory must be reopened.
        """
        if sync:
            self._syncs += 1
            self._meta.put(SYNCS_KEY, self._syncs.to_bytes(8, "big"))
        batch, self._batch = self._batch, rocksdict.WriteBatch(raw_mode=True)
        self._guard(lambda: self._db.write(batch, self._synced if sync else self._buffered))
        if sync:
            os.pwrite(self._syncs_file, self._syncs.to_bytes(8, "big"), 0)
        for table in self._tables.values():
            table.begin(self._batch)

    def close(self) -> None:
        """Close the database; unsynced writes are left to the operating system.

        Raises:
            ActorFailure: RocksDB reported damage; everything is closed nevertheless.
        """
        with ExitStack() as closing:
            closing.callback(self._guard, self._db.close)
            closing.callback(os.close, self._syncs_file)
            for table in self._tables.values():
                closing.callback(self._guard, table.close)

    def _refuse_lost_syncs(self) -> None:
        """Compare the number of synced writes found with the number that were made.

        RocksDB takes a record with a damaged length for one that a crash interrupted, and opens
        without it and all later ones. The file itself is not synced: its count may be too low,
        never too high.
        """
        known = int.from_bytes(os.pread(self._syncs_file, 8, 0), "big")
        if known > self._syncs:
            lost = known - self._syncs
            raise storage_failure(self._path, ValueError(f"Corruption: {lost} writes are missing"))

    def _guard(self, operation: Callable[[], _ReturnT]) -> _ReturnT:
        """Convert any RocksDB error into an ``ActorFailure``."""
        try:
            return operation()
        except Exception as error:
            raise storage_failure(self._path, error) from error


class RocksTable:
    """A column family; ``get`` also sees changes that are not yet written."""

    def __init__(
        self,
        family: rocksdict.Rdict,
        handle: rocksdict.ColumnFamily,
        batch: rocksdict.WriteBatch,
        path: Path,
    ) -> None:
        self._path = path
        self._family = family
        self._handle = handle
        self._batch = batch
        self.pending: dict[bytes, bytes | None] = {}  # changes that are not yet written
        self._set: set[bytes] = set()  # keys of those that are not deletions
        self._read: Callable[[bytes], Any] = family.get

    def begin(self, batch: rocksdict.WriteBatch) -> None:
        """Put further changes into a batch; those of the last one are written."""
        self._batch = batch
        self.pending.clear()
        self._set.clear()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        if key in self.pending:
            return self.pending[key]
        try:
            value: bytes | None = self._read(key)
        except Exception as error:
            raise storage_failure(self._path, error) from error
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self.pending[key] = value
        self._set.add(key)
        self._batch.put(key, value, self._handle)

    def delete(self, key: bytes) -> None:
        """Delete a key."""
        self.pending[key] = None
        self._set.discard(key)
        self._batch.delete(key, self._handle)

    def delete_range(self, first: bytes, end: bytes) -> None:
        """Delete all keys from ``first`` up to, but not including, ``end``."""
        for key in [key for key in self._set if first <= key < end]:
            self.pending[key] = None
            self._set.remove(key)
        self._batch.delete_range(first, end, self._handle)

    def keys_under(self, prefix: bytes, first: bytes, count_max: int) -> list[bytes]:
        """Return the keys with a prefix from ``first`` on, written or not, in order."""
        first = max(first, prefix)
        found = [key for key in self._set if key >= first and key.startswith(prefix)]
        written = 0
        for key in self.keys(first):
            if written >= count_max or not key.startswith(prefix):
                break
            if key not in self.pending:
                found.append(key)
                written += 1
        return sorted(found)[:count_max]

    def scan(self, first: bytes) -> Iterator[Row]:
        """Yield the written rows from a key on, in key order."""
        return self.view().scan(first)

    def keys(self, first: bytes, *, reverse: bool = False) -> Iterator[bytes]:
        """Yield the written keys from one on, in order; with ``reverse``, from there down."""
        return _walk(self._family.iter(), first, self._path, reverse=reverse)

    def rows_estimate(self) -> int:
        """Return RocksDB's estimate of the number of rows."""
        return self._family.property_int_value("rocksdb.estimate-num-keys") or 0

    def view(self) -> "RocksView":
        """Return an immutable view of the rows written so far."""
        return RocksView(self._family.iter(), self._path)

    def close(self) -> None:
        """Release the column family, which holds the directory's lock."""
        del self._handle, self._read
        self._family.close()


class RocksView:
    """A column family as it was at one moment.

    A RocksDB iterator sees the rows that existed when it was created. rocksdict's ``Snapshot``
    cannot be used: it returns the newest rows.
    """

    def __init__(self, iterator: rocksdict.RdictIter, path: Path) -> None:
        self._iterator = iterator
        self._path = path

    def scan(self, first: bytes, *, reverse: bool = False) -> Iterator[Row]:
        """Yield the rows from a key on, in order, or from there down; one scan at a time."""
        try:
            for key in _walk(self._iterator, first, self._path, reverse=reverse):
                yield key, self._iterator.value()
        finally:
            self._iterator.seek(AFTER_ALL_KEYS)  # keeps no block of large rows in memory


def _walk(
    iterator: rocksdict.RdictIter, first: bytes, path: Path, *, reverse: bool = False
) -> Iterator[bytes]:
    """Yield the keys from one on, or from there down, with the iterator positioned at each.

    rocksdict's own ``items`` and ``keys`` end silently at a row that cannot be read.

    Raises:
        ActorFailure: a row cannot be read.
    """
    seek, move = (
        (iterator.seek_for_prev, iterator.prev) if reverse else (iterator.seek, iterator.next)
    )
    seek(first)
    while iterator.valid():
        yield iterator.key()
        move()
    try:
        iterator.status()
    except Exception as error:
        raise storage_failure(path, error) from error


def _check_manifest(path: Path) -> None:
    try:
        manifest.check(path)
    except manifest.LostEnd as error:
        raise storage_failure(path, ValueError(f"Corruption: {error}")) from error


def storage_failure(path: Path, error: Exception) -> ActorFailure:
    """Return the failure of the node for a RocksDB error."""
    text = str(error)
    if text.startswith("Corruption"):
        return damaged_data(path.parent, text)
    if any(sign in text for sign in FULL_DISK_SIGNS):
        return ActorFailure("StorageFull", f"the disk of {path.parent} has no space left")
    return ActorFailure("StorageError", f"cannot use the data in {path.parent}: {text}")


def _is_older(path: Path) -> bool:
    """Whether the database was made by a version without the newer tables, and has all others."""
    return set(FAMILIES) - set(rocksdict.Rdict.list_cf(str(path))) in NEWER_FAMILIES


def _options(*, create: bool) -> rocksdict.Options:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(create)
    # If a table is missing later, the manifest was truncated: an empty table would hide that.
    options.create_missing_column_families(create)
    # The default mode opens a log with a flipped bit as if it ended there.
    options.set_wal_recovery_mode(rocksdict.DBRecoveryMode.tolerate_corrupted_tail_records())
    # All tables are flushed together, so that the manifest describes one moment.
    options.set_atomic_flush(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_max_total_wal_size(WAL_BYTES_MAX)
    options.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_MAX, 0.0)
    options.set_keep_log_file_num(KEPT_INFO_LOGS)
    return options
