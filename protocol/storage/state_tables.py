"""The tables of the state machine: two sets, one active, one staging a snapshot.

A snapshot is staged in the spare set; one write then makes that set active. A crash leaves either
the old state or the new one.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from protocol.snapshot import SnapshotId
from protocol.state.key_leases import check_lease_key, decode_lease
from protocol.state.key_value import FIRST_USER_KEY, decode_count, decode_stored_value
from protocol.state.machine import StateMachine
from protocol.state.sessions import decode_session
from protocol.state.tables import Database, SortedTable, TableView
from protocol.state.user_table import decode_rights_row
from protocol.wire import Malformed

TABLE_SETS = 2
AFTER_ALL_KEYS = b"\xff" * 16  # no key of any table sorts after it

_ACTIVE_KEY = b"state_place"
_OWN_ROWS = b"\0"  # of the state machine itself, stored among the values
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class StateTables(NamedTuple):
    """The state machine's tables in one set."""

    values: SortedTable
    prefixes: SortedTable
    sessions: SortedTable
    leases: SortedTable
    lease_keys: SortedTable
    rights: SortedTable

    def machine(self) -> StateMachine:
        """Return the state machine on these tables."""
        machine = StateMachine(self, self.sessions.scan(b""))
        if not machine.counts_bytes:
            machine.count_bytes(self.values.scan(FIRST_USER_KEY))
        return machine

    def machine_at(self, snapshot: SnapshotId) -> StateMachine:
        """Return the state machine of a staged snapshot.

        Raises:
            Malformed: the tables are not those of this snapshot.
        """
        try:
            machine = self.machine()
            is_sound = machine.membership.membership.is_sound
        except _UNREADABLE as error:
            raise Malformed(str(error)) from None
        if not is_sound or (machine.applied_index, machine.applied_term) != (
            snapshot.index,
            snapshot.term,
        ):
            raise Malformed(f"it is the state after entry {machine.applied_index}")
        return machine

    def clear(self) -> None:
        """Delete every row."""
        for table in self:
            table.delete_range(b"", AFTER_ALL_KEYS)

    def rows_estimate(self) -> int:
        """Return the approximate number of rows."""
        return sum(table.rows_estimate() for table in self)

    def view(self) -> "StateView":
        """Return an immutable view of all written rows."""
        return StateView(*(table.view() for table in self))

    def lease_times(self) -> tuple[tuple[int, int, int], ...]:
        """Return id, milliseconds and recorded rest of each lease, as written."""
        rows = (decode_lease(*row) for row in self.leases.scan(b""))
        return tuple([(lease, row.ttl_ms, row.left_ms) for lease, row in rows])


class StateView(NamedTuple):
    """The tables as they were at one moment."""

    values: TableView
    prefixes: TableView
    sessions: TableView
    leases: TableView
    lease_keys: TableView
    rights: TableView

    def rows_after(self, row: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows after one of all tables; a row's key begins with its table's number."""
        first_table, first_key = (row[0], row[1:] + b"\0") if row else (0, b"")
        for number in range(first_table, len(self)):
            prefix = bytes([number])
            for key, value in self[number].scan(first_key if number == first_table else b""):
                yield prefix + key, value


class TableSets:
    """The two table sets of a database, one of them active."""

    def __init__(self, database: Database) -> None:
        self._meta = database.table("raft_meta")
        self._tables = [state_tables(database, number) for number in range(TABLE_SETS)]

    @property
    def active(self) -> StateTables:
        """The set that holds the state."""
        return self._tables[self._active_number]

    @property
    def spare(self) -> StateTables:
        """The set in which a snapshot is staged."""
        return self._tables[1 - self._active_number]

    @property
    def _active_number(self) -> int:
        return int.from_bytes(self._meta.get(_ACTIVE_KEY) or b"\0", "big")

    def switch(self) -> None:
        """Activate the other set with the next write."""
        self._meta.put(_ACTIVE_KEY, bytes([1 - self._active_number]))


def state_tables(database: Database, number: int) -> StateTables:
    """Return the table set of this number."""
    return StateTables(*(database.table(f"{name}.{number}") for name in StateTables._fields))


def table_names() -> tuple[str, ...]:
    """Return the names of all tables in a database."""
    sets = [f"{name}.{number}" for number in range(TABLE_SETS) for name in StateTables._fields]
    return ("raft_meta", "raft_log", "changes", *sets)


def is_row(row: bytes, value: bytes) -> bool:
    """Whether some table can hold this value under a row key, of table number and key."""
    if len(row) <= 1 or row[0] >= len(_DECODERS):
        return False
    if row[0] == 0 and row[1:].startswith(_OWN_ROWS):
        return True  # checked once all rows are staged
    try:
        _DECODERS[row[0]](row[1:], value)
    except _UNREADABLE:
        return False
    return True


_DECODERS: tuple[Callable[[bytes, bytes], object], ...] = (  # in the order of ``StateTables``
    lambda _, value: decode_stored_value(value),
    lambda _, value: decode_count(value),
    decode_session,
    decode_lease,
    check_lease_key,
    decode_rights_row,
)
