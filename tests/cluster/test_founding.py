"""Founding a cluster, alone or together, and lost directories, on real processes."""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skiff import AddressTaken, Client, Skiff
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster.keyed import node_key

pytestmark = pytest.mark.cluster


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[list[Node]]:
    """Return three new nodes that expect each other."""
    nodes = [Node(tmp_path / f"node-{number}", []) for number in range(3)]
    addresses = ",".join(node.address for node in nodes)
    for node in nodes:
        node.add_options("--join", addresses, "--expect", "3")
    yield nodes
    for node in nodes:
        node.kill()


def cluster_of(node: Node) -> object:
    status = node.status()
    return None if status is None else status.cluster_id


def wait_until_one_cluster(nodes: list[Node]) -> object:
    """Wait until each node knows the same cluster, with all of them as voters; return its id."""

    def are_one() -> bool:
        statuses = [node.status() for node in nodes]
        known = {status.cluster_id for status in statuses if status is not None}
        members = {len(status.members) for status in statuses if status is not None}
        return None not in statuses and len(known) == 1 and members == {len(nodes)}

    wait_until(are_one, f"{nodes} are one cluster", timeout=30)
    return cluster_of(nodes[0])


def serves_from(node: Node, key: str) -> object:
    """Return the value that this very node serves."""
    with node.client(timeout=20) as client:
        return client.get(key)


def wipe(node: Node) -> None:
    """End a node and delete its directory."""
    node.kill()
    shutil.rmtree(node.directory)


# --- alone


def test_a_founder_that_lost_its_directory_exits_and_logs_how_to_rejoin(
    own_cluster: Cluster,
) -> None:
    lost, *others = own_cluster.nodes
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "value")
    wipe(lost)
    lost.replace_options()  # as the README starts the first node
    for _ in range(2):  # as a service manager would
        lost.launch()
        assert lost.wait() == 1
    assert f"{lost.address} is the address of a member of cluster" in lost.log()
    advised = lost.log().rpartition("--join ")[2].split()[0]
    assert advised in {node.address for node in others}

    # It returns by the command that its log names.
    shutil.rmtree(lost.directory)
    lost.replace_options("--join", advised, "--rejoin")
    lost.start()
    wait_until_one_cluster(own_cluster.nodes)
    with lost.client(timeout=20) as client:
        assert client.get("key") == "value"


def test_an_embedded_founder_that_lost_its_directory_raises_address_taken(
    own_cluster: Cluster,
) -> None:
    lost = own_cluster.nodes[0]
    wipe(lost)
    with (
        Skiff(lost.directory, port=lost.port, key=node_key()) as node,
        pytest.raises(AddressTaken, match="--rejoin"),
    ):
        node.wait_for_leader(timeout=20)


def test_a_founder_that_reached_no_member_exits_when_members_return(own_cluster: Cluster) -> None:
    lost, *others = own_cluster.nodes
    wipe(lost)
    lost.replace_options("--founding-ms", "100")
    for node in others:
        own_cluster.pause(node)
    lost.start()
    with lost.client() as client:
        client.insert("ghost", 1)
    for node in others:
        own_cluster.resume(node)
    assert lost.wait() == 1
    assert "is the address of a member of cluster" in lost.log()
    with Client([node.address for node in others], timeout=20) as client:
        assert client.get("ghost") is None


def test_a_founder_that_no_member_claims_founds_a_cluster_of_one(tmp_path: Path) -> None:
    with Skiff(tmp_path / "node", port=Node(tmp_path / "unused", []).port, key=node_key()) as node:
        node.wait_for_leader(timeout=20)
        assert list(node.cluster()) == [node.id]


# --- together


@pytest.mark.parametrize("seed", range(3))
def test_nodes_started_with_the_same_command_form_one_cluster_in_any_order(
    trio: list[Node], seed: int
) -> None:
    chance = random.Random(seed)
    order = chance.sample(trio, 3)
    for node in order[:2]:
        node.launch()
        time.sleep(chance.uniform(0.0, 0.4))  # start the next one at a random time
    assert all(cluster_of(node) is None for node in order[:2]), "two of three found nothing"
    for _ in range(3):  # some are killed while the cluster forms
        victim = chance.choice(order[:2])
        victim.kill()
        victim.launch()
        if chance.random() < 0.5 and not order[2].is_running:
            order[2].launch()
        time.sleep(chance.uniform(0.0, 0.5))  # kill the next one at a random time
    if not order[2].is_running:
        order[2].launch()
    for node in trio:
        node.wait_until_ready()
    wait_until_one_cluster(trio)
    with Client([node.address for node in trio], timeout=20) as client:
        client.insert("key", "value")
        assert client.get("key") == "value"


