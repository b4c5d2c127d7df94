"""Reading snapshots while writing goes on: for followers far behind, and for backups."""

from collections.abc import Callable

import msgspec

from protocol.compaction import Amount
from protocol.snapshot import (
    CHUNK_BYTES,
    SnapshotChunk,
    SnapshotId,
    SnapshotPosition,
    checksum,
    encode_rows,
)
from protocol.storage.state_tables import StateView


class Reading(msgspec.Struct):
    """The snapshot that somebody reads, and how far."""

    id: SnapshotId
    view: StateView
    log_after: int  # the entry after which the reader goes on by the log
    end_row: bytes = b""  # the last one read; what is read again counts once
    read: Amount = Amount()

    def note(self, chunk: SnapshotChunk, rows: int) -> None:
        """Count what a chunk brings beyond all that was read before."""
        if chunk.end.row > self.end_row:
            self.end_row = chunk.end.row
            self.read = Amount(self.read.count + rows, self.read.bytes + len(chunk.rows))

    def end_in_words(self, reader: bytes, held: int) -> str:
        """Return why the reading was given up, with so many entries held after it."""
        return (
            f"the snapshot of index {self.id.index} for node {reader.hex()[:8]} was given up, and "
            "a newer one follows: the node takes it in more slowly than entries are written; "
            f"{self.read.count} rows ({self.read.bytes} bytes) had been read for it, and {held} "
            "entries were held that it still lacked"
        )


class SnapshotSource:
    """The snapshots that are being read; each lives until its last reader ends it."""

    def __init__(self) -> None:
        self._readings: dict[bytes, Reading] = {}

    @property
    def is_read(self) -> bool:
        """Whether there is any reader."""
        return bool(self._readings)

    def oldest_index(self, otherwise: int) -> int:
        """After which entry the log must be kept, so that the readers can go on from there."""
        return min((each.log_after for each in self._readings.values()), default=otherwise)

    def begin(self, reader: bytes, id_: SnapshotId, view: StateView) -> None:
        """Give a reader the present state, or the same snapshot that another one reads."""
        shared = (each.view for each in self._readings.values() if each.id == id_)
        self._readings[reader] = Reading(id_, next(shared, view), id_.index)

    def end(self, reader: bytes) -> None:
        """Forget a reader, and the snapshot that nobody reads any more."""
        self._readings.pop(reader, None)

    def needs_log_after(self, reader: bytes, index: int) -> None:
        """Note that a reader holds all up to an entry, and so is past its snapshot."""
        reading = self._readings.get(reader)
        if reading is not None:
            reading.log_after = max(reading.log_after, index)

    def let_go(self, is_too_slow: Callable[[Reading], bool]) -> list[tuple[bytes, Reading]]:
        """End those who are too slow, but nobody whose log another reader needs as well."""
        slow = [reader for reader, each in self._readings.items() if is_too_slow(each)]
        others = self._readings.keys() - slow
        held = min((self._readings[each].log_after for each in others), default=None)
        gone = [each for each in slow if held is None or self._readings[each].log_after < held]
        return [(each, self._readings.pop(each)) for each in gone]

    def read(self, reader: bytes, position: SnapshotPosition | None) -> SnapshotChunk | None:
        """Return the chunk at a position, or the first one; None where that is not kept."""
        reading = self._readings.get(reader)
        if reading is None:
            return None
        start = position or SnapshotPosition(reading.id)
        return _read(reading, start) if start.snapshot == reading.id else None


def _read(reading: Reading, start: SnapshotPosition) -> SnapshotChunk:
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    last = True
    for row in reading.view.rows_after(start.row):
        if rows and size + len(row[1]) > CHUNK_BYTES:
            last = False
            break
        rows.append(row)
        size += len(row[0]) + len(row[1])
    encoded = encode_rows(rows)
    end_row = rows[-1][0] if rows else start.row
    end = SnapshotPosition(reading.id, end_row, checksum(encoded, start.checksum))
    chunk = SnapshotChunk(start, encoded, end, last)
    reading.note(chunk, len(rows))
    return chunk
