"""Linearizable reads: a read sees all writes acknowledged before it, on any node."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from protocol.messages.client import Failed, Get, Outcome
from protocol.state.commands import Found
from skiff import SkiffError
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.raw_client import RawClient

pytestmark = pytest.mark.cluster

ROUNDS = 4
REQUESTS = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; every test leaves them running."""
    with Cluster(3, directory=tmp_path_factory.mktemp("reads")) as running:
        yield running


def leads_again(cluster: Cluster, paused: Node) -> Node | None:
    """Return the leader that the running nodes know, or None."""
    for node in cluster.nodes:
        status = None if node is paused else node.status()
        if status is not None and status.leader not in (None, paused.id):
            return node
    return None


def number_in(outcome: Outcome) -> int | None:
    """Return the number that was read, or None if the node refused."""
    if isinstance(outcome, Failed):
        return None
    assert isinstance(outcome, Found), outcome
    return outcome.value[0]  # MessagePack encodes a small number as itself


@pytest.mark.timeout(120)
def test_a_resumed_leader_never_returns_an_overwritten_value(cluster: Cluster) -> None:
    with cluster.client(timeout=20) as client:
        for attempt in range(ROUNDS):
            old, new = 2 * attempt + 1, 2 * attempt + 2
            client.insert("key", old)
            leader = cluster.leader()
            with RawClient(leader) as pinned:
                assert number_in(*pinned.ask(Get("key"))) == old
                cluster.pause(leader)
                try:
                    wait_until(lambda node=leader: leads_again(cluster, node), "others lead")  # type: ignore[misc]
                    others = [node for node in cluster.nodes if node is not leader]
                    with others[0].client(timeout=20) as writer:
                        writer.insert("key", new)
                    # These reach a node that still believes that it leads.
                    waiting = [pinned.send(Get("key")) for _ in range(REQUESTS)]
                finally:
                    cluster.resume(leader)
                asked_later = [pinned.send(Get("key")) for _ in range(REQUESTS)]
                answers = [number_in(*pinned.outcomes(each)) for each in [*waiting, *asked_later]]
            assert set(answers) <= {new, None}
            assert answers[-1] == new, "the node does not serve again"
            cluster.wait_until_whole()


class Readers:
    """Threads that each read a counter through one node, and check its minimum."""

    def __init__(self, cluster: Cluster) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(node,)) for node in cluster.nodes
        ]
        self.acknowledged = 0
        self.stale: list[str] = []
        self.reads = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, node: Node) -> None:
        highest = 0
        with node.client(timeout=1) as client:
            while not self._stop.is_set():
                least = max(highest, self.acknowledged)
                with contextlib.suppress(SkiffError):
                    highest = client.get("counter", int, default=0)
                    self.reads += 1
                    if highest < least:
                        self.stale.append(f"{node} returned {highest} after {least}")


@pytest.mark.timeout(120)
def test_reads_on_every_node_never_go_backwards_while_leaders_freeze_and_crash(
    tmp_path: Path,
) -> None:
    with (
        Cluster(3, directory=tmp_path) as cluster,
        cluster.client(timeout=30) as client,
        Readers(cluster) as readers,
    ):

        def count(steps: int) -> None:
            for _ in range(steps):
                number = readers.acknowledged + 1
                client.insert("counter", number)
                readers.acknowledged = number

        for _ in range(2):
            count(50)
            leader = cluster.leader()
            cluster.pause(leader)
            count(50)
            cluster.resume(leader)
            count(50)
            leader = cluster.leader()
            cluster.kill(leader)
            count(50)
            cluster.restart(leader)
    assert readers.stale == []
    assert readers.reads > 100, "hardly anything was read"


@pytest.mark.timeout(120)
def test_the_first_read_after_an_election_sees_the_last_write_before_it(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        for attempt in range(ROUNDS):
            leader = cluster.leader()
            others = [node for node in cluster.nodes if node is not leader]
            with leader.client(timeout=20) as client:
                client.insert("key", attempt)
            cluster.kill(leader)
            for node in others:
                with node.client(timeout=20) as client:
                    assert client.get("key", int) == attempt
            cluster.restart(leader)


def test_a_follower_returns_every_write_acknowledged_by_the_leader(cluster: Cluster) -> None:
    leader, followers = cluster.leader(), cluster.followers()
    clients = [node.client(timeout=20) for node in followers]
    try:
        with leader.client(timeout=20) as writer:
            for number in range(200):
                writer.insert("key", number)
                for client in clients:
                    assert client.get("key", int) == number
                writer.remove("key")
                for client in clients:
                    assert client.get("key") is None
                    assert client.list_keys("key") == []
    finally:
        for client in clients:
            client.close()


def test_a_read_on_a_lagging_follower_waits_until_it_has_caught_up(cluster: Cluster) -> None:
    follower = cluster.followers()[0]
    with cluster.leader().client(timeout=20) as writer, RawClient(follower) as pinned:
        writer.insert("key", 1)
        cluster.pause(follower)
        try:
            for number in range(2, 100):
                writer.insert("key", number)
            waiting = [pinned.send(Get("key")) for _ in range(REQUESTS)]
        finally:
            cluster.resume(follower)
        assert {number_in(*pinned.outcomes(each)) for each in waiting} == {99}
    cluster.wait_until_whole()
