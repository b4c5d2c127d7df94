"""Taking in a leader's snapshot chunk by chunk, so that a crash or a lost message costs one."""

import msgspec

from protocol.encoding import encode
from protocol.snapshot import Rows, SnapshotChunk, SnapshotId, SnapshotPosition
from protocol.storage.state_tables import Places, is_row
from protocol.table import Table
from protocol.wire import Decoder, Malformed

_STAGED_KEY = b"staged"

_decode_position = msgspec.msgpack.Decoder(SnapshotPosition).decode
_decode_rows: Decoder[Rows] = Decoder(Rows)


class SnapshotStaging:
    """The snapshot that grows in the spare tables; how far it is stands beside it on disk."""

    def __init__(self, meta: Table, places: Places) -> None:
        self._meta = meta
        self._places = places
        stored = meta.get(_STAGED_KEY)
        self._position = None if stored is None else _decode_position(stored)

    def take(self, chunk: SnapshotChunk) -> bool:
        """Put the rows of a chunk into the spare tables, if it is the next one, whole and sound."""
        start = SnapshotPosition(chunk.start.snapshot)
        if self._position is None or self._position.snapshot != start.snapshot:
            self._begin(start)
        if chunk.start != self._position or not chunk.is_intact:
            return False
        rows = _readable_rows(chunk)
        if rows is None:
            return False
        for row, value in rows:
            self._places.spare[row[0]].put(row[1:], value)
        self._note(chunk.end)
        return True

    @property
    def position(self) -> SnapshotPosition:
        """Where the next chunk has to begin."""
        assert self._position is not None, "a chunk was taken before"
        return self._position

    def flaw(self, snapshot: SnapshotId) -> str:
        """Return in a sentence why the staged tables cannot become the state; empty if they can."""
        try:
            self._places.spare.machine_at(snapshot)
        except Malformed as error:
            return f"the leader's snapshot of index {snapshot.index} was not installed: {error}"
        return ""

    def end(self) -> None:
        """Forget that anything was staged; the rows are in their place or not needed."""
        self._meta.delete(_STAGED_KEY)
        self._position = None

    def _begin(self, start: SnapshotPosition) -> None:
        self._places.spare.clear()
        self._note(start)

    def _note(self, position: SnapshotPosition) -> None:
        self._position = position
        self._meta.put(_STAGED_KEY, encode(position))


def _readable_rows(chunk: SnapshotChunk) -> Rows | None:
    """Return the rows of a chunk, or None where they could be of no table."""
    try:
        rows = _decode_rows(chunk.rows)
    except Malformed:
        return None
    return rows if all(is_row(*row) for row in rows) else None
