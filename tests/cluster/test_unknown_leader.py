"""Unknown leader: a member that was down while the others were replaced finds its leader."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skiff.testing import Cluster, Node, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture
def successors(tmp_path: Path, own_cluster: Cluster) -> Iterator[list[Node]]:
    """Two more nodes, to be started, that join through the first one of three."""
    through = own_cluster.nodes[0].address
    nodes = [Node(tmp_path / f"successor-{number}", ["--join", through]) for number in (1, 2)]
    yield nodes
    for node in nodes:
        node.kill()


def test_a_member_whose_known_peers_are_down_finds_the_leader_through_join(
    own_cluster: Cluster, successors: list[Node]
) -> None:
    first, second, behind = own_cluster.nodes
    leader, other = successors
    own_cluster.kill(behind)
    for node in successors:
        node.start()
    with leader.client(timeout=20) as client:
        client.transfer_leadership(leader.id)
        client.insert("key", "of a leader unknown to one")
        own_cluster.kill(first)
        own_cluster.kill(second)
    # Only this node completes a majority of five again; it knows two members that are down.
    behind.launch()
    wait_until(lambda: "no known member has vouched" in behind.log(), "it is told")
    behind.kill()
    behind.replace_options("--join", other.address)
    behind.start()
    with behind.client(timeout=20) as client:
        client.insert("key", "written with its vote")
        assert client.get("key", str) == "written with its vote"


def test_a_stale_member_finds_an_unknown_leader_through_a_known_member(
    own_cluster: Cluster, successors: list[Node]
) -> None:
    behind = own_cluster.nodes[2]
    own_cluster.kill(behind)
    for node in successors:
        node.start()
    with successors[0].client(timeout=20) as client:
        client.transfer_leadership(successors[0].id)
        client.insert("key", "of a leader unknown to one")
    behind.start()
    with behind.client(timeout=20) as client:
        assert client.get("key", str) == "of a leader unknown to one"
    own_cluster.kill(own_cluster.nodes[0])
    own_cluster.kill(own_cluster.nodes[1])
    with behind.client(timeout=20) as client:
        client.insert("key", "with the votes of members that were unknown")
