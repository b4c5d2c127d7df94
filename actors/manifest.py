"""What RocksDB overlooks in its own manifest, the list of the files that count.

RocksDB takes a manifest that lost its end for one that a crash interrupted. It ignores the files
of which the end told, and the write-ahead logs with the same rows are gone: what was acknowledged
is missing between what the manifest still knows and the oldest log. And over a record of a type
that only recycled logs have, which takes one flipped bit, it goes in circles.
"""

from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 32768
HEADER_BYTES = 7  # checksum, four bytes; length, two; type, one
RECYCLED_TYPES = range(5, 9)  # whole, first, middle and last part of a record
LAST_PARTS = (1, 4)  # a record that is whole, or the end of one in several parts
COMPARATOR, LAST_SEQUENCE = 1, 4  # tags at the beginning of a change of versions
NUMBERS = (2, 9, 3, 10, LAST_SEQUENCE)  # which logs and files there are, and the last write
IN_GROUP = b"\xac\x02"  # the last tag, before how many changes of the same group are to follow
MORE = 0x80  # set in all bytes of a number but its last


class LostEnd(Exception):
    """The manifest does not know of all that was written before the oldest log."""


def check(database: Path) -> None:
    """Compare the manifest that counts with the write-ahead logs.

    What cannot be read at all is left to RocksDB, which says better what is wrong.

    Raises:
        LostEnd: RocksDB would open the database and miss something, or would never open it.
    """
    try:
        current = (database / "CURRENT").read_text(encoding="ascii")
        manifest = (database / current.strip()).read_bytes()
        logs = sorted(database.glob("*.log"), key=lambda log: int(log.stem))
        first = next(filter(None, map(_first_sequence, logs)), None)
    except (OSError, ValueError):
        return
    known = max(map(_last_sequence, _records(manifest)), default=0)
    if first is not None and first > known + 1:
        raise LostEnd(f"the manifest ends at write {known}, the oldest log begins at {first}")


def _first_sequence(log: Path) -> int | None:
    """Return the number of a log's first write, None where it has none."""
    with log.open("rb") as file:
        start = file.read(HEADER_BYTES + 8)
    return int.from_bytes(start[HEADER_BYTES:], "little") or None


def _records(log: bytes) -> Iterator[bytes]:
    """Yield the records that are whole, put together from their parts."""
    position, parts = 0, b""
    while position + HEADER_BYTES <= len(log):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER_BYTES:  # no header goes across the end of a block
            position += left
            continue
        start = position + HEADER_BYTES
        position = start + int.from_bytes(log[start - 3 : start - 1], "little")
        kind = log[start - 1]
        if kind in RECYCLED_TYPES:
            raise LostEnd(f"the manifest has a record of type {kind}")
        if position > len(log):
            return
        parts += log[start:position]
        if kind in LAST_PARTS:
            yield parts
            parts = b""


def _last_sequence(change: bytes) -> int:
    """Return up to which write a change of versions knows of all, 0 where it does not say.

    A group of changes, one for each table, counts only with its last one.
    """
    if change[-3:-1] == IN_GROUP and change[-1]:
        return 0
    position = 0
    while position < len(change):
        tag, position = _varint(change, position)
        if tag == COMPARATOR:
            length, position = _varint(change, position)
            position += length
        elif tag in NUMBERS:
            number, position = _varint(change, position)
            if tag == LAST_SEQUENCE:
                return number
        else:
            break
    return 0


def _varint(encoded: bytes, position: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, lowest first, and where it ends."""
    number = shift = 0
    while position < len(encoded):
        byte = encoded[position]
        number |= (byte & ~MORE) << shift
        shift += 7
        position += 1
        if not byte & MORE:
            break
    return number, position
