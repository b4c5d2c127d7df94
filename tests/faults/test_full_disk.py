"""Full disks and quotas: inserts are refused, and everything else keeps working."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from skiff import AsyncClient, Client, EventKind, Shortage, StorageFull
from skiff.testing import Cluster, Node, wait_until
from tests.faults.small_disks import fill, make_room, small_disks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

RESERVE = ("--disk-reserve-bytes", str(16 << 20))
BIG = "x" * 100_000


def lacks(node: Node, shortage: Shortage) -> bool:
    status = node.status()
    return status is not None and status.shortage is shortage


def all_lack(nodes: list[Node], shortage: Shortage) -> bool:
    return all(lacks(node, shortage) for node in nodes)


def has_applied(node: Node, revision: int) -> bool:
    status = node.status()
    return status is not None and status.revision >= revision


def is_filled(disk: Path, node: Node) -> bool:
    """Fill a disk, as RocksDB may have freed space; return whether the node reports it as full.

    Some space is left: the filler may take what the node has released of its ballast.
    """
    fill(disk, leave=1 << 20)
    return lacks(node, Shortage.CRITICAL)


def is_out_of_space(disk: Path, node: Node) -> bool:
    """Fill a disk; return whether the node reports it as full, or waits for space to start."""
    fill(disk)
    return lacks(node, Shortage.CRITICAL) or "no space left" in node.log()


def wait_until_full(client: Client, key: str) -> None:
    """Insert until it is refused."""

    def is_refused() -> bool:
        try:
            client.insert(key, 0)
        except StorageFull:
            return True
        return False

    wait_until(is_refused, "inserts are refused")


def wait_until_roomy(client: Client, key: str) -> None:
    """Insert until it succeeds."""

    def is_done() -> bool:
        try:
            client.insert(key, 0)
        except StorageFull:
            return False
        return True

    wait_until(is_done, "inserts are done again")


def test_a_majority_of_full_disks_refuses_only_inserts_and_recovers(tmp_path: Path) -> None:
    with (
        small_disks(tmp_path, "node-1", "node-2") as disks,
        Cluster(3, directory=tmp_path, options=RESERVE) as cluster,
        cluster.client(timeout=10) as client,
        client.watch("") as changes,
    ):
        before = {node: node.actor_pids for node in cluster.nodes}
        client.insert("kept", 1)
        client.insert("removed", 2)
        for disk, node in zip(disks, cluster.nodes, strict=False):
            wait_until(partial(is_filled, disk, node), "the disk counts as full")
        wait_until_full(client, "refused")
        for node in cluster.nodes:  # through each of them
            with node.client(timeout=10) as alone, pytest.raises(StorageFull):
                alone.insert("refused", 1)
        assert client.get("kept") == 1
        assert client.remove("removed")
        assert client.get("removed") is None
        for disk in disks:
            make_room(disk)
        wait_until_roomy(client, "after")
        wait_until(lambda: all_lack(cluster.nodes, Shortage.NONE), "all have room")
        assert client.get("after") == 0
        assert {node: node.actor_pids for node in cluster.nodes} == before  # no restarts
        removals = (change.key for change in changes if change.kind is EventKind.REMOVE)
        assert next(removals) == "removed"


def test_a_leader_with_a_full_disk_hands_over_and_inserts_continue(tmp_path: Path) -> None:
    with (
        small_disks(tmp_path, "node-1") as (disk,),
        Cluster(3, directory=tmp_path, options=RESERVE) as cluster,
        cluster.client(timeout=20) as client,
    ):
        full = cluster.nodes[0]
        client.transfer_leadership(full.id)
        fill(disk)
        for number in range(20):
            client.insert(f"k/{number}", BIG)  # none is refused, before or after the transfer
        wait_until(lambda: client.status().leader not in (None, full.id), "another node leads")
        wait_until(partial(is_out_of_space, disk, full), "the disk counts as full")
        revision = client.insert("while full", 1)
        make_room(disk)
        wait_until(lambda: has_applied(full, revision), "the node has caught up")
        assert full.is_running


def test_a_node_that_starts_on_a_full_disk_waits_for_space(tmp_path: Path) -> None:
    with (
        small_disks(tmp_path, "node-1") as (disk,),
        Cluster(1, directory=tmp_path, options=RESERVE) as cluster,
        cluster.client(timeout=20) as client,
    ):
        (node,) = cluster.nodes
        client.insert("before", 1)
        node.kill()
        (disk / "ballast").unlink()
        fill(disk)
        node.launch()
        wait_until(lambda: "no space left" in node.log(), "the node says what it waits for")
        make_room(disk)
        node.wait_until_ready()
        assert client.get("before") == 1
        client.insert("after", 2)


async def _remove_beside_inserts(cluster: Cluster) -> None:
    """Check that a removal is not refused with an insert of the same turn of the loop."""
    async with AsyncClient(cluster.addresses, timeout=10) as client:
        for _ in range(2):  # from the first refusal on, the client knows that the state is full
            calls = client.insert("refused", 0), client.remove("absent")
            refused, removed = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(refused, StorageFull)
        assert removed is False


def test_an_exhausted_quota_refuses_inserts_until_data_is_removed(tmp_path: Path) -> None:
    options = ("--state-bytes-max", str(4 * len(BIG)))
    with Cluster(3, directory=tmp_path, options=options) as cluster, cluster.client(10) as client:
        for number in range(4):
            client.insert(f"big/{number}", BIG)
        wait_until_full(client, "refused")
        status = client.status()
        assert status.shortage is Shortage.QUOTA
        assert status.state_bytes > 4 * len(BIG)
        asyncio.run(_remove_beside_inserts(cluster))
        client.remove("big/0")
        wait_until_roomy(client, "after")
