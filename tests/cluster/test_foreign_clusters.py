"""Foreign clusters: a foreign node at a member's address misleads no client."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from skiff import AsyncClient, Client, ClientConnectFailed, RequestTimeout
from skiff.testing import Cluster, Node
from tests.cluster import command
from tests.cluster.asyncio_client import run, until

pytestmark = pytest.mark.cluster

READERS, WRITES = 10, 30
CHUNK_BYTES = 65536


class Forwarder:
    """Forwards the connections of one local port to another.

    With it, a node serves clients at a member's address, while the other members do not reach it.
    """

    def __init__(self, port: int, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", port))
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and end all connections."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._ends += (here, there)
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while received := source.recv(CHUNK_BYTES):
            target.sendall(received)
        target.shutdown(socket.SHUT_RDWR)


class Haunted:
    """Three members with a key, one of them down, and a foreign node at its address."""

    def __init__(self, cluster: Cluster, ghost: Node) -> None:
        self.cluster = cluster
        self.ghost = ghost
        self.taken = cluster.nodes[0].address
        self.others = [node.address for node in cluster.nodes[1:]]


@pytest.fixture(scope="module")
def haunted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Haunted]:
    with (
        Cluster(3, directory=tmp_path_factory.mktemp("real")) as cluster,
        Cluster(1, directory=tmp_path_factory.mktemp("ghost")) as foreign,
    ):
        with cluster.client(timeout=20) as client:
            client.insert("key", "value")
        cluster.kill(cluster.nodes[0])
        forwarder = Forwarder(cluster.nodes[0].port, foreign.nodes[0].port)
        cluster.leader()
        yield Haunted(cluster, foreign.nodes[0])
        forwarder.close()


def test_new_clients_avoid_a_foreign_node_at_a_members_address(haunted: Haunted) -> None:
    addresses = [haunted.taken, *haunted.others]
    for number in range(READERS):
        with Client(addresses, timeout=20, follow_leader=number % 2 == 0) as client:
            assert client.get("key") == "value"
    for number in range(WRITES):
        with Client(addresses, timeout=20) as client:
            client.insert(f"written/{number}", number)
    with Client(haunted.others, timeout=20) as client:
        assert len(client.list_keys("written/")) == WRITES
    status = haunted.ghost.status()
    assert status is not None
    assert status.revision == 0, "nothing was written at the foreign node"


def test_a_client_that_switches_nodes_writes_nothing_to_a_foreign_cluster(haunted: Haunted) -> None:
    for number in range(20):  # both clusters use the same session numbers
        with haunted.ghost.client() as foreign:
            foreign.insert(f"own/{number}", number)
    addresses = [haunted.taken, *haunted.others]
    with Client(addresses, timeout=20, follow_leader=False) as client:
        for number in range(9):
            client.insert(f"moved/{number}", number)
            client._caller.move_on()
    with haunted.ghost.client() as foreign, Client(haunted.others, timeout=20) as client:
        assert foreign.list_keys("moved/") == []
        assert len(client.list_keys("moved/")) == 9


def test_a_foreign_node_at_a_lost_nodes_address_receives_no_write(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def use(lost: Cluster, foreign: Node) -> None:
        node = lost.nodes[0]
        with Client(node.address, timeout=1.0) as blocking:
            async with AsyncClient(node.address, timeout=1.0) as client:
                await client.insert("async", 1)
                blocking.insert("blocking", 1)
                await asyncio.to_thread(lost.kill, node)
                await until(lambda: _has_noticed_a_loss(client))
                forwarder = Forwarder(node.port, foreign.port)
                with pytest.raises(ClientConnectFailed, match="belongs to cluster"):
                    await client.insert("async", 2)
                with pytest.raises(ClientConnectFailed, match="belongs to cluster"):
                    blocking.insert("blocking", 2)
                forwarder.close()

    with (
        Cluster(1, directory=tmp_path_factory.mktemp("lost")) as lost,
        Cluster(1, directory=tmp_path_factory.mktemp("other")) as other,
    ):
        foreign = other.nodes[0]
        for number in range(9):  # both clusters use the same session numbers
            with foreign.client() as client:
                client.insert("own", number)
        run(use(lost, foreign))
        with foreign.client() as client:
            assert client.list_keys() == ["own"]


def _has_noticed_a_loss(client: AsyncClient) -> bool:
    return any(connection.is_lost for connection in client._caller._nodes.values())


def test_a_leadership_transfer_never_goes_to_a_foreign_cluster(haunted: Haunted) -> None:
    with Client([haunted.taken, *haunted.others], timeout=20) as client:
        led = client.transfer_leadership()
        assert led in {node.id for node in haunted.cluster.nodes}


def test_a_client_that_knows_only_the_foreign_address_reads_from_it(haunted: Haunted) -> None:
    with Client([haunted.taken]) as client:
        assert client.get("key") is None


def test_addresses_split_evenly_between_two_clusters_are_a_contradiction(
    haunted: Haunted, tmp_path: Path
) -> None:
    with (
        Cluster(1, directory=tmp_path) as third,
        Client([haunted.ghost.address, third.nodes[0].address], timeout=1) as client,
        pytest.raises(ClientConnectFailed, match="belong to different clusters"),
    ):
        client.insert("key", "nowhere")


def test_a_foreign_node_is_not_trusted_while_the_members_are_silent(haunted: Haunted) -> None:
    for node in haunted.cluster.nodes[1:]:
        haunted.cluster.pause(node)
    try:
        with (
            Client([haunted.taken, *haunted.others], timeout=1) as client,
            pytest.raises((ClientConnectFailed, RequestTimeout)),
        ):
            client.get("key")
    finally:
        for node in haunted.cluster.nodes[1:]:
            haunted.cluster.resume(node)
        haunted.cluster.leader()


def test_commands_report_a_foreign_cluster(haunted: Haunted) -> None:
    url = ",".join([haunted.taken, *haunted.others])
    ghost = haunted.ghost.status()
    assert ghost is not None
    shown = command.run("status", "--url", url)
    assert shown.returncode == 5
    row = next(line for line in shown.stdout.decode().splitlines() if haunted.taken in line)
    assert " foreign " in row
    assert f"foreign cluster at {haunted.taken}" in shown.stdout.decode()
    reason = f"a node of another cluster answers at {haunted.taken}"
    assert shown.stderr.decode() == f"skiff: error: {reason}\n"
    listed = command.run("member", "list", "--url", url)
    assert listed.returncode == 5
    assert all(node.address in listed.stdout.decode() for node in haunted.cluster.nodes)
    assert reason in listed.stderr.decode()
    judged = command.run("health", "--json", "--url", url)
    assert judged.returncode == 5
    report = msgspec.json.decode(judged.stdout)
    (foreign,) = (each for each in report["findings"] if each["check"] == "foreign")
    assert (report["severity"], foreign["address"]) == ("critical", haunted.taken)
    assert str(ghost.cluster_id) in foreign["message"]


def test_status_shows_a_given_address_of_another_cluster(haunted: Haunted) -> None:
    url = ",".join([*haunted.others, haunted.ghost.address])
    shown = command.run("status", "--json", "--url", url)
    assert shown.returncode == 5
    (row,) = (
        each
        for each in msgspec.json.decode(shown.stdout)["members"]
        if each["address"] == haunted.ghost.address
    )
    assert row["standing"] == "foreign"
