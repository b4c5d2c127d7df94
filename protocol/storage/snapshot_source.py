"""Reading snapshots while writing goes on: for followers far behind, and for backups."""

import msgspec

from protocol.node_messages import SnapshotRead
from protocol.snapshot import (
    CHUNK_BYTES,
    SnapshotChunk,
    SnapshotId,
    SnapshotPosition,
    checksum,
    encode_rows,
)
from protocol.storage.state_tables import StateView


class _Snapshot(msgspec.Struct):
    """A snapshot that somebody reads."""

    id: SnapshotId
    view: StateView
    readers: set[bytes] = msgspec.field(default_factory=set)


class SnapshotSource:
    """The snapshots that are being read; each lives until its last reader ends it."""

    def __init__(self, without_log: frozenset[bytes] = frozenset()) -> None:
        self._without_log = without_log  # readers that do not go on from there
        self._snapshots: list[_Snapshot] = []  # oldest first

    @property
    def oldest_index(self) -> int | None:
        """After which entry the log must be kept, so that the readers can go on from there."""
        held = (each.id.index for each in self._snapshots if each.readers - self._without_log)
        return min(held, default=None)

    def begin(self, reader: bytes, id_: SnapshotId, view: StateView) -> None:
        """Give a reader the present state, or the same snapshot that another one reads."""
        self.end(reader)
        if not self._snapshots or self._snapshots[-1].id != id_:
            self._snapshots.append(_Snapshot(id_, view))
        self._snapshots[-1].readers.add(reader)

    def end(self, reader: bytes) -> None:
        """Forget a reader, and the snapshot that nobody reads any more."""
        for snapshot in self._snapshots:
            snapshot.readers.discard(reader)
        self._snapshots = [each for each in self._snapshots if each.readers]

    def let_go_of_log(self) -> None:
        """End all snapshots after which the log is kept."""
        self._snapshots = [each for each in self._snapshots if each.readers <= self._without_log]

    def read(self, reader: bytes, position: SnapshotPosition | None) -> SnapshotRead:
        """Return the chunk at a position; at none, the first one of the reader's snapshot."""
        for snapshot in self._snapshots:
            if position is None and reader in snapshot.readers:
                return SnapshotRead(reader, _read(snapshot, SnapshotPosition(snapshot.id)))
            if position is not None and snapshot.id == position.snapshot:
                snapshot.readers.add(reader)
                return SnapshotRead(reader, _read(snapshot, position))
        return SnapshotRead(reader, None)


def _read(snapshot: _Snapshot, start: SnapshotPosition) -> SnapshotChunk:
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    last = True
    for row in snapshot.view.rows_after(start.row):
        if rows and size + len(row[1]) > CHUNK_BYTES:
            last = False
            break
        rows.append(row)
        size += len(row[0]) + len(row[1])
    encoded = encode_rows(rows)
    end_row = rows[-1][0] if rows else start.row
    end = SnapshotPosition(snapshot.id, end_row, checksum(encoded, start.checksum))
    return SnapshotChunk(start, encoded, end, last)
