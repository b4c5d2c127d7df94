"""Damaged databases: after any damage, all rows are read or the damage is reported."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from actors.database import RocksDatabase, RocksTable
from actors.failure import ActorFailure
from protocol.state.tables import Row
from protocol.storage.state_tables import table_names

FLIPS = 30  # of each kind of file


@pytest.fixture(scope="module", params=[1, 2], ids=["first life", "second life"])
def flushed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory as a kill leaves it: two sorted files of each table and a log.

    A second incarnation adds the files that RocksDB flushed when it recovered the first log.
    """
    directory = tmp_path_factory.mktemp("flushed")
    place, numbers = directory / "database", range(900)
    for life in range(request.param):
        share = numbers[life :: request.param]
        killed = live_and_be_killed(place, directory / f"killed-{life}", share, create=not life)
        place = shutil.copytree(killed, directory / f"life-{life}")
    return killed


def live_and_be_killed(place: Path, killed: Path, numbers: range, *, create: bool) -> Path:
    """Write these rows to three tables; return the directory as it is before any end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.database.WRITE_BUFFER_BYTES", 64 << 10)
        database = RocksDatabase(place, create=create)
    tables = [database.table(name) for name in ("raft_log", "values.0", "sessions.0")]
    for number in numbers:
        for table in tables:
            table.put(b"%04d" % number, number.to_bytes(2, "big") * 100)
        if number % 30 in (0, 1):
            database.write(sync=True)
            wait_for_flushes(tables)
    database.write(sync=True)
    wait_for_flushes(tables)
    shutil.copytree(place, killed)
    database.close()
    return killed


def wait_for_flushes(tables: list[RocksTable]) -> None:
    """Wait until RocksDB has flushed and merged."""
    deadline = time.monotonic() + 20
    running = (
        "rocksdb.mem-table-flush-pending",
        "rocksdb.num-running-flushes",
        "rocksdb.compaction-pending",
        "rocksdb.num-running-compactions",
    )
    while any(table._family.property_int_value(name) for table in tables for name in running):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def copied(directory: Path, parent: Path) -> Iterator[Path]:
    """Yield a copy at a new path, because RocksDB still deletes files at the former one."""
    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
        yield shutil.copytree(directory, Path(name), dirs_exist_ok=True)


def contents(path: Path) -> dict[str, list[Row]] | None:
    """Open a database; return all its rows, or None if it is refused."""
    try:
        with closing(RocksDatabase(path, create=False)) as database:
            return {name: list(database.table(name).scan(b"")) for name in table_names()}
    except ActorFailure:
        return None


def test_a_manifest_that_rocksdb_would_read_forever_is_refused(
    flushed: Path, tmp_path: Path
) -> None:
    manifest = flushed / (flushed / "CURRENT").read_text().strip()
    whole = manifest.read_bytes()
    position = 0
    while position < len(whole):
        damaged = bytearray(whole)
        damaged[position + 6] ^= 0b100  # a whole record becomes one of a recycled log
        copy = shutil.copytree(flushed, tmp_path / f"byte-{position}")
        (copy / manifest.name).write_bytes(damaged)
        with pytest.raises(ActorFailure, match="damaged"):
            RocksDatabase(copy, create=False)
        position += 7 + int.from_bytes(whole[position + 4 : position + 6], "little")


def test_a_truncated_manifest_hides_no_rows(flushed: Path, tmp_path: Path) -> None:
    manifest = flushed / (flushed / "CURRENT").read_text().strip()
    with copied(flushed, tmp_path) as copy:
        whole = contents(copy)
    for length in range(0, manifest.stat().st_size, 11):
        with copied(flushed, tmp_path) as copy:
            os.truncate(copy / manifest.name, length)
            assert contents(copy) in (whole, None), length


@pytest.mark.parametrize("kind", ["*.sst", "*.log", "MANIFEST-*", "CURRENT", "IDENTITY"])
def test_a_flipped_bit_in_any_file_hides_no_rows_silently(
    flushed: Path, tmp_path: Path, kind: str
) -> None:
    """All written rows are read, or the damage is reported."""
    chance = Random(kind)
    files = sorted(flushed.glob(kind))
    with copied(flushed, tmp_path) as copy:
        whole = contents(copy)
    assert whole is not None
    assert len(whole["values.0"]) == 900
    for _ in range(FLIPS):
        with copied(flushed, tmp_path) as copy:
            file = copy / chance.choice(files).name
            damaged = bytearray(file.read_bytes())
            bit = chance.randrange(8 * len(damaged))
            damaged[bit // 8] ^= 1 << bit % 8
            file.write_bytes(damaged)
            assert contents(copy) in (whole, None), (file.name, bit)
