"""Subscribers that do not read, or subscribe without end: only they themselves suffer."""

import threading
import time
from collections.abc import Iterator

import pytest

from protocol.address import Address, parse_address
from protocol.client_messages import EVENT_TOPIC
from protocol.commands import Inserted
from skiff import StreamClosed, Subscriber
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.raw_client import RawClient
from tests.faults.raw_connection import RawConnection

pytestmark = pytest.mark.cluster

CHANGES = 24_000  # more than 10,000 messages and what the system buffers
FRAME = 100
VALUE = "x" * 1000
DELAY_SECONDS = 1.5  # of other watchers, on a machine that tests share; about 0.15 on one's own
PONG_SECONDS = 0.2


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Cluster(1, directory=tmp_path_factory.mktemp("subscribers")) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
def address(node: Node) -> Address:
    return parse_address(node.address)


class Watching(threading.Thread):
    """Notes when each change has arrived, until the last one."""

    def __init__(self, subscriber: Subscriber, count: int) -> None:
        super().__init__()
        self._subscriber = subscriber
        self._count = count
        self.arrived: list[float] = []
        self.error: StreamClosed | None = None

    def run(self) -> None:
        try:
            while len(self.arrived) < self._count:
                self._subscriber.next_event(30)
                self.arrived.append(time.monotonic())
        except StreamClosed as error:
            self.error = error


def ponging(connection: RawConnection, stop: threading.Event) -> None:
    """Answer pings without reading, until the connection is closed."""
    while not stop.wait(PONG_SECONDS):
        try:
            connection.answer_ping()
        except OSError:
            return


def test_a_subscriber_that_never_reads_does_not_hold_up_the_others(
    node: Node, address: Address
) -> None:
    stop = threading.Event()
    acknowledged: list[float] = []
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
            watching.join(30)
        finally:
            stop.set()
            pings.join()
        assert watching.error is None
        delays = [
            arrived - known for arrived, known in zip(watching.arrived, acknowledged, strict=True)
        ]
        assert max(delays) < DELAY_SECONDS
        wait_until(silent.is_closed, "the one that does not read is closed")
    assert "does not read" in node.log()
