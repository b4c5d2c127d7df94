"""Database: guarantees of RocksDB that skiff relies on, for views, batches and damage."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.database import RocksDatabase, RocksTable
from actors.failure import ActorFailure


@pytest.fixture
def database(tmp_path: Path) -> Iterator[RocksDatabase]:
    database = RocksDatabase(tmp_path / "database", create=True)
    yield database
    database.close()


@pytest.fixture
def table(database: RocksDatabase) -> RocksTable:
    return database.table("values.0")


def rows(count: int, value: bytes) -> dict[bytes, bytes]:
    return {b"%04d" % number: value for number in range(count)}


def put(database: RocksDatabase, table: RocksTable, changes: dict[bytes, bytes]) -> None:
    for key, value in changes.items():
        table.put(key, value)
    database.write(sync=False)


def test_a_view_shows_what_was_written_when_it_was_made(
    database: RocksDatabase, table: RocksTable
) -> None:
    put(database, table, rows(100, b"before"))
    view = table.view()
    table.delete_range(b"", b"\xff")
    put(database, table, rows(50, b"after") | {b"new": b"after"})
    assert dict(view.scan(b"")) == rows(100, b"before")
    assert next(iter(view.scan(b"0050"))) == (b"0050", b"before")
    assert dict(table.scan(b"")) == rows(50, b"after") | {b"new": b"after"}


def test_what_a_batch_puts_after_deleting_a_range_stays(
    database: RocksDatabase, table: RocksTable
) -> None:
    put(database, table, rows(10, b"before"))
    table.delete_range(b"", b"\xff")
    put(database, table, {b"0003": b"after"})
    assert dict(table.scan(b"")) == {b"0003": b"after"}


def test_a_read_sees_what_the_turn_has_put(database: RocksDatabase, table: RocksTable) -> None:
    put(database, table, {b"a": b"1", b"b": b"1"})
    table.put(b"a", b"2")
    table.delete(b"b")
    assert (table.get(b"a"), table.get(b"b")) == (b"2", None)
    assert dict(table.scan(b"")) == {b"a": b"1", b"b": b"1"}, "walks see what is written"


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    database = RocksDatabase(tmp_path / "database", create=True)
    put(database, database.table("values.1"), {b"a": b"1"})
    database.close()
    database = RocksDatabase(tmp_path / "database", create=False)
    assert database.table("values.1").get(b"a") == b"1"
    assert list(database.table("values.1").keys(b"")) == [b"a"]
    database.close()


def test_no_bit_of_the_write_ahead_log_flips_unnoticed(
    database: RocksDatabase, table: RocksTable, tmp_path: Path
) -> None:
    for key, value in rows(20, b"acknowledged").items():
        table.put(key, value)
        database.write(sync=True)
    killed = shutil.copytree(tmp_path / "database", tmp_path / "killed")
    (log,) = killed.glob("*.log")
    whole = log.read_bytes()
    record = whole.index(b"0010")
    for bit in range(8 * (record - 48), 8 * record, 5):  # a record's header, and its beginning
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        copy = shutil.copytree(killed, tmp_path / f"bit-{bit}")
        (copy / log.name).write_bytes(damaged)
        with pytest.raises(ActorFailure, match="damaged"):
            RocksDatabase(copy, create=False)
        shutil.rmtree(copy)
