"""Database: guarantees of RocksDB that skiff relies on, for views, batches and damage."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.database import FAMILIES, NEWER_FAMILIES, RocksDatabase, RocksTable
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


def test_a_view_shows_the_rows_at_its_creation(database: RocksDatabase, table: RocksTable) -> None:
    put(database, table, rows(100, b"before"))
    view = table.view()
    table.delete_range(b"", b"\xff")
    put(database, table, rows(50, b"after") | {b"new": b"after"})
    assert dict(view.scan(b"")) == rows(100, b"before")
    assert next(iter(view.scan(b"0050"))) == (b"0050", b"before")
    assert dict(table.scan(b"")) == rows(50, b"after") | {b"new": b"after"}


def test_a_view_keeps_no_row_in_memory_between_two_scans(
    database: RocksDatabase, table: RocksTable
) -> None:
    put(database, table, rows(3, b"row"))
    view = table.view()
    next(view.scan(b"0001"))
    assert not view._iterator.valid()
    assert next(view.scan(b"0001")) == (b"0001", b"row")


def test_a_put_after_a_range_deletion_in_the_same_batch_survives(
    database: RocksDatabase, table: RocksTable
) -> None:
    put(database, table, rows(10, b"before"))
    table.delete_range(b"", b"\xff")
    put(database, table, {b"0003": b"after"})
    assert dict(table.scan(b"")) == {b"0003": b"after"}


def test_a_get_sees_the_unwritten_changes_of_the_turn(
    database: RocksDatabase, table: RocksTable
) -> None:
    put(database, table, {b"a": b"1", b"b": b"1"})
    table.put(b"a", b"2")
    table.delete(b"b")
    assert (table.get(b"a"), table.get(b"b")) == (b"2", None)
    assert dict(table.scan(b"")) == {b"a": b"1", b"b": b"1"}, "walks see what is written"


def test_written_rows_survive_a_reopen(tmp_path: Path) -> None:
    database = RocksDatabase(tmp_path / "database", create=True)
    put(database, database.table("values.1"), {b"a": b"1"})
    database.close()
    database = RocksDatabase(tmp_path / "database", create=False)
    assert database.table("values.1").get(b"a") == b"1"
    assert list(database.table("values.1").keys(b"")) == [b"a"]
    database.close()


@pytest.mark.parametrize("missing", NEWER_FAMILIES, ids=len)
def test_a_directory_of_an_older_version_opens_with_the_newer_tables_empty(
    missing: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tuple(name for name in FAMILIES if name not in missing)
    monkeypatch.setattr("actors.database.FAMILIES", older)
    database = RocksDatabase(tmp_path / "database", create=True)
    put(database, database.table("values.0"), {b"a": b"1"})
    database.close()
    monkeypatch.undo()
    for _ in range(2):
        database = RocksDatabase(tmp_path / "database", create=False)
        assert database.table("values.0").get(b"a") == b"1"
        assert list(database.table("leases.0").keys(b"")) == []
        database.close()


def test_a_directory_without_an_older_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuple(name for name in FAMILIES if name not in {"leases.0", "lease_keys.0"})
    monkeypatch.setattr("actors.database.FAMILIES", kept)
    RocksDatabase(tmp_path / "database", create=True).close()
    monkeypatch.undo()
    with pytest.raises(ActorFailure):
        RocksDatabase(tmp_path / "database", create=False)


def test_a_flipped_bit_in_the_write_ahead_log_is_detected(
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
