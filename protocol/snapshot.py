"""The replicated state on its way from one node to another, or into a file.

A snapshot is the state machine's tables as they were after one entry: the same rows in the same
order on every node, because every node applies the same entries. It travels in chunks; each
names where it begins and ends, so that one that is lost is asked for again, and carries the
checksum of all rows from the first on, so that what arrives is whole.
"""

import zlib

import msgspec

from protocol.encoding import encode
from protocol.ranges import Checksum, Index, Term

CHUNK_BYTES = 256 << 10  # a larger row travels alone; heartbeats wait behind a chunk


class SnapshotId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The last entry that the snapshot contains; no two states share one."""

    index: Index
    term: Term


class SnapshotPosition(msgspec.Struct, frozen=True, array_like=True):
    """A place between two rows: the row before it, and the checksum of all up to there."""

    snapshot: SnapshotId
    row: bytes = b""  # the number of its table in one byte, then its key
    checksum: Checksum = 0


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True):
    """The rows between two positions, encoded."""

    start: SnapshotPosition
    rows: bytes
    end: SnapshotPosition
    last: bool

    @property
    def is_intact(self) -> bool:
        """Whether the rows are those that the sender read."""
        return checksum(self.rows, self.start.checksum) == self.end.checksum


Rows = tuple[tuple[bytes, bytes], ...]  # place (table's number and key) and value

encode_rows = encode
decode_rows = msgspec.msgpack.Decoder(Rows).decode


def checksum(rows: bytes, before: int) -> int:
    """Return the CRC-32 of all rows so far."""
    return zlib.crc32(rows, before)
