"""Lease reads on real processes: served briefly without a majority, and never stale."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.messages.client import Failed, Get, Outcome
from protocol.state.commands import Found
from skiff import InvalidRequest, SkiffError
from skiff.arguments import Consistency
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.command import run
from tests.cluster.raw_client import RawClient

pytestmark = pytest.mark.cluster

ROUNDS = 4
REQUESTS = 20
# A lease of three seconds, long enough to observe.
PATIENT = ("--election-timeout-min-ms", "4000", "--election-timeout-max-ms", "6000")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; every test leaves them running."""
    with Cluster(3, directory=tmp_path_factory.mktemp("reads")) as running:
        yield running


def is_served(node: Node, read: Consistency, timeout: float) -> bool:
    with node.client(timeout=timeout) as client:
        try:
            return client.get("key", int, read=read) == 1
        except SkiffError:
            return False


@pytest.mark.timeout(120)
def test_a_lease_serves_reads_briefly_without_a_majority_and_expires(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path, options=PATIENT) as cluster:
        leader, followers = cluster.leader(), cluster.followers()
        with leader.client() as client:
            client.insert("key", 1)
        assert is_served(leader, "leader-lease", 1)
        for node in followers:
            cluster.pause(node)
        assert is_served(leader, "leader-lease", 1)
        assert not is_served(leader, "linearizable", 0.5)
        wait_until(lambda: not is_served(leader, "leader-lease", 0.3), "the lease has ended")
        for node in followers:
            cluster.resume(node)
        wait_until(lambda: is_served(followers[0], "leader-lease", 5), "a majority is there again")


def leads_again(cluster: Cluster, frozen: Node) -> bool:
    statuses = [node.status() for node in cluster.nodes if node is not frozen]
    return any(each is not None and each.leader not in (None, frozen.id) for each in statuses)


def number_in(outcome: Outcome) -> int | None:
    if isinstance(outcome, Failed):
        return None
    assert isinstance(outcome, Found), outcome
    return outcome.value[0]  # MessagePack encodes a small number as itself


@pytest.mark.timeout(120)
def test_a_resumed_leader_serves_no_read_on_an_expired_lease(cluster: Cluster) -> None:
    request = Get("key", leader_lease=True)
    with cluster.client(timeout=20) as client:
        for attempt in range(ROUNDS):
            old, new = 2 * attempt + 1, 2 * attempt + 2
            client.insert("key", old)
            leader = cluster.leader()
            with RawClient(leader) as pinned:
                assert number_in(*pinned.ask(request)) == old
                cluster.pause(leader)
                try:
                    wait_until(lambda node=leader: leads_again(cluster, node), "others lead")  # type: ignore[misc]
                    others = [node for node in cluster.nodes if node is not leader]
                    with others[0].client(timeout=20) as writer:
                        writer.insert("key", new)
                    # These reach a node that held a lease when it was frozen.
                    waiting = [pinned.send(request) for _ in range(REQUESTS)]
                finally:
                    cluster.resume(leader)
                asked_later = [pinned.send(request) for _ in range(REQUESTS)]
                answers = [number_in(*pinned.outcomes(each)) for each in [*waiting, *asked_later]]
            assert set(answers) <= {new, None}
            assert answers[-1] == new, "the node does not serve again"
            cluster.wait_until_whole()


def test_lease_reads_on_every_node_return_all_acknowledged_writes(cluster: Cluster) -> None:
    clients = [node.client(timeout=20) for node in cluster.nodes]
    try:
        for number in range(200):
            clients[number % 3].insert("dir/key", number)
            for client in clients:
                entry = client.get_entry("dir/key", int, read="leader-lease")
                assert entry is not None
                assert entry.value == client.get("dir/key", int, read="leader-lease") == number
        for client in clients:
            assert client.list_keys("dir/", read="leader-lease") == ["dir/key"]
            assert client.list_keys("dir/", limit=1, read="leader-lease") == ["dir/key"]
            assert "dir" in client.get_prefixes(read="leader-lease")
            with pytest.raises(InvalidRequest, match="read must be 'linearizable' or"):
                client.get("dir/key", read="eventual")  # type: ignore[call-overload]
    finally:
        for client in clients:
            client.close()


def test_the_command_line_supports_lease_reads(cluster: Cluster) -> None:
    place = {"SKIFF_URL": ",".join(cluster.addresses)}
    run("insert", "cli/key", "value", settings=place)
    for *words, expected in (
        ("get", "cli/key", "value"),
        ("list", "cli/", "cli/key\n"),
        ("prefixes", "cli", "cli\n"),
    ):
        assert run(*words, "--read", "leader-lease", settings=place).stdout.decode() == expected
    assert run("get", "cli/key", "--read", "eventual", settings=place).returncode == 2
