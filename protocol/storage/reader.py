"""Reader: serves reads from the tables, as encoded outcomes."""

from collections.abc import Callable
from typing import NamedTuple, assert_never

import msgspec

from protocol.messages.client import (
    Failed,
    FailureCode,
    FoundMany,
    Get,
    GetMany,
    KeepAlive,
    LeaseRead,
    ListKeys,
    ListLeases,
    ListPrefixes,
    Names,
    ReadChanges,
    ReadOperation,
    ReadOutcome,
    ReadSnapshot,
    RightsRead,
    Scan,
    SnapshotPart,
)
from protocol.messages.rights import CheckRight, ListUsers, WhoAmI
from protocol.state.commands import Found, Missing
from protocol.state.key_value import decode_stored_value
from protocol.state.machine import StateMachine
from protocol.state.tables import SortedTable
from protocol.storage.history import ChangeHistory
from protocol.storage.key_range import key_range
from protocol.storage.lease_reads import LeaseReads
from protocol.storage.read_rights import ReadRights
from protocol.storage.scans import Scans
from protocol.storage.state_tables import StateTables
from protocol.wire import decode_read_batch, encode

PAGE_NAMES_MAX = 10_000  # in a page, of up to ``PAGE_BYTES_MAX``: appends wait while one is read
PAGE_BYTES_MAX = 1 << 20
QUICK = (Get, KeepAlive, CheckRight, WhoAmI)  # operations that read a few rows at most
SCAN_BYTES_MIN = 256 << 10  # minimum cost of a scan, which takes long even if it finds little
COUNT_BYTES = 512 << 10  # cost of a page that counts more entries than any other has
EXAMINED_BYTES = 128  # cost of what the history examines for a page: two full ones fill a turn
MANY_BYTES_MAX = 8 << 20  # of the values that are read together
TOO_MUCH = Failed(
    FailureCode.INVALID,
    f"the values have more than {MANY_BYTES_MAX >> 20} MiB: ask for fewer keys at once",
)


class Served(NamedTuple):
    """The first reads of a batch, as they were served."""

    outcomes: tuple[msgspec.Raw, ...]  # encoded
    behind: tuple[int, ...]  # places of those for which the state may not be new enough
    weight: int  # their cost in bytes


