"""Feed: each watch gets its own messages of one node, and learns of the end of the connection."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import zmq

from protocol.client.changes import StreamBroken
from protocol.messages.client import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    Established,
    Mark,
    Published,
)
from protocol.wire import encode
from skiff import async_subscription, feed
from skiff.async_subscription import AsyncSubscription, FellBehind
from skiff.feed import Feeds
from skiff.subscription import CONNECTION_LOST
from skiff.transport import Transport

SECONDS = 10.0


class Publisher:
    """A node's publishing socket, driven by a test."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._asked: set[bytes] = set()  # topics that were ever subscribed to

    async def confirm(self, subscription: AsyncSubscription) -> None:
        """Confirm a subscription once it has arrived."""
        confirmation = subscription.topics[-1]
        assert confirmation.startswith(ESTABLISHED_TOPIC)
        while confirmation not in self._asked:
            await asyncio.sleep(0.001)
            while self._socket.poll(0):
                self._asked.add(self._socket.recv()[1:])
        self._socket.send_multipart([confirmation, encode(Established(0, 1))])

    def publish(self, key: str) -> None:
        """Publish an insert."""
        body = encode(Published(0, 2, key, b"v", 0, 0, True))
        self._socket.send_multipart([EVENT_TOPIC + key.encode(), body])

    def mark(self, revision: int) -> None:
        """Publish a mark."""
        self._socket.send_multipart([MARK_TOPIC, encode(Mark(0, revision))])

    def close(self) -> None:
        self._context.destroy(linger=1000)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


def subscribe(feeds: Feeds, endpoint: str, prefix: bytes = b"k/") -> AsyncSubscription:
    clock = asyncio.get_running_loop().time
    return feeds.subscribe(endpoint, prefix, clock, prev_value=False)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what holds is inside the feed, which has no event
        await asyncio.sleep(0.001)


async def next_message(subscription: AsyncSubscription) -> list[bytes]:
    """Return the next message once it has arrived."""
    while (message := subscription.take()) is None:
        await subscription.wait(asyncio.get_running_loop().time() + SECONDS)
    return message


async def established(publisher: Publisher, subscription: AsyncSubscription) -> None:
    await publisher.confirm(subscription)
    while not subscription.stream.is_established:
        subscription.take_confirmation(await next_message(subscription))


def test_watches_of_a_node_share_a_socket_and_get_their_own_messages(
    publisher: Publisher, transport: Transport
) -> None:
    async def use() -> None:
        feeds = Feeds(transport)
        first = subscribe(feeds, publisher.endpoint, b"a/")
        second = subscribe(feeds, publisher.endpoint, b"b/")
        assert first._feed is second._feed
        await established(publisher, first)
        await established(publisher, second)
        publisher.publish("b/1")
        publisher.publish("a/1")
        assert (await next_message(first))[0] == EVENT_TOPIC + b"a/1"
        assert (await next_message(second))[0] == EVENT_TOPIC + b"b/1"
        first.close()
        assert not second._feed.is_closed
        second.close()
        assert second._feed.is_closed

    asyncio.run(asyncio.wait_for(use(), SECONDS))


def test_a_connection_that_is_lost_right_after_the_confirmation_ends_the_stream(
    publisher: Publisher, transport: Transport
) -> None:
    async def use() -> None:
        subscription = subscribe(Feeds(transport), publisher.endpoint)
        await publisher.confirm(subscription)
        publisher.close()
        await until(lambda: subscription._feed.is_closed)
        subscription.take_confirmation(await next_message(subscription))
        assert subscription.stream.is_established
        with pytest.raises(StreamBroken, match=CONNECTION_LOST):
            subscription.take()

    asyncio.run(asyncio.wait_for(use(), SECONDS))


class Firewall:
    """The way to a publisher, which can drop all that is sent and close no connection."""

    def __init__(self, endpoint: str) -> None:
        self._port = int(endpoint.rpartition(":")[2])
        self._passes = True
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen, and return the endpoint."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def drop_all(self) -> None:
        """Drop what is sent from now on."""
        self._passes = False

    def close(self) -> None:
        """Close all connections."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        with suppress(ConnectionError):
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            if self._passes:
                to.write(data)


def test_a_dead_connection_ends_the_stream_of_a_watch_that_is_not_read(
    publisher: Publisher, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_MS", 50)
    monkeypatch.setattr(feed, "HEARTBEAT_TIMEOUT_MS", 200)

    async def use() -> None:
        firewall = Firewall(publisher.endpoint)
        subscription = subscribe(Feeds(transport), await firewall.open())
        await established(publisher, subscription)
        firewall.drop_all()
        await until(lambda: subscription._feed.is_closed)
        with pytest.raises(StreamBroken, match=CONNECTION_LOST):
            subscription.take()
        firewall.close()

    asyncio.run(asyncio.wait_for(use(), SECONDS))


def test_a_watch_that_is_not_read_does_not_fall_behind_by_marks(
    publisher: Publisher, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_subscription, "UNREAD_MAX", 5)

    async def use() -> None:
        subscription = subscribe(Feeds(transport), publisher.endpoint)
        await established(publisher, subscription)
        publisher.publish("k/1")
        for revision in range(2, 20):
            publisher.mark(revision)
        publisher.publish("k/2")
        await until(lambda: len(subscription._messages) == 3)
        taken = [subscription.stream.take(subscription.take() or [], 0.0) for _ in range(3)]
        assert taken[1] == Mark(0, 19)

    asyncio.run(asyncio.wait_for(use(), SECONDS))


def test_a_watch_that_falls_behind_gets_no_more_and_delays_no_other(
    publisher: Publisher, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_subscription, "UNREAD_MAX", 5)

    async def use() -> None:
        feeds = Feeds(transport)
        slow, quick = (subscribe(feeds, publisher.endpoint) for _ in range(2))
        await established(publisher, slow)
        await established(publisher, quick)
        for number in range(10):
            publisher.publish(f"k/{number}")
            await next_message(quick)
        kept = [await next_message(slow) for _ in range(5)]
        assert kept[-1][0] == EVENT_TOPIC + b"k/4"
        with pytest.raises(FellBehind):
            slow.take()

    asyncio.run(asyncio.wait_for(use(), SECONDS))
