"""RocksDB's manifest, the list of the files that count: the checks that RocksDB leaves out.

RocksDB takes a manifest that lost its end for one that a crash interrupted. It ignores the files
of which the end told, and the write-ahead logs with the same rows are gone: what was acknowledged
is missing. And over a record of a type that only recycled logs have, which takes one flipped bit,
it goes in circles.

So it is written down how long a manifest was when the database had been opened, and what came
later is compared with the oldest log: a flush is one group of changes for all tables, while at its
opening RocksDB writes one change for each, with nothing that holds them together.
"""

import os
from collections.abc import Iterator
from pathlib import Path

END_FILE = "MANIFEST_END"  # beside RocksDB's own files, which it leaves alone
BLOCK_BYTES = 32768
HEADER_BYTES = 7  # checksum, four bytes; length, two; type, one
RECYCLED_TYPES = range(5, 9)  # whole, first, middle and last part of a record
FIRST_PARTS = (1, 2)  # a record that is whole, or the beginning of one in several parts
LAST_PARTS = (1, 4)
COMPARATOR, LAST_SEQUENCE = 1, 4  # tags at the beginning of a change of versions
NUMBERS = (2, 9, 3, 10, LAST_SEQUENCE)  # which logs and files there are, and the last write
IN_GROUP = b"\xac\x02"  # the last tag, before how many changes of the same group are to follow
MORE = 0x80  # set in all bytes of a number but its last


class LostEnd(Exception):
    """The manifest does not know of all that it knew, or that was written before the oldest log."""


def check(database: Path) -> None:
    """Compare the manifest that counts with what it was and with the write-ahead logs.

    What cannot be read at all is left to RocksDB, which says better what is wrong.

    Raises:
        LostEnd: RocksDB would open the database and miss something, or would never open it.
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
    """Write down, durably, how long the manifest is now."""
    manifest = _current(database)
    ends = [end for end, _ in _records(manifest.read_bytes())]
    with (database / END_FILE).open("w", encoding="ascii") as file:
        file.write(f"{manifest.name} {ends[-1] if ends else 0}\n")
        file.flush()
        os.fsync(file.fileno())


def _current(database: Path) -> Path:
    return database / (database / "CURRENT").read_text(encoding="ascii").strip()


def _known_end(database: Path, manifest: str) -> int:
    """Return how long a manifest was once, 0 where that is not known."""
    try:
        name, end = (database / END_FILE).read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return 0  # the opening that was to write it down was interrupted
    return int(end) if name == manifest else 0


def _first_sequence(log: Path) -> int | None:
    """Return the number of a log's first write, None where it does not begin with one."""
    with log.open("rb") as file:
        start = file.read(HEADER_BYTES + 8)
    if len(start) < HEADER_BYTES + 8 or start[HEADER_BYTES - 1] not in FIRST_PARTS:
        return None
    return int.from_bytes(start[HEADER_BYTES:], "little")


def _records(log: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the records that are whole, put together from their parts, and where each ends.

    Raises:
        LostEnd: one is of a type over which RocksDB goes in circles.
    """
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
            yield position, parts
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
