"""Subscriptions: the topics that each subscriber's connection has, within bounds.

ZeroMQ keeps a tree of all topics that takes about 40 bytes for each byte of a topic.
"""

from collections import Counter

import msgspec

from protocol.client_messages import ESTABLISHED_TOPIC, EVENT_TOPIC

TOPICS_MAX = 256  # of one connection
TOPIC_BYTES_MAX = 64 << 10  # of one connection
TOTAL_TOPIC_BYTES_MAX = 4 << 20
TOPIC_OVERHEAD_BYTES = 16  # what the shortest topic counts for, besides its own bytes

UNSUBSCRIBE, SUBSCRIBE = b"\0", b"\1"


class _Topics(msgspec.Struct):
    """What one connection has subscribed to."""

    count: int = 0
    bytes: int = 0


class Subscriptions:
    """The topics of all connections to one publisher."""

    def __init__(self) -> None:
        self._topics: Counter[bytes] = Counter()
        self._watched = 0  # topics of changes among them
        self._bytes = 0
        self._connections: dict[int, _Topics] = {}

    @property
    def has_watchers(self) -> bool:
        """Whether some subscriber wants to hear of changes."""
        return self._watched > 0

    def __bool__(self) -> bool:
        return bool(self._topics)

    def take(self, frame: bytes, connection: int) -> bytes | None:
        """Take in a frame of a connection; return the nonce if its subscription is to be told."""
        topic = frame[1:]
        if frame[:1] == UNSUBSCRIBE:
            self._remove(topic, connection)
        if frame[:1] != SUBSCRIBE:
            return None
        self._add(topic, connection)
        if topic.startswith(ESTABLISHED_TOPIC) and not self.is_excessive(connection):
            return topic[len(ESTABLISHED_TOPIC) :]
        return None

    def is_excessive(self, connection: int) -> bool:
        """Whether a connection has subscribed to so much that it must be closed."""
        topics = self._connections.get(connection)
        if topics is None:
            return False
        return (
            topics.count > TOPICS_MAX
            or topics.bytes > TOPIC_BYTES_MAX
            or self._bytes > TOTAL_TOPIC_BYTES_MAX
        )

    def forget(self, connection: int) -> None:
        """Forget a connection that is gone; its topics are taken back one by one."""
        self._connections.pop(connection, None)

    def _add(self, topic: bytes, connection: int) -> None:
        self._topics[topic] += 1
        if self._topics[topic] == 1:
            self._watched += topic.startswith(EVENT_TOPIC)
            self._bytes += _weight(topic)
        topics = self._connections.setdefault(connection, _Topics())
        topics.count += 1
        topics.bytes += _weight(topic)

    def _remove(self, topic: bytes, connection: int) -> None:
        if topic not in self._topics:
            return
        self._topics[topic] -= 1
        if not self._topics[topic]:
            del self._topics[topic]
            self._watched -= topic.startswith(EVENT_TOPIC)
            self._bytes -= _weight(topic)
        topics = self._connections.get(connection)
        if topics is not None:
            topics.count -= 1
            topics.bytes -= _weight(topic)


def is_subscription(frame: bytes) -> bool:
    """Whether a frame is what a subscriber may send: a topic that begins or ends."""
    return frame[:1] in (UNSUBSCRIBE, SUBSCRIBE)


def _weight(topic: bytes) -> int:
    return len(topic) + TOPIC_OVERHEAD_BYTES
