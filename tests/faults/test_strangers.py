"""Strangers: what they send before the handshake takes little memory, and disturbs no one."""

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from protocol.wire import PEER_FRAME_BYTES_MAX, REQUEST_BYTES_MAX
from skiff.testing import Cluster, wait_until
from tests.faults.memory import resident_bytes
from tests.faults.strangers import Flood, Peak, Strangers, endless_message, huge_command

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.alone,  # it takes all that the network of this machine has
    pytest.mark.skipif(sys.platform != "linux", reason="the system tells what a connection brings"),
]

COUNT = 100  # connections at a time
SECONDS = 4.0
TIMEOUT = 3.0  # of each insert
RESIDENT_MAX = 256 << 20
RESIDENT_AFTERWARDS_MAX = 80 << 20
CLIENT_PORT, PEER_PORT = 0, 2  # after the port of the node


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("strangers"), keys=True) as cluster:
        yield cluster


@pytest.mark.parametrize("flood", [huge_command, endless_message])
@pytest.mark.parametrize(
    ("port", "actor", "size"),
    [
        (CLIENT_PORT, "client_gateway", REQUEST_BYTES_MAX),
        (PEER_PORT, "log_replicator", PEER_FRAME_BYTES_MAX),
    ],
)
def test_a_flood_before_the_handshake_is_closed_early_and_members_and_clients_are_not(
    cluster: Cluster, port: int, actor: str, size: int, flood: Callable[[int], Flood]
) -> None:
    leader = cluster.leader()
    before, pids = leader.status(), leader.actor_pids
    assert before is not None
    with cluster.client(timeout=TIMEOUT) as client:
        assert client.insert("key", 0)
        with (
            Peak(leader, actor) as peak,
            Strangers(leader.port + port, flood(size), COUNT) as strangers,
        ):
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                assert client.insert("key", 1), "it is answered in time"
    after = leader.status()
    assert after is not None
    assert (after.leader, after.term, leader.actor_pids) == (before.leader, before.term, pids)
    assert strangers.made > COUNT, "the node has closed some"
    assert peak.bytes < RESIDENT_MAX
    wait_until(
        lambda: resident_bytes(leader, actor) < RESIDENT_AFTERWARDS_MAX, "memory is returned"
    )
