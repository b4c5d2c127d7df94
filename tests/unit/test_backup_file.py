"""Backup files: any damage of a file is detected."""

import errno
import os
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import skiff
from protocol.encoding import encode
from protocol.ranges import LEVEL_MIN
from protocol.snapshot import (
    SnapshotChunk,
    SnapshotId,
    SnapshotPosition,
    checksum,
    encode_rows,
)
from protocol.state.levels import STATE_LEVEL
from skiff import StorageError, backup
from skiff.backup import Origin

SNAPSHOT = SnapshotId(7, 2)
ORIGIN = Origin(b"c" * 16, b"n" * 16, STATE_LEVEL)


def chunks(*values: bytes) -> list[SnapshotChunk]:
    made: list[SnapshotChunk] = []
    position = SnapshotPosition(SNAPSHOT)
    for number, value in enumerate(values):
        row = b"\0%d" % number
        rows = encode_rows([(row, value)])
        end = SnapshotPosition(SNAPSHOT, row, checksum(rows, position.checksum))
        made.append(SnapshotChunk(position, rows, end, last=number == len(values) - 1))
        position = end
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "backup"
    backup.write(path, ORIGIN, chunks(b"one", b"two", b"three"))
    return path


def test_a_written_backup_reads_back_unchanged(file: Path) -> None:
    assert list(backup.read(file)) == chunks(b"one", b"two", b"three")
    whole = backup.verify(file)
    assert (whole.cluster, whole.index, whole.rows) == (uuid.UUID(bytes=ORIGIN.cluster), 7, 3)
    assert (whole.level, whole.size) == (STATE_LEVEL, file.stat().st_size)


def test_a_file_that_is_cut_short_anywhere_is_said_to_be(file: Path) -> None:
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(StorageError, match="is damaged: it ends too early"):
            backup.verify(file)


def test_a_directory_that_is_missing_is_named_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        backup.write(tmp_path / "absent" / "backup", ORIGIN, chunks(b"one"))
    assert missing.value.filename == str(tmp_path / "absent")


def test_a_flipped_bit_in_any_byte_is_detected(file: Path) -> None:
    whole = file.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(StorageError):
            backup.verify(file)


@pytest.mark.parametrize("cut", [0, 5, 15, 30, -1])
def test_a_truncated_file_is_refused(file: Path, cut: int) -> None:
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(StorageError, match=r"ends too early|not a skiff backup"):
        backup.verify(file)


def test_a_file_with_trailing_bytes_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StorageError, match="follows its end"):
        backup.verify(file)


@pytest.mark.parametrize(
    "change", [lambda given: [given[0], given[2]], lambda given: [given[1], given[0], given[2]]]
)
def test_a_missing_or_reordered_chunk_leaves_no_file(
    tmp_path: Path, change: Callable[[list[SnapshotChunk]], list[SnapshotChunk]]
) -> None:
    path = tmp_path / "backup"
    with pytest.raises(StorageError, match="not what was written"):
        backup.write(path, ORIGIN, change(chunks(b"one", b"two", b"three")))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_text("dear")
    with pytest.raises(FileExistsError):
        backup.write(path, ORIGIN, chunks(b"one"))
    assert path.read_text() == "dear"


@pytest.fixture(params=["with hard links", "without hard links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, f"no hard links from {source} to {target}")

    if request.param == "without hard links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("file_system")
def test_a_backup_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "backup"

    def watched() -> Iterator[SnapshotChunk]:
        yield from chunks(b"one")
        assert not path.exists()

    backup.write(path, ORIGIN, watched())
    assert list(backup.read(path)) == chunks(b"one")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("file_system")
def test_a_file_created_during_the_backup_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "backup"

    def slowly() -> Iterator[SnapshotChunk]:
        yield from chunks(b"one")
        path.write_text("dear")

    with pytest.raises(FileExistsError, match="choose another name"):
        backup.write(path, ORIGIN, slowly())
    assert path.read_text() == "dear"
    assert list(tmp_path.iterdir()) == [path]


def test_concurrent_backups_to_one_path_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "backup"

    def meanwhile() -> Iterator[SnapshotChunk]:
        backup.write(path, ORIGIN, chunks(b"first", b"done"))
        yield from chunks(b"second")

    with pytest.raises(FileExistsError):
        backup.write(path, ORIGIN, meanwhile())
    assert list(backup.read(path)) == chunks(b"first", b"done")
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_restore_reports_that_nothing_was_restored(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"ends too early$"):
        backup.verify(file)
    with pytest.raises(StorageError, match=r"ends too early; nothing was restored from it$"):
        skiff.restore(file, tmp_path / "node")


def test_a_backup_of_a_newer_state_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    newer = ORIGIN._replace(level=STATE_LEVEL + 1)
    assert backup.write(path, newer, chunks(b"one")).level == STATE_LEVEL + 1, "it can be taken"
    with pytest.raises(
        StorageError, match=r"needs a newer version .* level .*nothing was restored"
    ):
        skiff.restore(path, tmp_path / "node")
    assert list(tmp_path.iterdir()) == [path]


def test_a_backup_in_a_newer_format_is_refused_as_such(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"skiff backup 1", b"skiff backup 2", 1))
    with pytest.raises(StorageError, match="needs a newer version of skiff: it has another format"):
        backup.verify(file)


def test_a_backup_without_a_level_has_the_lowest_one(file: Path) -> None:
    header = encode((*ORIGIN[:2], 1.0))
    record = struct.pack(">II", len(header), zlib.crc32(header)) + header
    whole = file.read_bytes()
    length = int.from_bytes(whole[len(backup.MAGIC) :][:4], "big")
    rest = whole[len(backup.MAGIC) + 8 + length :]
    file.write_bytes(backup.MAGIC + record + rest)
    assert list(backup.read(file)) == chunks(b"one", b"two", b"three")
    assert (backup.verify(file).level, backup.verify(file).taken_at) == (LEVEL_MIN, 1.0)
