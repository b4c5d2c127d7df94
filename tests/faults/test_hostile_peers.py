"""A broken member and a stranger say what they like to real nodes: refused, logged, survived."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.data_directory import DataDirectory
from actors.database import RocksDatabase
from protocol.config import NodeConfig
from protocol.entry import Entry, EntryKind
from protocol.node_messages import Append
from protocol.peer_messages import AppendEntries, ForwardProposal, Heartbeat, ProposalRefused
from protocol.refusal import Refusal
from protocol.storage.log_store import LogStore
from skiff import NodeStatus
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.stand_in import StandIn

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two of three nodes; tests speak in the name of the third, or of nobody known."""
    directory = tmp_path_factory.mktemp("hostile")
    with Cluster(3, directory=directory) as cluster:
        cluster.kill(cluster.followers()[0])
        with cluster.client(timeout=20) as client:
            client.insert("guard", "before")
        yield cluster


@pytest.fixture
def unharmed(pair: Cluster) -> Iterator[None]:
    """After every test the same leader leads in the same term, and both nodes serve."""
    leader = pair.leader()
    before = status_of(leader)
    pids = [node.actor_pids for node in alive(pair)]
    yield
    with pair.client(timeout=20) as client:
        client.insert("guard", "after")
    assert [node.actor_pids for node in alive(pair)] == pids
    after = status_of(leader)
    assert (after.leader, after.term) == (before.leader, before.term)


@pytest.fixture
def broken(pair: Cluster) -> Iterator[StandIn]:
    """The missing member, as the leader hears it."""
    leader = pair.leader()
    cluster = status_of(leader).cluster_id
    assert cluster is not None
    (missing,) = [node for node in pair.nodes if not node.is_running]
    with StandIn(missing, leader, cluster.bytes) as member:
        yield member


def alive(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes if node.is_running]


def status_of(node: Node) -> NodeStatus:
    status = node.status()
    assert status is not None
    return status


@pytest.mark.usefixtures("unharmed")
def test_a_proposal_that_is_garbage_is_refused_and_logged(pair: Cluster, broken: StandIn) -> None:
    for payload in (b"", b"garbage", b"\x94\xc4\x10"):
        refused = broken.ask(ForwardProposal(7, payload), ProposalRefused)
        assert refused.refusal is Refusal.INVALID
    assert pair.leader().log().count("refused its proposal") == 1


@pytest.mark.usefixtures("unharmed")
def test_a_leader_does_not_follow_another_one_of_its_term(pair: Cluster, broken: StandIn) -> None:
    leader = pair.leader()
    term = status_of(leader).term
    broken.say(AppendEntries(term, 0, 0, (Entry(1, 1, EntryKind.NO_OP),), 0))
    broken.say(Heartbeat(term, 0, 0))
    wait_until(lambda: "speaks as the leader of term" in leader.log(), "it is refused")


def test_a_committed_entry_is_not_replaced(pair: Cluster, broken: StandIn) -> None:
    leader = pair.leader()
    before = status_of(leader)
    replacing = Entry(before.commit_index, before.term + 1, EntryKind.NO_OP)
    broken.say(AppendEntries(before.term + 1, replacing.index - 1, before.term, (replacing,), 0))
    wait_until(lambda: "is committed; it was refused" in leader.log(), "it is told")
    with pair.client(timeout=20) as client:
        assert client.get("guard", str) in ("before", "after")
        client.insert("guard", "after")


@pytest.mark.parametrize("kind", [EntryKind.BATCH, EntryKind.MEMBERSHIP])
def test_a_log_with_an_entry_that_cannot_be_read_is_lived_with(
    tmp_path: Path, kind: EntryKind
) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        (node,) = cluster.nodes
        with node.client() as client:
            client.insert("before", 1)
        node.terminate()
        append_to(node.directory, kind, b"garbage")
        for _ in range(2):
            node.start()
            with node.client(timeout=20) as client:
                assert client.get("before", int) == 1
                client.insert("after", 2)
            assert f"cannot be read as {kind.name}" in node.log()
            node.terminate()


def append_to(directory: Path, kind: EntryKind, payload: bytes) -> None:
    """Append an entry to the log in a directory that no node uses."""
    locked = DataDirectory(str(directory))
    database = RocksDatabase(locked.database, create=False)
    try:
        store = LogStore(database, NodeConfig().log_limits)
        entry = Entry(store.last_index + 1, store.last_term, kind, payload)
        store.append(Append(0, None, (entry,), None))
        database.write(sync=True)
    finally:
        database.close()
        locked.close()
