"""The publishing of changes: every subscriber gets each change under its prefix, or knows better.

A subscriber that does not read fills its pipe. Changes then wait here for a bounded time, in
which ZeroMQ's heartbeats usually disconnect it; after that they are sent to whoever can take
them, and the loss counter in everything published from then on tells the others.
"""

from collections import deque

from actors.sockets import Port
from protocol.client_messages import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    Established,
    Mark,
    Published,
)
from protocol.commands import Event
from protocol.node_messages import Following
from protocol.wire import encode

MARK_SECONDS = 0.5
HELD_BACK_SECONDS = 4.0
HELD_BACK_MAX = 50_000  # changes
RETRY_SECONDS = 0.005

NEVER = float("inf")


class ChangePublisher:
    """The XPUB socket of one node, and what waits to go out through it."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._topics: set[bytes] = set()
        self._held_back: deque[tuple[bytes, bytes]] = deque()
        self._held_since = NEVER
        self._losses = 0
        self._revision = 0
        self._mark_at = NEVER

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody wants to hear of changes."""
        return any(topic.startswith(EVENT_TOPIC) for topic in self._topics)

    def take_nonces(self) -> list[bytes]:
        """Take in subscriptions; return the nonces of those that want to be told."""
        nonces: list[bytes] = []
        for frame, *_ in self._port.drain():
            subscribes, topic = frame[:1] == b"\1", frame[1:]
            if not subscribes:
                self._topics.discard(topic)
                continue
            self._topics.add(topic)
            if topic.startswith(ESTABLISHED_TOPIC):
                nonces.append(topic[len(ESTABLISHED_TOPIC) :])
        return nonces

    def establish(self, following: Following, now: float) -> None:
        """Tell a subscriber from which revision on it hears everything."""
        self._revision = max(self._revision, following.revision)
        self._mark_at = min(self._mark_at, now + MARK_SECONDS)
        body = encode(Established(self._losses, following.revision))
        self._send(ESTABLISHED_TOPIC + following.nonce, body, now)

    def publish(self, events: tuple[Event, ...], now: float) -> None:
        """Publish changes in the order in which they were applied."""
        for event in events:
            body = Published(
                self._losses, event.revision, event.key, event.value, event.prev_revision
            )
            self._send(EVENT_TOPIC + event.key.encode(), encode(body), now)
        self._revision = events[-1].revision

    def lose(self, revision: int, now: float) -> None:
        """Let everybody see that changes up to a revision will not come."""
        self._losses += 1
        self._revision = max(self._revision, revision)
        self._mark_at = now

    def next_deadline(self, now: float) -> float:
        """Return when ``turn`` should be called though nothing has happened."""
        return min(self._mark_at, now + RETRY_SECONDS if self._held_back else NEVER)

    def turn(self, now: float) -> None:
        """Try again to send what was held back; mark how far everything is published."""
        while self._held_back and self._port.send(*self._held_back[0]):
            self._held_back.popleft()
            self._held_since = now
        if self._held_back and self._must_let_go(now):
            self._let_go()
        if self._mark_at <= now:
            self._mark_at = now + MARK_SECONDS if self._topics else NEVER
            self._send(MARK_TOPIC, encode(Mark(self._losses, self._revision)), now)

    def _send(self, topic: bytes, body: bytes, now: float) -> None:
        if not self._held_back and self._port.send(topic, body):
            return
        if not self._held_back:
            self._held_since = now
        self._held_back.append((topic, body))

    def _must_let_go(self, now: float) -> bool:
        return now - self._held_since > HELD_BACK_SECONDS or len(self._held_back) > HELD_BACK_MAX

    def _let_go(self) -> None:
        """Send to whoever can take it; from now on everybody sees that there was a loss."""
        self._losses += 1
        self._port.set_lossy(lossy=True)
        while self._held_back:
            self._port.send(*self._held_back.popleft())
        self._port.set_lossy(lossy=False)
