"""Snapshots and log compaction under load and node crashes."""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.database import WAL_BYTES_MAX, WRITE_BUFFER_BYTES
from actors.storage_writer import FAIL_POINT
from protocol.compaction import HELD_LOG_FACTOR
from protocol.snapshot import CHUNK_BYTES
from skiff import Skiff
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster.keyed import node_key
from tests.faults.load import Load
from tests.harness.stopped_actor import stopped_actor

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

INFO = ("--log-level", "info")
LOG_KEPT = ("--log-entries-kept", "50", "--log-bytes-kept", "500000", *INFO)
CUT_AFTER = 150  # more entries than the log keeps
KEYS = [f"key/{number}" for number in range(5)]
LARGE_VALUES, LARGE_BYTES = 500, 200_000
INSTALLED = "installed the leader's snapshot"
GIVEN_UP = "was ended, and a newer one follows"
OPENED = "opened at revision"
UNMERGED_TABLES_MAX = 20  # of one level, before RocksDB slows down writes
STEPS = ("staged", "whole", "switching", "installed")


def is_caught_up(node: Node, leader: Node) -> bool:
    behind, ahead = node.status(), leader.status()
    return bool(behind and ahead and behind.applied_index >= ahead.applied_index)


def write_large_values(node: Node) -> None:
    """Write 100 MB, so that a snapshot takes a while: 400 chunks, one at a time."""
    with node.client() as client:
        for number in range(LARGE_VALUES):
            client.insert(f"large/{number}", os.urandom(LARGE_BYTES))


def overwrite_until_given_up(leader: Node) -> None:
    """Write until the log exceeds what is held even for a reader that has most of the state."""
    with leader.client() as client:
        for number in range(2 * LARGE_VALUES):
            if number % 10 == 0 and GIVEN_UP in leader.log():
                return
            client.insert(f"large/{number % LARGE_VALUES}", os.urandom(LARGE_BYTES))
    wait_until(lambda: GIVEN_UP in leader.log(), "the leader waits no more")


@contextmanager
def held_transfer(node: Node) -> Iterator[None]:
    """Stop a node's storage writer when it has taken in the first chunks of a snapshot.

    A joining node has started by then but is not ready; it learns at the end that it was admitted.
    """
    database = node.directory / "generation-1"  # beside the ballast file
    wait_until(lambda: disk_bytes(database) > 4 * CHUNK_BYTES, "some chunks are there")
    with stopped_actor(node, "storage_writer"):
        assert INSTALLED not in node.log(), "there are 400 chunks"
        yield


def entries_after_snapshot(node: Node, leader: Node) -> int:
    """Return the number of the leader's entries after the snapshot that a node has installed."""
    status, installed = leader.status(), re.search(rf"{INSTALLED} of index (\d+)", node.log())
    assert status is not None
    assert installed is not None
    return status.applied_index - int(installed[1])


def leave_behind(cluster: Cluster, load: Load) -> Node:
    """Kill a follower, and write until no log has the entries that it lacks."""
    behind = cluster.followers()[0]
    cluster.kill(behind)
    load.wait_for(CUT_AFTER * load.writers)
    return behind


def test_a_follower_catches_up_by_a_snapshot_while_writes_continue(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path, options=LOG_KEPT) as cluster:
        with Load(cluster, writers=2) as load:
            behind = leave_behind(cluster, load)
            cluster.restart(behind)
            wait_until(lambda: INSTALLED in behind.log(), "a snapshot is installed")
            load.wait_for(100)
        assert load.failures == []
        wait_until(lambda: is_caught_up(behind, cluster.leader()), "it holds everything")
        load.check(behind)
        # After a snapshot it can lead, and restart.
        cluster.kill(cluster.leader())
        cluster.restart(behind)
        load.check(behind)


def test_a_late_joiner_catches_up_by_a_snapshot(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path, options=LOG_KEPT) as cluster:
        with Load(cluster, writers=2) as load:
            load.wait_for(CUT_AFTER * load.writers)
            joined = cluster.add_node()
            cluster.wait_until_whole()
        assert INSTALLED in joined.log()
        assert load.failures == []
        load.check(joined)


