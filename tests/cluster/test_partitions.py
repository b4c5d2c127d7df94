"""Partitions of test clusters: peers are cut off from each other, clients from none."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from protocol.encoding import encode
from protocol.messages.peer import PEER_PROTOCOL_VERSION, PeerFrame
from skiff import (
    Client,
    ClientConnectFailed,
    OutcomeUnknown,
    RequestTimeout,
    RevisionMismatch,
    Role,
    SkiffError,
)
from skiff.testing import Cluster, Node, wait_until
from skiff.testing.sender import Sender

pytestmark = pytest.mark.cluster

SECONDS = 20.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path, partitions=True) as running:
        yield running


def leads(node: Node) -> bool:
    status = node.status()
    return status is not None and status.role is Role.LEADER


def others(cluster: Cluster, node: Node) -> list[Node]:
    return [each for each in cluster.nodes if each is not node]


def test_an_isolated_leader_is_replaced_and_follows_after_the_heal(cluster: Cluster) -> None:
    old = cluster.leader()
    with cluster.client(timeout=SECONDS) as client, old.client(timeout=2) as isolated:
        client.insert("key", "before")
        cluster.partition([old])
        with pytest.raises((OutcomeUnknown, RequestTimeout)):
            isolated.insert("key", "lost")
        wait_until(lambda: any(map(leads, others(cluster, old))), "the majority elects a leader")
        wait_until(lambda: not leads(old), "the isolated leader steps down")
        last = client.insert("key", "after")
        with pytest.raises((RequestTimeout, ClientConnectFailed)):
            isolated.get("key", timeout=1)
        cluster.heal()
        assert isolated.get("key", str, at_least=last, timeout=SECONDS) == "after"
    cluster.wait_until_whole()
    assert old.status() is not None


def test_a_write_without_a_deadline_leaves_an_isolated_leader(cluster: Cluster) -> None:
    old = cluster.leader()
    with cluster.client() as client, Client([old.address]) as first_there:
        first_there.insert("key", 1)
        cluster.partition([old])
        assert first_there.insert("key", 2, timeout=None) > 1
        assert client.get("key") == 2


def test_a_node_on_the_minority_side_is_reached_by_clients_and_catches_up(
    cluster: Cluster,
) -> None:
    behind = cluster.followers()[0]
    cluster.partition([behind], others(cluster, behind))
    with cluster.client(timeout=SECONDS) as client, behind.client(timeout=SECONDS) as near:
        last = client.insert("key", 1)
        assert near.get("key", read="stale") is None
        assert near.status().revision < last
        cluster.heal()
        assert near.get("key", int, at_least=last) == 1


def test_a_client_reads_no_older_state_at_a_node_that_is_behind_than_it_has_seen(
    cluster: Cluster,
) -> None:
    """Seen by a refused write, a mirror, a watch, or a write before a fork."""
    behind, other = cluster.followers()
    with behind.client(SECONDS) as near, other.client(SECONDS) as writer, ExitStack() as stack:
        near.get("key", at_least=writer.insert("key", "old"))
        refused, mirroring, watching, forked = (
            stack.enter_context(
                Client([other.address, behind.address], timeout=SECONDS, follow_leader=False)
            )
            for _ in range(4)
        )
        mirror, subscriber = mirroring.mirror("elsewhere/"), watching.watch("elsewhere/")
        cluster.partition([behind])
        new = writer.insert("key", "new")
        with pytest.raises(RevisionMismatch):
            refused.insert("key", "newer", if_revision=new + 1)
        mirror.wait_for(new)
        while subscriber.revision < new:
            with suppress(RequestTimeout):
                subscriber.next_event(timeout=0.1)
        forked.insert("other", 1)
        other.kill()
        assert near.get("key", read="stale") == "old"
        for client in (refused, mirroring, watching):
            with pytest.raises(RequestTimeout):
                client.get("key", read="stale", timeout=1)
        assert in_a_fork(lambda: forked.get("key", read="stale", timeout=1)) == "RequestTimeout"


def in_a_fork(function: Callable[[], object]) -> str:
    """Call a function in a forked process; return its result or the name of its error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = str(function())
        except SkiffError as error:
            result = type(error).__name__
        os.write(writer, result.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


def test_a_counter_is_exact_across_partitions(cluster: Cluster) -> None:
    done = dict.fromkeys(cluster.nodes, 0)
    is_over = threading.Event()

    def count(node: Node) -> None:
        with node.client(timeout=60) as client:
            while not is_over.is_set():
                client.increment("counter")
                done[node] += 1

    threads = [threading.Thread(target=count, args=(node,)) for node in cluster.nodes]
    for thread in threads:
        thread.start()
    for _ in range(3):
        leader = cluster.leader()
        cluster.partition([leader])
        enough = {node: done[node] + 20 for node in others(cluster, leader)}
        wait_until(
            lambda enough=enough: all(done[node] > least for node, least in enough.items()),  # type: ignore[misc]
            "writes go on in the majority",
        )
        cluster.heal()
        before = done[leader]
        wait_until(
            lambda node=leader, before=before: done[node] > before,  # type: ignore[misc]
            "the isolated node writes again",
        )
    is_over.set()
    for thread in threads:
        thread.join()
    with cluster.client(timeout=SECONDS) as client:
        assert client.get("counter", int) == sum(done.values())


def test_without_a_majority_side_nothing_is_written(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    cluster.partition([first], [second], [third])
    with cluster.client(timeout=3) as client:
        with pytest.raises((OutcomeUnknown, RequestTimeout)):
            client.insert("key", 1)
        cluster.partition([first, second], [third])  # instead of the one before
        client.insert("key", 2, timeout=SECONDS)
        cluster.heal()
        assert third.client(SECONDS).get("key", int) == 2


def test_nodes_of_such_a_cluster_are_killed_paused_and_added_as_others(cluster: Cluster) -> None:
    with Client(cluster.addresses, timeout=SECONDS) as client:
        client.insert("key", 1)
        leader = cluster.leader()
        cluster.kill(leader)
        client.insert("key", 2)
        cluster.restart(leader)
        leader = cluster.leader()
        cluster.pause(leader)
        client.insert("key", 3)
        cluster.resume(leader)
        added = cluster.add_node()
        cluster.wait_until_whole()
        assert added.address in [member.address for member in client.members()]
        with added.client(SECONDS) as near, near.watch() as changes:
            last = client.insert("key", 4)
            assert changes.recv(int, timeout=SECONDS) == ("key", 4)
            cluster.partition([added])
            beyond = client.insert("key", 5)
            assert near.get("key", int, read="stale") == 4
            cluster.heal()
            assert near.get("key", int, at_least=beyond) == 5
            assert beyond > last


def test_what_cannot_be_partitioned_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    first, second, _ = cluster.nodes
    with pytest.raises(ValueError, match="in one group"):
        cluster.partition([first], [first, second])
    with pytest.raises(ValueError, match="of this cluster"):
        cluster.partition([Node(tmp_path / "other", [])])
    with pytest.raises(ValueError, match="partitions=True"):
        Cluster(3).heal()


# --- the sender of a connection

GREETING = bytes(64)
READY = bytes([4, 6]) + b"\5READY"


def frame(address: str) -> bytes:
    node = uuid.uuid4().bytes
    body = encode(PeerFrame(PEER_PROTOCOL_VERSION, b"", node, 1, address, ()))
    return bytes([0, len(body)]) + body


def test_the_sender_is_found_however_its_bytes_are_cut() -> None:
    sent = GREETING + READY + frame("127.0.0.1:9400") + frame("127.0.0.1:1")
    for size in (1, 3, 70, len(sent)):
        sender = Sender()
        for start in range(0, len(sent), size):
            sender.feed(sent[start : start + size])
        assert sender.address == "127.0.0.1:9400"


def test_a_long_frame_has_a_length_of_eight_bytes() -> None:
    short = frame("127.0.0.1:9400")
    sender = Sender()
    sender.feed(GREETING + READY + bytes([2]) + (len(short) - 2).to_bytes(8, "big") + short[2:])
    assert sender.address == "127.0.0.1:9400"


def test_a_stranger_has_no_address() -> None:
    sender = Sender()
    sender.feed(GREETING + READY + bytes([0, 3]) + b"abc" + frame("127.0.0.1:9400"))
    assert sender.address == ""
