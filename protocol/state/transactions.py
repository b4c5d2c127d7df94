"""Transactions: checks and operations that change the state as a whole, at one revision.

A draft collects the writes. They reach the tables only once every operation has succeeded.
"""

from collections import Counter
from typing import assert_never

import msgspec

from protocol.keys import encode_prefix
from protocol.state.commands import (
    Check,
    Event,
    Found,
    Inapplicable,
    Increment,
    Incremented,
    Insert,
    Inserted,
    Lookup,
    Missing,
    NoLease,
    Obstacle,
    OperationResult,
    PrefixRemoved,
    Remove,
    Removed,
    RemovePrefix,
    Transact,
    Transacted,
    TransactionOperation,
)
from protocol.state.key_value import KeyValue, StoredValue, written
from protocol.state.limits import READ_BYTES_MAX, REMOVED_MAX
from protocol.state.numbers import CannotAdd, add

DETAIL_LENGTH_MAX = 200  # characters of a key in a result


class _Stopped(Exception):
    """An operation cannot be performed, for the reason in the result."""

    def __init__(self, result: Inapplicable | NoLease) -> None:
        super().__init__()
        self.result = result


def _obstacle(obstacle: Obstacle, detail: str) -> _Stopped:
    return _Stopped(Inapplicable(obstacle, detail[:DETAIL_LENGTH_MAX]))


def transact(
    store: KeyValue, command: Transact, events: list[Event]
) -> Transacted | Inapplicable | NoLease:
    """Perform a transaction; change nothing if a fence or an operation stops it."""
    for fence in command.fences:
        holder = store.read(fence.key.encode())
        if holder is None or holder.create_revision != fence.token:
            return Inapplicable(Obstacle.FENCED, fence.key[:DETAIL_LENGTH_MAX])
    succeeded = all(_holds(check, store.read(check.key.encode())) for check in command.checks)
    performed = _perform(store, command.then if succeeded else command.otherwise, events)
    if isinstance(performed, Inapplicable | NoLease):
        return performed
    return Transacted(succeeded, store.revision, performed)


def perform_alone(
    store: KeyValue, operation: Increment | RemovePrefix, events: list[Event]
) -> Incremented | PrefixRemoved | Inapplicable | NoLease:
    """Perform one operation as a change of its own."""
    performed = _perform(store, (operation,), events)
    if isinstance(performed, Inapplicable | NoLease):
        return performed
    (result,) = performed
    assert isinstance(result, Incremented | PrefixRemoved)
    return result


def _perform(
    store: KeyValue, operations: tuple[TransactionOperation, ...], events: list[Event]
) -> tuple[OperationResult, ...] | Inapplicable | NoLease:
    draft = _Draft(store)
    try:
        for operation in operations:
            draft.perform(operation)
    except _Stopped as stopped:
        return stopped.result
    return draft.commit(events)


