"""Feed: the SUB socket to one node, shared by the watches of an event loop.

Each message is read once, whatever the number of watches that want it. The socket is read as the
loop reports it; ``ZMQ_FD`` is edge-triggered, so it is read until it is empty.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import zmq

from skiff.async_subscription import AsyncSubscription
from skiff.channel import Channel
from skiff.subscription import BROKEN_EVENTS, CONNECTION_LOST, UNREAD_MAX
from skiff.transport import Transport

TOPICS_MAX = 200  # of one connection; nodes refuse more than 256
TOPIC_BYTES_MAX = 48 << 10  # likewise; nodes refuse more than 64 KiB
READ_MAX = 100  # messages in a row before other tasks run
HEARTBEAT_MS = 2000  # between two pings of an idle connection
HEARTBEAT_TIMEOUT_MS = 2500  # without a reply, after which the connection is lost
EVENTS, READABLE, AT_ONCE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK)  # enums are slow


class Feed:
    """The published messages of one node, and the watches that receive them."""

    def __init__(self, transport: Transport, endpoint: str) -> None:
        """Connect in the background.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(transport, zmq.SUB, BROKEN_EVENTS)
        self._socket, self._monitor = self._channel.socket, self._channel.monitor
        self._socket.setsockopt(zmq.RCVHWM, UNREAD_MAX)
        # A watch that is not read would not notice a dead connection, and keep it for all others.
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._channel.connect(endpoint)
        self._descriptors = self._channel.descriptors
        self._topics: Counter[bytes] = Counter()
        self._topic_bytes = 0
        self._members: dict[AsyncSubscription, None] = {}  # in their order
        self.is_closed = False
        for descriptor, react in zip(
            self._descriptors, (self._read, self._look_for_loss), strict=True
        ):
            self._loop.add_reader(descriptor, react)
            self._loop.call_soon(react)  # ZeroMQ signals nothing before the first look

    @property
    def is_inherited(self) -> bool:
        """Whether the socket was opened by the parent process of this fork."""
        return self._channel.is_inherited

    def has_room(self, prefix_bytes: int) -> bool:
        """Whether the node would accept one more prefix over the same connection."""
        return len(self._topics) < TOPICS_MAX and self._topic_bytes + prefix_bytes < TOPIC_BYTES_MAX

    def add(self, subscription: AsyncSubscription) -> None:
        """Deliver the messages of a subscription's topics from now on."""
        self._members[subscription] = None
        for topic in subscription.topics:
            self._topics[topic] += 1
            if self._topics[topic] == 1:
                self._topic_bytes += len(topic)
                self._socket.setsockopt(zmq.SUBSCRIBE, topic)

    def remove(self, subscription: AsyncSubscription) -> None:
        """Deliver nothing more to a subscription; the last one closes the socket."""
        if self.is_closed or subscription not in self._members:
            return
        del self._members[subscription]
        for topic in subscription.topics:
            self.release(topic)
        if not self._members:
            self.close()

    def release(self, topic: bytes) -> None:
        """Unsubscribe from a topic that no other subscription has."""
        if self.is_closed:
            return
        self._topics[topic] -= 1
        if not self._topics[topic]:
            del self._topics[topic]
            self._topic_bytes -= len(topic)
            self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    def close(self) -> None:
        """Close the socket; idempotent."""
        if not self.is_closed:
            self.is_closed = True
            for descriptor in self._descriptors:  # before their numbers are used again
                self._loop.remove_reader(descriptor)
            self._channel.close()

    # --- receiving

    def _read(self) -> None:
        for _ in range(READ_MAX):
            if self.is_closed or not _is_readable(self._socket):
                return
            message = self._socket.recv_multipart(AT_ONCE)
            for member in tuple(self._members):  # a dropped one may leave meanwhile
                if message[0].startswith(member.topics):
                    member.put(message)
        self._loop.call_soon(self._read)

    def _look_for_loss(self) -> None:
        """End all subscriptions if the connection is lost, after the messages from before that."""
        if self.is_closed or not _is_readable(self._monitor):
            return
        if _is_readable(self._socket):
            self._read()
            self._loop.call_soon(self._look_for_loss)
            return
        self._channel.why_lost()  # notes the failure of a handshake
        self.close()
        for member in tuple(self._members):
            member.end(CONNECTION_LOST)


def _is_readable(socket: "zmq.Socket[bytes]") -> bool:
    return bool(int(socket.getsockopt(EVENTS)) & READABLE)


class Feeds:
    """The feeds of one client, by endpoint."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._feeds: dict[str, Feed] = {}

    def subscribe(
        self, endpoint: str, prefix: bytes, clock: Callable[[], float], *, prev_value: bool
    ) -> AsyncSubscription:
        """Subscribe to a node, which confirms later.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        feed = self._feeds.get(endpoint)
        if feed is None or feed.is_closed or not feed.has_room(len(prefix)):
            feed = self._feeds[endpoint] = Feed(self._transport, endpoint)
        return AsyncSubscription(feed, prefix, clock, prev_value=prev_value)
