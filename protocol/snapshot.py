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

    index: Index  # of that entry
    term: Term  # of that entry


class SnapshotPosition(msgspec.Struct, frozen=True, array_like=True):
    """A place between two rows, named by the row before it."""

    snapshot: SnapshotId  # to which the rows belong
    # Before the position: its table's number in one byte, then its key; empty before the first.
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
        """Whether the rows are those that the sender read."""
        return checksum(self.rows, self.start.checksum) == self.end.checksum


Rows = tuple[tuple[bytes, bytes], ...]  # place (table's number and key) and value

encode_rows = encode
decode_rows = msgspec.msgpack.Decoder(Rows).decode


def checksum(rows: bytes, before: int) -> int:
    """Return the CRC-32 of all rows so far."""
    return zlib.crc32(rows, before)
