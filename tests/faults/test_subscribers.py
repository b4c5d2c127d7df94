"""Misbehaving subscribers: one that does not read, or subscribes endlessly, harms only itself."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from protocol.address import Address, parse_address
from protocol.messages.client import EVENT_TOPIC
from protocol.state.commands import Inserted
from skiff import Subscriber
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.keyed import secure_client
from tests.cluster.raw_client import RawClient
from tests.faults.memory import resident_bytes
from tests.faults.raw_connection import MORE, RawConnection, frame

pytestmark = pytest.mark.cluster

CHANGES = 24_000  # more than 10,000 messages and what the system buffers
FRAME = 100
VALUE = "x" * 1000
FLOOD_SECONDS = 4.0
DELAY_SECONDS = 1.5  # of other watchers on a shared machine; about 0.15 on a dedicated one
PONG_SECONDS = 0.2
QUEUED_RESIDENT_MAX = 62 << 20  # the process, and 10,000 messages of 1 kB; not all 24,000
TOPICS_RESIDENT_MAX = 300 << 20
ENDLESS_RESIDENT_MAX = 1200 << 20  # the replicator's alarm begins at 0.7 GiB, the gateway's at half


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Cluster(1, directory=tmp_path_factory.mktemp("subscribers")) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
def address(node: Node) -> Address:
    return parse_address(node.address)


class Watching(threading.Thread):
    """Notes the arrival of each change."""

    def __init__(self, subscriber: Subscriber, count: int) -> None:
        super().__init__()
        self._subscriber = subscriber
        self._count = count
        self.arrived: list[float] = []

    def run(self) -> None:
        while len(self.arrived) < self._count:
            self._subscriber.next_event(30)
            self.arrived.append(time.monotonic())


def ponging(connection: RawConnection, stop: threading.Event) -> None:
    """Send pongs without reading, until the connection is closed."""
    while not stop.wait(PONG_SECONDS):
        try:
            connection.answer_ping()
        except OSError:
            return


@pytest.mark.plain
def test_a_subscriber_that_never_reads_is_closed_and_delays_no_other(
    node: Node, address: Address
) -> None:
    stop = threading.Event()
    acknowledged: list[float] = []
    resident: list[int] = []
    with (
        node.client(timeout=30) as client,
        client.watch("flood/") as subscriber,
        RawConnection(address.publish_endpoint, b"SUB") as silent,
        RawClient(node) as writer,
    ):
        silent.subscribe(EVENT_TOPIC + b"flood/")
        pings = threading.Thread(target=ponging, args=(silent, stop))
        watching = Watching(subscriber, CHANGES)
        pings.start()
        watching.start()
        try:
            for first in range(0, CHANGES, 4 * FRAME):
                keys = [f"flood/{number % 100}" for number in range(first, first + 4 * FRAME)]
                outcomes = writer.insert_many([(key, VALUE) for key in keys], FRAME)
                assert {type(each) for each in outcomes} == {Inserted}
                acknowledged += [time.monotonic()] * len(keys)
                resident.append(resident_bytes(node, "client_gateway"))
            watching.join(30)
        finally:
            stop.set()
            pings.join()
        delays = [
            arrived - known for arrived, known in zip(watching.arrived, acknowledged, strict=True)
        ]
        assert max(delays) < DELAY_SECONDS
        assert max(resident) < QUEUED_RESIDENT_MAX, "what waits for the one that does not read"
        wait_until(silent.is_closed, "the one that does not read is closed")
    assert "does not read" in node.log()


@pytest.mark.plain
def test_a_connection_with_endless_subscriptions_is_closed(node: Node, address: Address) -> None:
    pids = node.actor_pids
    with node.client(timeout=20) as client, client.watch("topics/") as subscriber:
        with RawConnection(address.publish_endpoint, b"SUB") as endless:
            with contextlib.suppress(OSError):
                for number in range(20_000):  # 80 MB
                    endless.subscribe(EVENT_TOPIC + (b"%08d" % number) * 500)
            client.insert("topics/key", 1)
            assert subscriber.recv(int, timeout=20) == ("topics/key", 1)
            wait_until(endless.is_closed, "the connection is closed")
        assert resident_bytes(node, "client_gateway") < TOPICS_RESIDENT_MAX
    assert node.actor_pids == pids


def test_a_flood_of_short_subscribers_ends_no_actor_and_others_are_served(
    node: Node, address: Address
) -> None:
    pids = node.actor_pids
    topics = [EVENT_TOPIC + number.to_bytes(2, "big") * 30 for number in range(300)]
    served = 0
    with node.client(timeout=20) as client, zmq.Context() as context:
        until = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < until:
            flooding = context.socket(zmq.SUB)
            flooding.setsockopt(zmq.LINGER, 0)
            secure_client(flooding)
            flooding.connect(address.publish_endpoint)
            for topic in topics:
                flooding.subscribe(topic)
            served = client.insert("key", served)
            flooding.close()
        with client.watch("topics/") as subscriber:
            client.insert("topics/key", 1)
            assert subscriber.recv(int, timeout=20) == ("topics/key", 1)
    assert served > FLOOD_SECONDS
    assert node.actor_pids == pids


@pytest.mark.plain
@pytest.mark.skipif(sys.platform != "linux", reason="the system tells what a connection brings")
@pytest.mark.parametrize("endpoint", ["client_endpoint", "publish_endpoint", "peer_endpoint"])
def test_an_endless_message_uses_bounded_memory(
    node: Node, address: Address, endpoint: str
) -> None:
    pids = node.actor_pids
    actor = "log_replicator" if endpoint == "peer_endpoint" else "client_gateway"
    kind = b"SUB" if endpoint == "publish_endpoint" else b"DEALER"
    one_byte_each = frame(b"x", MORE) * 30_000
    with RawConnection(getattr(address, endpoint), kind) as endless:
        endless.socket.settimeout(1)
        with contextlib.suppress(OSError):  # it is closed, or its buffer is full
            for _ in range(2000):  # 60 million frames, for which ZeroMQ takes 3.6 GB
                endless.socket.sendall(one_byte_each)
        assert resident_bytes(node, actor) < ENDLESS_RESIDENT_MAX
    with node.client(timeout=20) as client:
        assert client.insert("key", 1)
    assert node.actor_pids == pids