class Reader:
    """Serves batches of reads at the current revision."""

    def __init__(
        self,
        tables: StateTables,
        machine: StateMachine,
        write_tables: Callable[[], None],
        read_snapshot: Callable[[ReadSnapshot, bytes], SnapshotPart],
        history: ChangeHistory,
    ) -> None:
        """Call ``write_tables`` before each scan of the tables, which sees only written rows."""
        self._values = tables.values
        self._prefixes = tables.prefixes
        self._leases = LeaseReads(tables.leases, lambda: machine.leases_granted)
        self._rights = ReadRights(machine.rights, tables.leases)
        self._write_tables = write_tables
        self._read_snapshot = read_snapshot
        self._history = history
        self._scans = Scans(tables.values)

    def serve(self, payload: bytes, revision: int, bytes_max: int) -> Served:
        """Serve the reads of an encoded ``ReadBatch``.

        The first operation is always read, further ones until the cost reaches ``bytes_max``.
        """
        outcomes: list[msgspec.Raw] = []
        behind: list[int] = []
        weight = 0
        batch = decode_read_batch(payload)
        for place, operation in enumerate(batch.operations):
            if outcomes and weight >= bytes_max:
                break
            examined = self._history.examined
            user = batch.users[place] if batch.users else b""
            if user and (denied := self._rights.denial(operation, user)) is not None:
                behind.append(place)  # the right may have been granted meanwhile
                encoded = encode(denied)
            elif (least := _least(operation)) > revision:
                behind.append(place)
                encoded = encode(_from_the_future(least, revision))
            else:
                encoded = encode(self._serve(operation, revision, user))
            outcomes.append(msgspec.Raw(encoded))
            examined = self._history.examined - examined
            weight += _weight(operation, len(encoded) + EXAMINED_BYTES * examined)
        return Served(tuple(outcomes), tuple(behind), weight)

    def set_time(self, now: float) -> None:
        """Tell the time, in seconds of the wall clock, for the age of changes and of scans."""
        self._history.set_time(now)
        self._scans.set_time(now)

    def end_idle(self, revision: int) -> None:
        """Drop what idle scans keep."""
        self._scans.end_idle(revision)

    def _serve(self, operation: ReadOperation, revision: int, user: bytes) -> ReadOutcome:
        match operation:
            case Get(key=key):
                return self._get(key, revision)
            case GetMany(keys=keys):
                return self._get_many(keys, revision)
            case KeepAlive():
                return self._leases.keep_alive(operation)
            case ListUsers() | WhoAmI() | CheckRight():
                return self._rights.read(operation, user)
            case _:
                self._write_tables()
                return self._serve_from_tables(operation, revision, user)

    def _serve_from_tables(
        self,
        operation: Scan | ListKeys | ListPrefixes | ListLeases | ReadChanges | ReadSnapshot,
        revision: int,
        user: bytes,
    ) -> ReadOutcome:
        match operation:
            case Scan():
                return self._scans.read(operation, user, revision)
            case ListKeys():
                return _list(self._values, operation, revision)
            case ListPrefixes():
                return _list(self._prefixes, operation, revision)
            case ListLeases():
                return self._leases.page(operation, revision)
            case ReadChanges():
                return self._history.read(operation, revision)
            case ReadSnapshot():
                return self._read_snapshot(operation, user)
            case unknown:
                assert_never(unknown)

    def _get(self, key: str, revision: int) -> Found | Missing:
        stored = self._values.get(key.encode())
        if stored is None:
            return Missing(revision)
        row = decode_stored_value(stored)
        history = (row.create_revision, row.revision, row.version)
        return Found(revision, *history, row.value, *row.lease_fields)

    def _get_many(self, keys: tuple[str, ...], revision: int) -> FoundMany | Failed:
        found: list[Found | Missing] = []
        size = 0
        for key in keys:
            found.append(self._get(key, revision))
            size += len(found[-1].value) if isinstance(found[-1], Found) else 0
            if size > MANY_BYTES_MAX:
                return TOO_MUCH
        return FoundMany(revision, tuple(found))


def _weight(operation: ReadOperation, size: int) -> int:
    """Return what a read counts as, in bytes, by the size of what it returns and examines."""
    if type(operation) in QUICK:
        return size
    counts = isinstance(operation, Scan) and operation.counts
    return max(size, COUNT_BYTES if counts else SCAN_BYTES_MIN)


def _least(operation: ReadOperation) -> int:
    """Return the revision that the state must have reached."""
    if type(operation) is Get:  # the most frequent case
        return operation.min_revision
    if isinstance(operation, ReadSnapshot | LeaseRead | RightsRead):
        return 0
    if isinstance(operation, ReadChanges):
        return max(operation.after, operation.min_revision)
    return operation.min_revision


def _from_the_future(wanted: int, revision: int) -> Failed:
    text = f"revision {wanted} is from the future: the state has revision {revision}"
    return Failed(FailureCode.INVALID, text)


def _list(table: SortedTable, operation: ListKeys | ListPrefixes, revision: int) -> Names:
    """Return one page of names under the prefix, after ``start_after``."""
    reverse = isinstance(operation, ListKeys) and operation.reverse
    within = key_range(operation.prefix, operation.start_after, reverse=reverse)
    limit = min(operation.limit, PAGE_NAMES_MAX)
    names: list[str] = []
    size = 0
    for key in within.keys(table.keys(within.first, reverse=reverse)):
        if len(names) >= limit or size > PAGE_BYTES_MAX:
            return Names(revision, tuple(names), more=True)
        names.append(key.decode())
        size += len(key)
    return Names(revision, tuple(names), more=False)
