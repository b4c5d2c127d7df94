"""The log is cut and snapshots stand in for it, under load and with nodes killed on the way."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from actors.database import WRITE_BUFFER_BYTES
from actors.storage_writer import FAIL_POINT
from skiff import Client, Skiff
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.faults.load import Load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

LOG_KEPT = ("--log-entries-kept", "50", "--log-bytes-kept", "500000", "--log-level", "info")
CUT_AFTER = 150  # more entries than a log may have before it is cut
KEYS = [f"key/{number}" for number in range(5)]
INSTALLED = "installed the leader's snapshot"
OPENED = "opened at revision"
STEPS = ("staged", "whole", "switching", "installed")


def is_caught_up(node: Node, leader: Node) -> bool:
    behind, ahead = node.status(), leader.status()
    return bool(behind and ahead and behind.applied_index >= ahead.applied_index)


def leave_behind(cluster: Cluster, load: Load) -> Node:
    """Kill a follower, and go on until nobody has the entries that it lacks."""
    behind = cluster.followers()[0]
    cluster.kill(behind)
    load.wait_for(CUT_AFTER * load.writers)
    return behind


def test_a_follower_catches_up_by_a_snapshot_while_writes_go_on(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path, options=LOG_KEPT) as cluster:
        with Load(cluster, writers=2) as load:
            behind = leave_behind(cluster, load)
            cluster.restart(behind)
            wait_until(lambda: INSTALLED in behind.log(), "a snapshot is installed")
            load.wait_for(100)
        assert load.failures == []
        wait_until(lambda: is_caught_up(behind, cluster.leader()), "it holds everything")
        load.check(behind)
        # What it was given is as good as what it wrote: it can lead, and begin again.
        cluster.kill(cluster.leader())
        cluster.restart(behind)
        load.check(behind)


def test_a_node_that_joins_late_is_brought_up_by_a_snapshot(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path, options=LOG_KEPT) as cluster:
        with Load(cluster, writers=2) as load:
            load.wait_for(CUT_AFTER * load.writers)
            joined = cluster.add_node()
            cluster.wait_until_whole()
        assert INSTALLED in joined.log()
        assert load.failures == []
        load.check(joined)


@pytest.mark.parametrize("step", STEPS)
def test_a_node_killed_while_it_installs_a_snapshot_is_whole_afterwards(
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
    """The size swings by what RocksDB has not flushed and merged yet; how low it swings tells.

    Once in a while little more is there than the values, the log at its longest and what waits
    in one write buffer. If but a twentieth of what is written stayed, that would never come back.
    """
    value, written = os.urandom(1_000_000), 600
    kept = {"log_entries_kept": 20, "log_bytes_kept": 4 << 20}
    needed = len(KEYS) * len(value) + 2 * kept["log_bytes_kept"] + WRITE_BUFFER_BYTES
    sizes: list[int] = []
    with Skiff(tmp_path / "node", port=free_port(), **kept) as node:  # type: ignore[arg-type]
        node.wait_for_leader()
        with Client([node.address], timeout=30) as client:
            keys = itertools.cycle(KEYS)
            for key in itertools.islice(keys, written):
                client.insert(key, value)
            while not sizes or (min(sizes) > needed and len(sizes) < written):
                client.insert(next(keys), value)
                sizes.append(disk_bytes(tmp_path))
            assert [client.get(key, bytes) for key in KEYS] == [value] * len(KEYS)
    assert min(sizes) <= needed, f"from {min(sizes)} to {max(sizes)} bytes on disk"


def disk_bytes(directory: Path) -> int:
    total = 0
    for file in directory.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # RocksDB deletes what it needs no more at any moment
    return total


def test_a_leader_whose_disk_hangs_gives_way(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        hung = cluster.leader()
        others = [node for node in cluster.nodes if node is not hung]
        writer = hung.actor_pids["storage_writer"]
        with Client([node.address for node in others], timeout=20) as client:
            client.insert("before", 1)
            os.kill(writer, signal.SIGSTOP)
            try:
                client.insert("after", 2)  # through a leader that can write
                successor = client.status().leader
            finally:
                os.kill(writer, signal.SIGCONT)
            assert successor in {node.id for node in others}
            assert client.get("before") == 1
        with hung.client(timeout=20) as client:
            assert client.get("after") == 2
