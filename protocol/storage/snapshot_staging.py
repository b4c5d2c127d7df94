"""Snapshot staging: takes a snapshot chunk by chunk; a crash costs at most one chunk."""

import msgspec

from protocol.encoding import encode
from protocol.snapshot import Rows, SnapshotChunk, SnapshotId, SnapshotPosition
from protocol.state.tables import Table
from protocol.storage.state_tables import TableSets, is_row
from protocol.wire import Decoder, Malformed

_STAGED_KEY = b"staged"

_decode_position = msgspec.msgpack.Decoder(SnapshotPosition).decode
_decode_rows: Decoder[Rows] = Decoder(Rows)


class SnapshotStaging:
    """A snapshot that is staged in the spare table set; its position is stored with it."""

    def __init__(self, meta: Table, table_sets: TableSets) -> None:
        self._meta = meta
        self._table_sets = table_sets
        stored = meta.get(_STAGED_KEY)
        self._position = None if stored is None else _decode_position(stored)

    def take(self, chunk: SnapshotChunk) -> bool:
        """Stage a chunk's rows; return False if the chunk is out of order or damaged."""
        start = SnapshotPosition(chunk.start.snapshot)
        if self._position is None or self._position.snapshot != start.snapshot:
            self._begin(start)
        if chunk.start != self._position or not chunk.is_intact:
            return False
        rows = _readable_rows(chunk)
        if rows is None:
            return False
        for row, value in rows:
            self._table_sets.spare[row[0]].put(row[1:], value)
        self._note(chunk.end)
        return True

    @property
    def position(self) -> SnapshotPosition:
        """The position at which the next chunk begins."""
        assert self._position is not None, "a chunk was taken before"
        return self._position

    def flaw(self, snapshot: SnapshotId) -> str:
        """Return why the staged tables cannot be installed, as a sentence; empty if they can."""
        try:
            self._table_sets.spare.machine_at(snapshot)
        except Malformed as error:
            return f"the leader's snapshot of index {snapshot.index} was not installed: {error}"
        return ""

    def end(self) -> None:
        """End staging: the rows are installed or no longer needed."""
        self._meta.delete(_STAGED_KEY)
        self._position = None

    def _begin(self, start: SnapshotPosition) -> None:
        self._table_sets.spare.clear()
        self._note(start)

    def _note(self, position: SnapshotPosition) -> None:
        self._position = position
        self._meta.put(_STAGED_KEY, encode(position))


def _readable_rows(chunk: SnapshotChunk) -> Rows | None:
    """Return the rows of a chunk, or None if no table can hold them."""
    try:
        rows = _decode_rows(chunk.rows)
    except Malformed:
        return None
    return rows if all(is_row(*row) for row in rows) else None