def test_a_slow_snapshot_transfer_completes_beyond_the_usual_log_retention(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path, options=("--log-entries-kept", "1", *INFO)) as cluster:
        write_large_values(cluster.nodes[0])
        with Load(cluster, writers=2) as load:
            load.wait_for(100)
            joined = cluster._next_node()
            joined.launch()
            with held_transfer(joined):
                # One entry may hold the writes of all writers.
                load.wait_for((HELD_LOG_FACTOR + 1) * load.writers)
            joined.wait_until_ready()
            wait_until(lambda: INSTALLED in joined.log(), "a snapshot is installed")
            held = entries_after_snapshot(joined, cluster.leader())
            cluster.wait_until_whole()
        assert held > HELD_LOG_FACTOR, "more than would be held for one that reads nothing"
        assert joined.log().count(INSTALLED) == 1
        assert GIVEN_UP not in cluster.nodes[0].log()
        assert load.failures == []
        load.check(joined)


def test_a_snapshot_transfer_to_a_hung_follower_is_ended_logged_and_restarted(
    tmp_path: Path,
) -> None:
    with Cluster(1, directory=tmp_path, options=("--log-entries-kept", "1", *INFO)) as cluster:
        leader = cluster.nodes[0]
        write_large_values(leader)
        joined = cluster._next_node()
        joined.launch()
        with held_transfer(joined):
            overwrite_until_given_up(leader)
        joined.wait_until_ready()
        cluster.wait_until_whole()
        assert f"for node {str(joined.id)[:8]} {GIVEN_UP}" in leader.log()
        assert INSTALLED in joined.log()


@pytest.mark.parametrize("step", STEPS)
def test_a_node_killed_during_a_snapshot_installation_recovers_intact(
    tmp_path: Path, step: str
) -> None:
    with Cluster(3, directory=tmp_path, options=LOG_KEPT) as cluster:
        with Load(cluster, writers=2) as load:
            behind = leave_behind(cluster, load)
            behind.environment[FAIL_POINT] = step
            lives = behind.log().count(OPENED)
            behind.launch()
            wait_until(
                lambda: behind.log().count(OPENED) > lives + 1,
                f"the storage writer has died at {step!r} and been started again",
            )
            behind.kill()
            del behind.environment[FAIL_POINT]
            cluster.restart(behind)
            load.wait_for(50)
        wait_until(lambda: is_caught_up(behind, cluster.leader()), "it holds everything")
        load.check(behind)


def test_the_directory_does_not_grow_with_overwrites(tmp_path: Path) -> None:
    """The size varies with unflushed and unmerged data; its minimum shows growth.

    At its minimum it is little more than the values, the log at its longest, the history of changes
    and a write buffer and a half.
    If even a tenth of all writes stayed, that minimum would never return. Its maximum depends
    on the speed of merging: up to as many tables as make RocksDB slow down writes, plus the
    write-ahead logs.
    """
    value, written = os.urandom(1_000_000), 600
    kept = {"log_entries_kept": 20, "log_bytes_kept": 4 << 20, "history_bytes_kept": 4 << 20}
    stored = len(KEYS) * len(value) + 2 * kept["log_bytes_kept"] + kept["history_bytes_kept"]
    needed = stored + 3 * WRITE_BUFFER_BYTES // 2
    highest = needed + WAL_BYTES_MAX + UNMERGED_TABLES_MAX * WRITE_BUFFER_BYTES
    sizes: list[int] = []
    with Skiff(tmp_path / "node", port=free_port(), key=node_key(), **kept) as node:  # type: ignore[arg-type]
        node.wait_for_leader()
        with node.client(timeout=30) as client:
            keys = itertools.cycle(KEYS)
            while len(sizes) <= written or (
                min(sizes[written:]) > needed and len(sizes) < 2 * written
            ):
                client.insert(next(keys), value)
                sizes.append(disk_bytes(tmp_path))
            assert [client.get(key, bytes) for key in KEYS] == [value] * len(KEYS)
    lowest = min(sizes[written:])
    assert lowest <= needed, f"down to {lowest} bytes on disk"
    assert max(sizes) <= highest, f"up to {max(sizes)} bytes on disk"


def disk_bytes(directory: Path) -> int:
    total = 0
    for file in directory.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # RocksDB may delete obsolete files at any moment
    return total