def test_no_cluster_is_founded_while_an_expected_node_is_frozen(trio: list[Node]) -> None:
    founder, other, frozen = sorted(trio, key=lambda node: node.address)
    frozen.launch()
    wait_until(lambda: frozen.status() is not None, "it runs")
    frozen.pause()
    for node in (founder, other):
        node.launch()
    waits = f"forming a cluster: waiting, {frozen.address} does not answer"
    wait_until(lambda: waits in founder.log(), "the founder waits for it", timeout=30)
    assert [cluster_of(node) for node in (founder, other)] == [None, None]
    frozen.resume()
    for node in trio:
        node.wait_until_ready()
    wait_until_one_cluster(trio)


def test_an_expected_node_that_lost_its_directory_founds_no_cluster(trio: list[Node]) -> None:
    for node in trio:
        node.launch()
    for node in trio:
        node.wait_until_ready()
    cluster = wait_until_one_cluster(trio)
    founder, *others = sorted(trio, key=lambda node: node.address)
    wipe(founder)
    founder.launch()
    wait_until(lambda: "--rejoin" in founder.log(), "it is told how to come back")
    assert cluster_of(founder) is None
    founder.kill()
    founder.add_options("--rejoin")
    founder.start()
    assert wait_until_one_cluster(trio) == cluster
    for node in others:
        node.kill()
    wipe(founder)
    founder.launch()
    wait_until(lambda: "forming a cluster: waiting" in founder.log(), "it waits", timeout=30)
    assert cluster_of(founder) is None


def test_nodes_with_different_lists_form_no_cluster_and_log_the_difference(
    trio: list[Node],
) -> None:
    odd = trio[2]
    odd.replace_options("--join", f"{trio[0].address},{odd.address}", "--expect", "2")
    for node in trio:
        node.launch()
    first = min(trio[:2], key=lambda node: node.address)
    told = f"{odd.address} was started with other --join, --expect"
    wait_until(lambda: told in first.log(), "the difference is named", timeout=30)
    assert [cluster_of(node) for node in trio] == [None, None, None]


def test_a_node_on_a_copied_directory_exits_while_the_original_runs(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    original = own_cluster.leader()
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "before")
        original.kill()
        shutil.copytree(original.directory, tmp_path / "copy")
        original.start()
        copy = Node(tmp_path / "copy", [])
        copy.launch()
        assert copy.wait() == 1
        assert f"runs at {original.address}" in copy.log()
        client.insert("key", "after")
    assert original.is_running
    assert serves_from(original, "key") == "after"
    wait_until_one_cluster(own_cluster.nodes)


# --- notes of a waiting node


def test_a_joining_node_logs_why_each_address_fails(tmp_path: Path, single: Cluster) -> None:
    """The log distinguishes refused, unknown and silent addresses, the first two without delay."""
    (silent,) = single.nodes
    refuses = f"127.0.0.1:{free_port()}"
    unknown = "no-such-host.invalid:9400"
    single.pause(silent)
    node = Node(tmp_path / "new", ["--join", f"{refuses},{unknown},{silent.address}"])
    try:
        node.launch()
        told = f"{refuses} refuses connections; asking it until it answers"
        wait_until(lambda: told in node.log(), "the refusal is told")
        assert "not a member yet" not in node.log()
        wait_until(lambda: f"{unknown} cannot be resolved: " in node.log(), "the name is told")
        wait_until(lambda: "not a member yet" in node.log(), "it notes what it waits for")
        waits = node.log().partition("not a member yet: ")[2].partition("\n")[0]
        assert f"{refuses} refuses connections" in waits
        assert f"{silent.address} does not answer" in waits
        single.resume(silent)
        node.wait_until_ready()
        assert node.log().count(told) == 1
    finally:
        node.kill()
