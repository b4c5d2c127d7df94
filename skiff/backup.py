"""Backup files: the chunks of a snapshot in sequence, each with a checksum.

A file is the line "skiff backup 1" and then records: length and CRC-32 (four bytes each,
big-endian), followed by MessagePack. The first record is the header, the others are the chunks. The
header has the level of the state: a version below it cannot go on from there.
"""

import os
import secrets
import struct
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from protocol.encoding import encode
from protocol.ranges import LEVEL_MIN
from protocol.snapshot import SnapshotChunk, SnapshotPosition, decode_rows
from skiff.errors import StorageError

KIND = b"skiff backup "
MAGIC = KIND + b"1\n"
RECORD_BYTES_MAX = 64 << 20

_RECORD = struct.Struct(">II")
_decode_chunk = msgspec.msgpack.Decoder(SnapshotChunk).decode
FILE_MODE = 0o600  # a backup has all keys, and is not encrypted


class Writable(Protocol):
    """Target of a backup other than a file path, such as an open binary stream."""

    def write(self, data: bytes, /) -> object:
        """Write all bytes of ``data``."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Origin of a backup."""

    cluster: bytes
    node: bytes
    taken_at: float  # seconds since 1970
    level: int = LEVEL_MIN  # of commands that the cluster could apply; no older version restores it


class Backup(msgspec.Struct, frozen=True):
    """Contents of a backup."""

    cluster: uuid.UUID
    taken_at: float  # seconds since 1970
    index: int  # of the last log entry that it includes
    rows: int
    size: int  # of the file, in bytes
    level: int = LEVEL_MIN  # of the state: a version below it cannot restore the backup


class Origin(NamedTuple):
    """Where a backup was taken, and the level of the state there."""

    cluster: bytes  # id of 16 bytes
    node: bytes  # id of 16 bytes
    level: int  # not below that of any command that was applied to the state


_decode_header = msgspec.msgpack.Decoder(Header).decode


def write(path: Path, origin: Origin, chunks: Iterable[SnapshotChunk]) -> Backup:
    """Write a backup file and verify it; the path gets it only after both succeeded.

    Raises:
        OSError: the file exists, or cannot be written.
    """
    check_free(path)
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    with os.fdopen(_create(part), "wb") as file:
        try:
            write_to(file, origin, chunks)
            file.flush()
            os.fsync(file.fileno())
            backup = verify(part)
            _put_in_place(part, path)
        finally:
            part.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return backup


def _create(part: Path) -> int:
    """Return a descriptor of a new file.

    Raises:
        OSError: it cannot be created in its directory, which the error names.
    """
    try:
        return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(part.parent)) from None


def check_free(path: Path) -> None:
    """Check whether a backup may take this path.

    Raises:
        FileExistsError: a file has it.
    """
    if path.exists():
        raise _taken(path)


def write_to(stream: Writable, origin: Origin, chunks: Iterable[SnapshotChunk]) -> Backup:
    """Write a backup to a stream; if this raises, the stream holds no usable backup."""
    header = Header(origin.cluster, origin.node, time.time(), origin.level)
    size = _write_header(stream, header)
    rows = index = 0
    for chunk in chunks:
        size += _write_record(stream, encode(chunk))
        rows += len(decode_rows(chunk.rows))
        index = chunk.end.snapshot.index
    return _backup(header, index, rows, size)


def read(path: Path) -> Iterator[SnapshotChunk]:
    """Yield the chunks of a backup file, each verified.

    Raises:
        StorageError: the file is no backup, damaged or truncated.
    """
    with path.open("rb") as file:
        _read_header(file, path)
        position: SnapshotPosition | None = None
        while True:
            chunk = _read_chunk(file, path)
            if position not in (None, chunk.start) or not chunk.is_intact:
                raise _damaged(path, "a chunk is not what was written")
            yield chunk
            position = chunk.end
            if chunk.last:
                break
        if file.read(1):
            raise _damaged(path, "something follows its end")


def verify(path: Path) -> Backup:
    """Verify a whole backup file; return its contents.

    Raises:
        StorageError: the file is no backup, damaged or truncated.
    """
    header = read_header(path)
    rows = index = 0
    for chunk in read(path):
        rows += len(decode_rows(chunk.rows))
        index = chunk.end.snapshot.index
    return _backup(header, index, rows, path.stat().st_size)


def read_header(path: Path) -> Header:
    """Return the header of a backup file.

    Raises:
        StorageError: the file is no backup, or begins with damage.
    """
    with path.open("rb") as file:
        return _read_header(file, path)


def needs_newer_version(path: Path, why: str) -> StorageError:
    """Return the error that this version cannot read or restore a backup."""
    return StorageError(f"the backup {path} needs a newer version of skiff: {why}")


def _backup(header: Header, index: int, rows: int, size: int) -> Backup:
    cluster = uuid.UUID(bytes=header.cluster)
    return Backup(cluster, header.taken_at, index, rows, size, header.level)


def _write_header(stream: Writable, header: Header) -> int:
    stream.write(MAGIC)
    return len(MAGIC) + _write_record(stream, encode(header))


def _put_in_place(part: Path, path: Path) -> None:
    """Move a file to its path; a link, unlike a rename, never replaces an existing file."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without hard links, such as exFAT
        if path.exists():
            raise _taken(path) from None
        part.rename(path)


def _sync_directory(path: Path) -> None:
    """Sync a directory, which makes new file names durable."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(17, "exists already; choose another name", str(path))


def _write_record(stream: Writable, record: bytes) -> int:
    """Write a record; return its size in bytes."""
    stream.write(_RECORD.pack(len(record), zlib.crc32(record)))
    stream.write(record)
    return _RECORD.size + len(record)


def _read_record(file: BinaryIO, path: Path) -> bytes:
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        raise _damaged(path, "it ends too early")
    length, checksum = _RECORD.unpack(head)
    record = file.read(length) if length <= RECORD_BYTES_MAX else b""
    if len(record) < length:
        raise _damaged(path, "it ends too early")
    if zlib.crc32(record) != checksum:
        raise _damaged(path, "a checksum is wrong")
    return record


def _read_header(file: BinaryIO, path: Path) -> Header:
    magic = file.read(len(MAGIC))
    if len(magic) < len(MAGIC) and MAGIC.startswith(magic):
        raise _damaged(path, "it ends too early")
    if magic != MAGIC and magic.startswith(KIND):
        raise needs_newer_version(path, "it has another format")
    if magic != MAGIC:
        raise StorageError(f"{path} is not a skiff backup")
    try:
        return _decode_header(_read_record(file, path))
    except msgspec.MsgspecError as error:
        raise _damaged(path, str(error)) from error


def _read_chunk(file: BinaryIO, path: Path) -> SnapshotChunk:
    try:
        return _decode_chunk(_read_record(file, path))
    except msgspec.MsgspecError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> StorageError:
    return StorageError(f"the backup {path} is damaged: {what}")
