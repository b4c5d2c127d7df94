"""Snapshot source: reads snapshots in chunks, while writing goes on."""

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


class SnapshotReading(msgspec.Struct):
    """One reader's snapshot and its progress."""

    id: SnapshotId
    view: StateView
    log_after: int  # index after which the reader continues with log entries
    end_row: bytes = b""  # the last row read; rows that are read again count once
    read: Amount = Amount()

    def note(self, chunk: SnapshotChunk, rows: int) -> None:
        """Count the part of a chunk that was not read before."""
        if chunk.end.row > self.end_row:
            self.end_row = chunk.end.row
            self.read = Amount(self.read.count + rows, self.read.bytes + len(chunk.rows))

    def end_in_words(self, reader: bytes, held: int) -> str:
        """Return the log line for a reading that was ended while ``held`` entries were retained."""
        return (
            f"the snapshot of index {self.id.index} for node {reader.hex()[:8]} was ended, and a "
            "newer one follows: the node receives it more slowly than entries are written; "
            f"{self.read.count} rows ({self.read.bytes} bytes) had been read, and {held} entries "
            "were retained for it"
        )


class SnapshotSource:
    """The snapshots that are being read; each is kept until its last reader ends."""

    def __init__(self) -> None:
        self._readings: dict[bytes, SnapshotReading] = {}

    @property
    def is_read(self) -> bool:
        """Whether there is any reader."""
        return bool(self._readings)

    def oldest_index(self, otherwise: int) -> int:
        """Return the index after which the log must be retained; ``otherwise`` without readers."""
        return min((each.log_after for each in self._readings.values()), default=otherwise)

    def begin(self, reader: bytes, id_: SnapshotId, view: StateView) -> None:
        """Start a reader on this view, or on that of another reader of the same snapshot."""
        shared = (each.view for each in self._readings.values() if each.id == id_)
        self._readings[reader] = SnapshotReading(id_, next(shared, view), id_.index)

    def end(self, reader: bytes) -> None:
        """Remove a reader, and its snapshot if no other reader shares it."""
        self._readings.pop(reader, None)

    def needs_log_after(self, reader: bytes, index: int) -> None:
        """Record that a reader holds all entries up to an index, and so has passed its snapshot."""
        reading = self._readings.get(reader)
        if reading is not None:
            reading.log_after = max(reading.log_after, index)

    def release_slow(
        self, is_too_slow: Callable[[SnapshotReading], bool]
    ) -> list[tuple[bytes, SnapshotReading]]:
        """End readers that are too slow, but none whose log another reader needs as well."""
        slow = [reader for reader, each in self._readings.items() if is_too_slow(each)]
        others = self._readings.keys() - slow
        held = min((self._readings[each].log_after for each in others), default=None)
        gone = [each for each in slow if held is None or self._readings[each].log_after < held]
        return [(each, self._readings.pop(each)) for each in gone]

    def read(self, reader: bytes, position: SnapshotPosition | None) -> SnapshotChunk | None:
        """Return the chunk at a position, or the first; None if the snapshot is not kept."""
        reading = self._readings.get(reader)
        if reading is None:
            return None
        start = position or SnapshotPosition(reading.id)
        return _read(reading, start) if start.snapshot == reading.id else None


def _read(reading: SnapshotReading, start: SnapshotPosition) -> SnapshotChunk:
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
