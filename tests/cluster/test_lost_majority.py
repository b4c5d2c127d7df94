"""A majority that is at risk is not given away, and one that is lost for good is recovered from."""

import json

import pytest

from skiff import PeerNotFound, UnsafeMembershipChange
from skiff.testing import Cluster
from tests.cluster.command import run

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_a_removal_that_would_freeze_the_cluster_is_refused(own_cluster: Cluster) -> None:
    dead, alive = own_cluster.followers()
    leader = own_cluster.leader()
    own_cluster.kill(dead)
    with leader.client(timeout=20) as client:
        with pytest.raises(UnsafeMembershipChange, match="2 of 2 voters would be needed then"):
            client.remove_node(alive.id)
        client.insert("key", "after the refusal")
    for asked in (leader, alive):
        refused = run("member", "remove", str(alive.id), "--url", asked.address, "--timeout", "20")
        assert refused.returncode == 4
        assert b"1 answers" in refused.stderr
        assert b"--force" in refused.stderr
    with alive.client(timeout=20) as client:
        assert client.get("key", str) == "after the refusal"
    # What is forced is begun, and waits for the voters that are left.
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
