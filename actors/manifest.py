"""Manifest: checks of RocksDB's list of live files that RocksDB itself does not make.

RocksDB takes a truncated manifest for one that a crash interrupted. It ignores the files that the
lost end listed, and their write-ahead logs are already deleted: acknowledged writes are missing.
And at a record of a type that only recycled logs have, which one flipped bit can cause, it loops
forever.

Therefore the manifest's length is recorded when the database has been opened, and later changes are
compared with the oldest log. A flush is one group of changes for all tables; when it opens, RocksDB
writes one ungrouped change for each table.
"""

import os
from collections.abc import Iterator
from pathlib import Path

END_FILE = "MANIFEST_END"  # among RocksDB's files, which ignores it
BLOCK_BYTES = 32768
HEADER_BYTES = 7  # checksum, four bytes; length, two; type, one
RECYCLED_TYPES = range(5, 9)  # whole, first, middle and last part of a record
FIRST_PARTS = (1, 2)  # a whole record, or the first part of one
LAST_PARTS = (1, 4)
COMPARATOR, LAST_SEQUENCE = 1, 4  # tags at the start of a version edit
NUMBERS = (2, 9, 3, 10, LAST_SEQUENCE)  # log numbers, file numbers, the last sequence
IN_GROUP = b"\xac\x02"  # last tag; the number of remaining edits in the group follows
MORE = 0x80  # set in all bytes of a number except the last


class LostEnd(Exception):
    """The manifest lacks records that it had, or writes from before the oldest log."""


def check(database: Path) -> None:
    """Compare the current manifest with its recorded length and with the write-ahead logs.

    Unreadable files are left to RocksDB, which reports the fault more precisely.

    Raises:
        LostEnd: RocksDB would open the database without some writes, or loop forever.
    """
    try:
        manifest = _current(database)
        records = list(_records(manifest.read_bytes()))
        logs = sorted(database.glob("*.log"), key=lambda log: int(log.stem))
        first = next(filter(None, map(_first_sequence, logs)), None)
        known_end = _known_end(database, manifest.name)
    except (OSError, ValueError):
        return
    end = records[-1][0] if records else 0
    if end < known_end:
        raise LostEnd(f"the manifest was {known_end} bytes long and ends at {end}")
    known = max((_last_sequence(change) for _, change in records), default=0)
    if first is not None and first > known + 1:
        raise LostEnd(f"the manifest ends at write {known}, the oldest log begins at {first}")


def note_end(database: Path) -> None:
    """Record the manifest's current length, durably."""
    manifest = _current(database)
    ends = [end for end, _ in _records(manifest.read_bytes())]
    with (database / END_FILE).open("w", encoding="ascii") as file:
        file.write(f"{manifest.name} {ends[-1] if ends else 0}\n")
        file.flush()
        os.fsync(file.fileno())


def _current(database: Path) -> Path:
    return database / (database / "CURRENT").read_text(encoding="ascii").strip()


def _known_end(database: Path, manifest: str) -> int:
    """Return a manifest's recorded length; 0 if it is unknown."""
    try:
        name, end = (database / END_FILE).read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return 0  # a crash came before it was recorded
    return int(end) if name == manifest else 0


def _first_sequence(log: Path) -> int | None:
    """Return the sequence number of a log's first write; None if it has none."""
    with log.open("rb") as file:
        start = file.read(HEADER_BYTES + 8)
    if len(start) < HEADER_BYTES + 8 or start[HEADER_BYTES - 1] not in FIRST_PARTS:
        return None
    return int.from_bytes(start[HEADER_BYTES:], "little")


def _records(log: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the complete records, assembled from their parts, and the end of each.

    Raises:
        LostEnd: a record has a type at which RocksDB loops forever.
    """
    position, parts = 0, b""
    while position + HEADER_BYTES <= len(log):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER_BYTES:  # a header does not cross the end of a block
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
            yield position, parts
            parts = b""


def _last_sequence(change: bytes) -> int:
    """Return the last sequence number that a version edit covers; 0 if it has none.

    A group of edits, one for each table, counts only with the last one.
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
    """Return a number of seven bits a byte, lowest first, and its end."""
    number = shift = 0
    while position < len(encoded):
        byte = encoded[position]
        number |= (byte & ~MORE) << shift
        shift += 7
        position += 1
        if not byte & MORE:
            break
    return number, position