class _Draft:
    """The writes of one change, over the keys of a store."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store
        self._rows: dict[str, StoredValue | None] = {}  # as written so far
        self._set: set[str] = set()  # keys of rows that are there: one change may remove thousands
        self._writes: list[tuple[str, StoredValue | None, StoredValue | None]] = []  # before, after
        self._grants: list[int] = []  # milliseconds of the leases of keys' own
        self._attached: Counter[int] = Counter()  # keys, by lease
        self._results: list[OperationResult] = []
        self._removed = 0  # keys, by prefixes
        self._read_bytes = 0
        self._revision = store.revision + 1  # of the writes
        self._inserted = Inserted(self._revision)  # result of each insert

    def commit(self, events: list[Event]) -> tuple[OperationResult, ...]:
        """Make all writes at one revision; return the results of the operations."""
        if not self._writes:
            return tuple(_at(self._store.revision, each) for each in self._results)
        self._store.revision = self._revision
        for ttl_ms in self._grants:
            self._store.leases.grant(ttl_ms, is_own=True)
        for position, (name, before, after) in enumerate(self._writes):
            self._store.write(name, name.encode(), before, after, events, position)
        return tuple(self._results)

    def perform(self, operation: TransactionOperation) -> None:
        """Perform an operation on the draft.

        Raises:
            _Stopped: it cannot be performed.
        """
        match operation:
            case Insert():
                self._insert(operation)
            case Remove(key=key):
                self._results.append(Removed(self._remove(key), self._revision))
            case Increment(key=key, by=by):
                self._increment(key, by)
            case RemovePrefix(prefix=prefix):
                self._remove_prefix(prefix)
            case Lookup(key=key):
                self._look_up(key)
            case unknown:
                assert_never(unknown)

    def _insert(self, insert: Insert) -> None:
        before, lease, ttl_ms = self._read(insert.key), insert.lease, insert.ttl_ms
        if lease or ttl_ms:
            lease = self._lease_of(insert, before)
        after = written(before, insert.value, self._revision, lease, ttl_ms)
        self._note(insert.key, before, after)
        self._results.append(self._inserted)

    def _lease_of(self, insert: Insert, before: StoredValue | None) -> int:
        """Return the lease of a key that is inserted with one."""
        leases = self._store.leases
        if insert.ttl_ms:
            _stop_if(leases.why_not_grant(len(self._grants)))
            self._grants.append(insert.ttl_ms)
            return leases.granted + len(self._grants)
        if insert.lease and (before is None or before.lease != insert.lease):
            _stop_if(leases.why_not_attach(insert, self._attached[insert.lease]))
            self._attached[insert.lease] += 1
        return insert.lease

    def _increment(self, key: str, by: int) -> None:
        before = self._read(key)
        try:
            total, encoded = add(None if before is None else before.value, by)
        except CannotAdd as error:
            raise _obstacle(error.obstacle, key) from None
        held = (0, 0) if before is None else (before.lease, before.ttl_ms)
        self._note(key, before, written(before, encoded, self._revision, *held))
        self._results.append(Incremented(total, self._revision))

    def _remove_prefix(self, prefix: str) -> None:
        names = self._names_under(encode_prefix(prefix))
        self._removed += len(names)
        if self._removed > REMOVED_MAX:
            raise _obstacle(Obstacle.TOO_MANY_KEYS, prefix)
        for name in names:
            self._remove(name)
        self._results.append(PrefixRemoved(len(names), self._revision))

    def _names_under(self, prefix: bytes) -> list[str]:
        """Return the keys with a prefix in order, as they are after the writes so far."""
        stored = self._store.keys_under(prefix, REMOVED_MAX + 1)
        drafted = (name.encode() for name in self._set)
        keys = {*stored, *(key for key in drafted if key.startswith(prefix))}
        names = [key.decode() for key in sorted(keys)]
        return [name for name in names if self._read(name) is not None]

    def _look_up(self, key: str) -> None:
        stored = self._read(key)
        if stored is None:
            self._results.append(Missing(self._revision))
            return
        self._read_bytes += len(stored.value)
        if self._read_bytes > READ_BYTES_MAX:
            raise _obstacle(Obstacle.TOO_LARGE, key)
        history = (stored.create_revision, stored.revision, stored.version)
        self._results.append(Found(self._revision, *history, stored.value, *stored.lease_fields))

    def _read(self, key: str) -> StoredValue | None:
        return self._rows[key] if key in self._rows else self._store.read(key.encode())

    def _remove(self, key: str) -> bool:
        """Remove a key; return whether it existed."""
        before = self._read(key)
        if before is not None:
            self._note(key, before, None)
        return before is not None

    def _note(self, key: str, before: StoredValue | None, after: StoredValue | None) -> None:
        self._rows[key] = after
        if after is None:
            self._set.discard(key)
        else:
            self._set.add(key)
        self._writes.append((key, before, after))


def _stop_if(why_not: Inapplicable | NoLease | None) -> None:
    if why_not is not None:
        raise _Stopped(why_not)


def _holds(check: Check, stored: StoredValue | None) -> bool:
    """Whether a key meets all conditions of a check."""
    row = stored or StoredValue(0, 0, 0, b"")
    return (
        check.exists in (None, stored is not None)
        and check.revision in (None, row.revision)
        and check.create_revision in (None, row.create_revision)
        and check.version in (None, row.version)
        and (check.value is None or (stored is not None and check.value == row.value))
    )


def _at(revision: int, result: OperationResult) -> OperationResult:
    """Return the result of an operation in a transaction that changes nothing."""
    match result:
        case Removed():
            return Removed(existed=False, revision=revision)
        case PrefixRemoved():
            return PrefixRemoved(0, revision)
        case Found() | Missing():
            return msgspec.structs.replace(result, revision=revision)
        case Inserted() | Incremented():
            raise AssertionError("these change a key")
