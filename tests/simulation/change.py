"""Change: the operations of one revision on the rows of the model."""

from typing import Any

import msgspec

from protocol.state.commands import (
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
    PrefixRemoved,
    Remove,
    Removed,
    RemovePrefix,
    TransactionOperation,
)
from tests.simulation.lease_model import LeaseModel

Row = tuple[int, int, int, bytes]  # create revision, revision, version, value


class Change:
    """The rows, events and results after some operations."""

    def __init__(self, rows: dict[str, Row], revision: int, leases: LeaseModel) -> None:
        self.rows = rows
        self.leases = leases.copy()
        self._leases_before = leases
        self.events: list[Event] = []
        self.results: list[Any] = []
        self._revision = revision

    def perform(self, operation: TransactionOperation) -> Inapplicable | NoLease | None:
        """Perform an operation; return why it cannot be performed, if so."""
        match operation:
            case Insert():
                return self._insert(operation)
            case Remove(key=key):
                self._remove(key)
            case RemovePrefix(prefix=prefix):
                self._remove_prefix("" if prefix == "/" else prefix)
            case Increment(key=key, by=by):
                return self._increment(key, by)
            case Lookup(key=key):
                self._look_up(key)
        return None

    def expire(self, key: str) -> None:
        """Remove a key whose lease has expired."""
        self._write(key, None)
        self.events[-1] = msgspec.structs.replace(self.events[-1], expired=True)

    def _insert(self, insert: Insert) -> Inapplicable | NoLease | None:
        lease = self.leases.lease_for(insert, self._leases_before)
        if not isinstance(lease, int):
            return lease
        self._write(insert.key, insert.value, lease)
        self.results.append(Inserted(self._revision))
        return None

    def _remove(self, key: str) -> None:
        existed = key in self.rows
        if existed:
            self._write(key, None)
        self.results.append(Removed(existed, self._revision))

    def _remove_prefix(self, prefix: str) -> None:
        keys = [key for key in self.rows if key.startswith(prefix)]
        for key in sorted(keys, key=str.encode):
            self._write(key, None)
        self.results.append(PrefixRemoved(len(keys), self._revision))

    def _increment(self, key: str, by: int) -> Inapplicable | None:
        row = self.rows.get(key)
        before = 0 if row is None else _integer(row[3])
        if before is None:
            return Inapplicable(Obstacle.NOT_INTEGER, key)
        self._write(key, msgspec.msgpack.encode(before + by), self.leases.of_key.get(key, 0))
        self.results.append(Incremented(before + by, self._revision))
        return None

    def _look_up(self, key: str) -> None:
        row = self.rows.get(key)
        if row is None:
            self.results.append(Missing(self._revision))
        else:
            self.results.append(Found(self._revision, *row, *self.leases.shown(key)))

    def _write(self, key: str, value: bytes | None, lease: int = 0) -> None:
        self.leases.move(key, lease)
        before = self.rows.pop(key, None)
        created, previous, version, prev_value = before or (self._revision, 0, 0, None)
        if value is not None:
            self.rows[key] = (created, self._revision, version + 1, value)
        place = len(self.events)
        self.events.append(Event(self._revision, key, value, previous, place, prev_value))


def _integer(stored: bytes) -> int | None:
    """Return a stored integer, or None if it is another value."""
    try:
        value = msgspec.msgpack.decode(stored)
    except msgspec.DecodeError:
        return None
    return value if type(value) is int else None
