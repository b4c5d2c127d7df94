"""Leadership transfers without a pause: on demand, and before a leader stops."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from skiff import InvalidRequest, NodeStatus, PeerNotFound
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.command import run
from tests.faults.load import Load

pytestmark = pytest.mark.cluster

WRITERS = 4
# Long enough that no election on a busy machine passes for a transfer.
PATIENT = ("--election-timeout-min-ms", "500", "--election-timeout-max-ms", "1000")
# Ten times the defaults: after an election timeout, writes have waited for longer than the
# shortest one, while a transfer takes far less on any machine.
SHORTEST_MS = 1500
SLOW = ("--election-timeout-min-ms", str(SHORTEST_MS), "--election-timeout-max-ms", "3000")
TURNS = re.compile(r"actor=log_replicator term=(\d+) (leader|follower|candidate), leader is (\w+)$")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that log their leader."""
    with Cluster(3, directory=tmp_path, log_level="info", options=PATIENT) as running:
        yield running


def status_of(node: Node) -> NodeStatus:
    status = node.status()
    assert status is not None, f"{node} does not answer"
    return status


def last_turn(node: Node) -> tuple[int, str, str]:
    """Return the last term, role and leader in a node's log."""
    turns = [found for line in node.log().splitlines() if (found := TURNS.search(line))]
    return int(turns[-1][1]), turns[-1][2], turns[-1][3]


def restart_under(load: Load, cluster: Cluster, node: Node) -> bool:
    """Restart a node; return whether it led, and so transferred leadership."""
    load.wait_for(200)
    before = status_of(node)
    led = before.leader == node.id
    assert node.terminate() == 0
    if led:
        # Before its end, it followed its successor in the very next term.
        term, role, leader = last_turn(node)
        assert (term, role) == (before.term + 1, "follower")
        assert leader in [each.id.hex[:8] for each in cluster.nodes if each is not node]
    load.wait_for(200)
    cluster.restart(node)
    cluster.wait_until_whole()
    assert status_of(node).term == before.term + led, "there was an election"
    return led


@pytest.mark.timeout(120)
def test_a_rolling_restart_interrupts_writes_for_less_than_an_election_timeout(
    tmp_path: Path,
) -> None:
    with Cluster(3, directory=tmp_path, log_level="info", options=SLOW) as cluster:
        with Load(cluster, writers=WRITERS) as load:
            led = [restart_under(load, cluster, node) for node in list(cluster.nodes)]
            load.wait_for(200)
        assert any(led), "no leader was restarted"
        assert load.longest_silence() < SHORTEST_MS / 1000
        assert (load.failures, load.unknown) == ([], [])
        for node in cluster.nodes:
            load.check(node)


@pytest.mark.timeout(120)
def test_leadership_moves_to_any_named_node_under_load(cluster: Cluster) -> None:
    with Load(cluster, writers=WRITERS) as load:
        for through in (*cluster.nodes, *cluster.nodes):
            load.wait_for(100)
            before = status_of(through)
            wanted = next(node for node in cluster.nodes if node.id != before.leader)
            with through.client(timeout=20) as client:
                assert client.transfer_leadership(wanted.id) == wanted.id
                after = client.status()
                assert (after.leader, after.term) == (wanted.id, before.term + 1)
                assert client.transfer_leadership(str(wanted.id)) == wanted.id, "once is enough"
                assert client.status().term == before.term + 1
        load.wait_for(100)
    assert (load.failures, load.unknown) == ([], [])


def test_leadership_moves_to_another_node_if_none_is_named(cluster: Cluster) -> None:
    for through in cluster.nodes:
        before = status_of(through)
        with through.client(timeout=20) as client:
            leader = client.transfer_leadership()
            assert leader != before.leader
            assert (client.status().leader, client.status().term) == (leader, before.term + 1)


def test_leadership_is_never_transferred_to_an_ineligible_node(cluster: Cluster) -> None:
    leader, (lost, other) = cluster.leader(), cluster.followers()
    term = status_of(leader).term
    cluster.kill(lost)
    with leader.client(timeout=20) as client:
        with pytest.raises(PeerNotFound):
            client.transfer_leadership(uuid.UUID(int=7))
        with pytest.raises(InvalidRequest, match="neither a node id nor an address"):
            client.transfer_leadership("the other one")
        assert client.transfer_leadership() == other.id, "no dead node is chosen"
    with other.client(timeout=20) as client:
        client.remove_node(lost.id)
        client.remove_node(leader.id)
        wait_until(lambda: len(client.members()) == 1, "one node is left")
        with pytest.raises(InvalidRequest, match="no other voter"):
            client.transfer_leadership()
        assert client.status().term == term + 1


def test_the_command_line_transfers_leadership(cluster: Cluster) -> None:
    leader, (first, second) = cluster.leader(), cluster.followers()
    place = {"SKIFF_URL": ",".join(cluster.addresses)}
    done = run("member", "transfer", str(first.id), "--json", settings=place)
    assert done.stdout.decode() == f'{{"leader":"{first.id}"}}\n'
    done = run("member", "transfer", settings=place)
    assert done.returncode == 0
    assert "leads now" in done.stderr.decode()
    assert status_of(second).leader in (leader.id, second.id)
    assert run("member", "transfer", str(uuid.UUID(int=7)), settings=place).returncode == 3
