"""Snapshot: the replicated state in chunks, for another node or for a backup file.

A snapshot is the state machine's tables as they were after one entry: the same rows in the same
order on every node, because every node applies the same entries. It is sent in chunks. Each chunk
names its start and end positions, so that a lost one is requested again, and the checksum of all
rows from the first on, so that damage is detected.
"""

import zlib

import msgspec

from protocol.encoding import encode
from protocol.ranges import Checksum, Index, Term

CHUNK_BYTES = 256 << 10  # a larger row is sent alone; heartbeats queue behind a chunk


class SnapshotId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The last entry that the snapshot contains, which identifies the state."""

    index: Index  # of that entry
    term: Term  # of that entry


class SnapshotPosition(msgspec.Struct, frozen=True, array_like=True):
    """A position between two rows, identified by the row before it."""

    snapshot: SnapshotId  # to which the rows belong
    # The row before it: its table's number in one byte, then its key; empty at the start.
    row: bytes = b""
    checksum: Checksum = 0  # CRC-32 of all encoded rows before the position


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True):
    """The rows between two positions, encoded."""

    start: SnapshotPosition  # before its first row
    rows: bytes  # encoded ``Rows``
    end: SnapshotPosition  # after its last row
    last: bool  # whether the snapshot ends with it

    @property
    def is_intact(self) -> bool:
        """Whether the checksum matches the rows."""
        return checksum(self.rows, self.start.checksum) == self.end.checksum


Rows = tuple[tuple[bytes, bytes], ...]  # row key (table number and key) and value

encode_rows = encode
decode_rows = msgspec.msgpack.Decoder(Rows).decode


def checksum(rows: bytes, before: int) -> int:
    """Return the CRC-32 of encoded rows, continued from that of the rows before."""
    return zlib.crc32(rows, before)
