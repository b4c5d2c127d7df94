"""Lost majority: a removal that risks it is refused, and recovery from its loss works."""

import json
import shutil

import pytest

import skiff
from skiff import NodeStatus, PeerNotFound, Skiff, StorageError, UnsafeMembershipChange
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster.audited import audited
from tests.cluster.command import run
from tests.cluster.keyed import node_key

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_a_removal_that_would_lose_the_quorum_is_refused(own_cluster: Cluster) -> None:
    dead, alive = own_cluster.followers()
    leader = own_cluster.leader()
    own_cluster.kill(dead)
    with leader.client(timeout=20) as client:
        with pytest.raises(UnsafeMembershipChange, match="would then be 2 of 2 voters"):
            client.remove_node(alive.id)
        client.insert("key", "after the refusal")
    for asked in (leader, alive):
        refused = run("member", "remove", str(alive.id), "--url", asked.address, "--timeout", "20")
        assert refused.returncode == 4
        assert b"1 answers" in refused.stderr
        assert b"--force" in refused.stderr
    with alive.client(timeout=20) as client:
        assert client.get("key", str) == "after the refusal"
    # A forced removal starts, and waits for the remaining voters.
    forced = run(
        *("member", "remove", "--force", str(alive.id), "--url", leader.address, "--timeout", "1")
    )
    assert forced.returncode == 6, forced.stderr
    dead.start()
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "all are back")


def test_several_members_are_removed_by_one_command(own_cluster: Cluster) -> None:
    leader = own_cluster.leader()
    gone = [str(node.id) for node in own_cluster.followers()]
    removed = run("member", "remove", *gone, "--url", leader.address, "--timeout", "20", "--json")
    assert removed.returncode == 0, removed.stderr
    assert [json.loads(line)["id"] for line in removed.stdout.splitlines()] == gone
    with leader.client(timeout=20) as client:
        assert [member.id for member in client.members()] == [leader.id]
        with pytest.raises(PeerNotFound):
            client.remove_node(gone[0])


def test_one_surviving_node_of_three_is_recovered_with_its_data(own_cluster: Cluster) -> None:
    with own_cluster.client(timeout=20) as client:
        for number in range(20):
            client.insert(f"key/{number}", number)
        before = client.status()
    survivor, *lost = own_cluster.nodes
    assert b"in use" in run("recover", "--dir", str(survivor.directory)).stderr
    for node in lost:
        own_cluster.kill(node)
        shutil.rmtree(node.directory)
    survivor.terminate()
    show(survivor, lost, before)
    cluster = recover(survivor)
    survivor.start()
    with survivor.client(timeout=20) as client:
        status = client.status()
        assert str(status.cluster_id) == cluster != str(before.cluster_id)
        assert [client.get(f"key/{number}", int) for number in range(20)] == list(range(20))
        assert client.insert("key/new", 1) == before.revision + 1
    another = survivor.directory.parent / "other"
    with Skiff(another, port=free_port(), join_cluster=[survivor.address], key=node_key()) as other:
        other.wait_for_leader()
        with other.client(timeout=20) as client:
            assert client.get("key/19", int) == 19
            wait_until(lambda: len(client.members()) == 2, "it is a member")


def show(survivor: Node, lost: list[Node], before: NodeStatus) -> None:
    """Inspect the surviving directory without a change."""
    shown = run("recover", "--dir", str(survivor.directory), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert str(survivor.id).encode() in shown.stdout
    assert b"held is lost" in shown.stderr
    assert all(node.address.encode() in shown.stderr for node in lost)
    recovery = skiff.recover([survivor.directory], dry_run=True)
    assert recovery.cluster_id is None
    assert recovery.chosen.cluster_id == before.cluster_id
    assert recovery.chosen.revision == before.revision
    assert not recovery.is_complete


def recover(survivor: Node) -> str:
    """Start a new cluster from the surviving directory; return its id."""
    done = run("recover", "--dir", str(survivor.directory), "--json")
    assert done.returncode == 0, done.stderr
    again = run("recover", "--dir", str(survivor.directory))
    assert again.returncode == 0
    assert b"needs no recovery" in again.stderr
    cluster = str(json.loads(done.stdout)["cluster_id"])
    (record,) = audited(survivor.directory)
    assert record["user"].startswith("os:")
    assert record["operation"] == "Recover"
    assert record["target"].endswith(f" as cluster {cluster.replace('-', '')}")
    return cluster


def test_recovery_chooses_the_longest_log_and_leaves_the_others_unchanged(
    own_cluster: Cluster,
) -> None:
    first, second, third = own_cluster.nodes
    second.terminate()
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "the second lacks it")
    for node in (first, third):
        node.terminate()
    given = [second.directory, first.directory, third.directory]
    recovery = skiff.recover(given, dry_run=True)
    assert recovery.chosen.dir in (str(first.directory), str(third.directory))
    assert [each.id for each in recovery.survivors] == [second.id, first.id, third.id]
    assert recovery.is_complete
    assert not recovery.missing
    skiff.recover([first.directory, second.directory])
    with pytest.raises(StorageError, match="two clusters"):
        skiff.recover([first.directory, second.directory])
    assert skiff.recover([second.directory, third.directory], dry_run=True).chosen.id == third.id


def test_recovery_refuses_a_directory_that_holds_no_member(single: Cluster) -> None:
    (node,) = single.nodes
    node.terminate()
    empty = single.directory / "empty"
    empty.mkdir()
    for directories, reason in (
        ([], "name at least one"),
        ([single.directory / "missing"], "holds no data"),
        ([empty], "holds no data"),
        ([node.directory, node.directory], "named twice"),
    ):
        with pytest.raises(StorageError, match=reason):
            skiff.recover(directories)
    assert not (single.directory / "missing").exists()
    assert skiff.recover([node.directory]).is_alone
    standby = Skiff(single.directory / "standby", port=free_port(), standby=True, key=node_key())
    with standby, standby.client(timeout=20) as client:
        assert client.members() == []  # its new directory exists
    with pytest.raises(StorageError, match="never was a member"):
        skiff.recover([single.directory / "standby"])
