"""The simulated disk: the writes that a crash may lose, and those that it may not."""

from random import Random

import pytest

from tests.simulation.disk import Batch, Disk, DiskFailure


def put(disk: Disk, value: bytes, *, sync: bool = False) -> None:
    disk.table("raft_meta").put(b"key", value)
    disk.table("raft_log").put(value, b"")
    disk.write(sync=sync)


def values_after_crashes(disk_writes: int) -> set[bytes | None]:
    """Return the values that survive crashes after one synced and some unsynced writes."""
    left: set[bytes | None] = set()
    for seed in range(50):
        disk = Disk(lambda _: None)
        put(disk, b"0", sync=True)
        disk.finish_sync()
        for number in range(1, disk_writes + 1):
            put(disk, b"%d" % number)
        disk.crash(Random(seed))
        value = disk.table("raft_meta").get(b"key")
        assert value is not None
        log = [key for key, _ in disk.table("raft_log").scan(b"")]
        assert log == [b"%d" % number for number in range(int(value) + 1)], "whole, and in order"
        left.add(value)
    return left


def test_a_crash_loses_any_number_of_the_latest_unsynced_writes() -> None:
    assert values_after_crashes(3) == {b"0", b"1", b"2", b"3"}


def test_a_crash_during_a_sync_may_lose_its_write() -> None:
    left = set()
    for seed in range(20):
        disk = Disk(lambda _: None)
        put(disk, b"1", sync=True)
        disk.crash(Random(seed))
        left.add(disk.table("raft_meta").get(b"key"))
    assert left == {None, b"1"}


def test_an_unwritten_put_is_readable_and_lost_in_a_crash() -> None:
    disk = Disk(lambda _: None)
    disk.table("raft_meta").put(b"key", b"1")
    assert disk.table("raft_meta").get(b"key") == b"1"
    assert list(disk.table("raft_meta").scan(b"")) == []
    disk.crash(Random(0))
    assert disk.table("raft_meta").get(b"key") is None


def test_durable_batches_are_reported_once_and_in_order() -> None:
    told: list[Batch] = []
    disk = Disk(told.append)
    put(disk, b"1")
    put(disk, b"2", sync=True)
    assert not told
    disk.finish_sync()
    disk.finish_sync()
    assert [batch[0].after for batch in told] == [b"1", b"2"]


def test_a_crash_restores_a_deleted_range_completely() -> None:
    disk = Disk(lambda _: None)
    for value in (b"1", b"2", b"3"):
        put(disk, value, sync=True)
    disk.finish_sync()
    before = disk.table("raft_log").rows_estimate()
    disk.table("raft_log").delete_range(b"1", b"3")
    disk.write(sync=False)
    assert disk.table("raft_log").rows_estimate() == before - 2
    seed = next(each for each in range(99) if Random(each).randint(0, 1) == 0)
    disk.crash(Random(seed))
    assert [key for key, _ in disk.table("raft_log").scan(b"")] == [b"1", b"2", b"3"]


def test_a_view_shows_the_rows_at_its_creation() -> None:
    disk = Disk(lambda _: None)
    put(disk, b"1")
    view = disk.table("raft_log").view()
    put(disk, b"2")
    assert [key for key, _ in view.scan(b"")] == [b"1"]


def test_a_failed_write_may_have_taken_effect() -> None:
    left = set()
    for seed in range(20):
        disk = Disk(lambda _: None)
        disk.fails_next = True
        with pytest.raises(DiskFailure):
            put(disk, b"1")
        disk.crash(Random(seed))
        left.add(disk.table("raft_meta").get(b"key"))
    assert left == {None, b"1"}
