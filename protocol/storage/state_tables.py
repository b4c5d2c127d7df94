"""The tables of the state machine: two sets, one active, one staging a snapshot.

A snapshot is put together in the place that does not count; then one write switches them. What
a crash interrupts is either not there yet or whole.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from protocol.key_value import decode_count, decode_stored_value
from protocol.sessions import decode_session
from protocol.snapshot import SnapshotId
from protocol.state_machine import FIRST_USER_KEY, StateMachine
from protocol.table import Database, SortedTable, TableView
from protocol.wire import Malformed

PLACES = 2
AFTER_ALL_KEYS = b"\xff" * 16  # no key of any table sorts after it

_PLACE_KEY = b"state_place"
_OWN_ROWS = b"\0"  # of the state machine itself; they stand among the values
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class StateTables(NamedTuple):
    """The tables of the state machine in one place."""

    values: SortedTable
    prefixes: SortedTable
    sessions: SortedTable

    def machine(self) -> StateMachine:
        """Return the state machine that lives here."""
        machine = StateMachine(*self, self.sessions.scan(b""))
        if not machine.counts_bytes:
            machine.count_bytes(self.values.scan(FIRST_USER_KEY))
        return machine

    def machine_at(self, snapshot: SnapshotId) -> StateMachine:
        """Return the state machine that a snapshot brought here.

        Raises:
            Malformed: these are not the tables of that snapshot.
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
        """Forget every row."""
        for table in self:
            table.delete_range(b"", AFTER_ALL_KEYS)

    def rows_estimate(self) -> int:
        """Return about how many rows there are."""
        return sum(table.rows_estimate() for table in self)

    def view(self) -> "StateView":
        """Return all rows as they are written now."""
        return StateView(self.values.view(), self.prefixes.view(), self.sessions.view())


class StateView(NamedTuple):
    """The tables as they were at one moment."""

    values: TableView
    prefixes: TableView
    sessions: TableView

    def rows_after(self, row: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows of all tables, each key with its table's number before it."""
        first_table, first_key = (row[0], row[1:] + b"\0") if row else (0, b"")
        for number in range(first_table, len(self)):
            place = bytes([number])
            for key, value in self[number].scan(first_key if number == first_table else b""):
                yield place + key, value


class Places:
    """Which place of a database counts."""

    def __init__(self, database: Database) -> None:
        self._meta = database.table("raft_meta")
        self._tables = [state_tables(database, place) for place in range(PLACES)]

    @property
    def current(self) -> StateTables:
        """The tables that hold the state."""
        return self._tables[self._place]

    @property
    def spare(self) -> StateTables:
        """The tables in which a snapshot is put together."""
        return self._tables[1 - self._place]

    @property
    def _place(self) -> int:
        return int.from_bytes(self._meta.get(_PLACE_KEY) or b"\0", "big")

    def switch(self) -> None:
        """Let the other place count from this turn's write on."""
        self._meta.put(_PLACE_KEY, bytes([1 - self._place]))


def state_tables(database: Database, place: int) -> StateTables:
    """Return the tables of a place."""
    return StateTables(*(database.table(f"{name}.{place}") for name in StateTables._fields))


def table_names() -> tuple[str, ...]:
    """Return the names of all tables that a database must have."""
    places = [f"{name}.{place}" for place in range(PLACES) for name in StateTables._fields]
    return ("raft_meta", "raft_log", *places)


def is_row(place: bytes, value: bytes) -> bool:
    """Whether this could be a row of a state machine, named by its table's number and its key."""
    if len(place) <= 1 or place[0] >= len(_DECODERS):
        return False
    if place[0] == 0 and place[1:].startswith(_OWN_ROWS):
        return True  # read when all rows are there
    try:
        _DECODERS[place[0]](place[1:], value)
    except _UNREADABLE:
        return False
    return True


_DECODERS: tuple[Callable[[bytes, bytes], object], ...] = (  # in the order of ``StateTables``
    lambda _, value: decode_stored_value(value),
    lambda _, value: decode_count(value),
    decode_session,
)
