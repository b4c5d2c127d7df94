"""Change publisher: the XPUB socket of one node, its subscribers, and what it cannot send yet."""

import logging
from collections import deque

from actors.connections import Connections
from actors.logs import OnceAWhile
from actors.sockets import Port, Readable, Tracker
from protocol.gateway.congestion import Congestion, Load
from protocol.gateway.publisher import Message, Publisher
from protocol.gateway.subscriptions import Subscriptions, is_subscription

TRACKED_BYTES = 8 << 10  # of a message, from which on it counts until all subscribers have it
OUTSTANDING_BYTES_MAX = 64 << 20  # of those messages; then others are held back
LOOK_SECONDS = 0.02  # how often it is looked which subscribers hold up the others

log = logging.getLogger("skiff.change_publisher")


class ChangePublisher:
    """Sends what the core publishes, and closes the connections that keep it from that."""

    def __init__(self, port: Port, connections: Connections, connections_max: int) -> None:
        self._port = port
        self._connections = connections
        self._connections_max = connections_max
        self._closings = OnceAWhile()
        self._subscriptions = Subscriptions()
        self._congestion = Congestion()
        self._outstanding: deque[tuple[Tracker, int]] = deque()
        self._outstanding_bytes = 0
        self._look_at = 0.0
        self.core = Publisher()

    @property
    def has_watchers(self) -> bool:
        """Whether some subscriber wants to hear of changes."""
        return self._subscriptions.has_watchers

    def take_nonces(self, now: float) -> list[bytes]:
        """Take in subscriptions; return the nonces of those that want to be told."""
        # First, as the system gives the descriptor of a lost connection to the next one.
        self._follow_connections(now)
        nonces: list[bytes] = []
        for frame, connection in self._port.drain_from():
            is_lost = self._is_lost(connection, now)
            nonce = self._subscriptions.take(frame, connection, is_lost=is_lost)
            if nonce is not None:
                nonces.append(nonce)
            if not is_subscription(frame) or self._subscriptions.is_excessive(connection):
                self._close(connection, "it subscribes to more than a subscriber may", now)
        return nonces

    def _is_lost(self, connection: int, now: float) -> bool:
        """Whether a connection is gone: the news of its beginning come before its frames."""
        if connection not in self._connections:
            self._follow_connections(now)
        return connection not in self._connections

    def turn(self, readable: Readable, now: float) -> None:
        """Send what can be sent, and see to it that the rest can be sent soon."""
        if self._connections.is_readable(readable):
            self._follow_connections(now)
        self.core.mark(now, has_subscribers=bool(self._subscriptions))
        if not self.core.is_clear:
            self._publish(now)

    def _publish(self, now: float) -> None:
        self._flush()
        if self.core.is_clear:
            self._congestion.end()
        elif self.core.must_release(now):
            self._release_held()
        elif self._look_at <= now:
            self._look_at = now + LOOK_SECONDS
            self._relieve(now)

    def _follow_connections(self, now: float) -> None:
        for descriptor in self._connections.take_in(now):
            self._subscriptions.forget(descriptor)
        closed = self._connections.trim(self._connections_max, now)
        self._log_closing(len(closed), "there are too many", now)

    def _flush(self) -> None:
        while (message := self.core.front) is not None:
            if self._is_saturated() or not self._send(message):
                return
            self.core.sent()

    def _send(self, message: Message) -> bool:
        if len(message.body) < TRACKED_BYTES:
            return self._port.send(message.topic, message.body)
        tracker = self._port.send_tracked(message.topic, message.body)
        if tracker is None:
            return False
        self._outstanding.append((tracker, len(message.body)))
        self._outstanding_bytes += len(message.body)
        return True

    def _is_saturated(self) -> bool:
        """Whether subscribers have too much before them, by bytes and not by messages."""
        while self._outstanding and self._outstanding[0][0].done:
            self._outstanding_bytes -= self._outstanding.popleft()[1]
        return self._outstanding_bytes > OUTSTANDING_BYTES_MAX

    def _relieve(self, now: float) -> None:
        """Close the connections that hold up the others."""
        full = self._connections.full()
        loads = {each: Load(self._connections.acknowledged(each)) for each in full}
        for connection in self._congestion.look(loads, self.core.held_seconds(now), now):
            self._close(connection, "it does not read, and others wait for it", now)

    def _log_closing(self, count: int, reason: str, now: float) -> None:
        if count and self._closings.is_due(now):
            log.warning("closed %d connections of subscribers: %s", count, reason)

    def _close(self, connection: int, reason: str, now: float) -> None:
        self._log_closing(1, reason, now)
        self._connections.close(connection)

    def _release_held(self) -> None:
        """Send to the subscribers that can take it; all of them see that there was a loss."""
        self._port.set_lossy(lossy=True)
        for message in self.core.release():
            if not self._is_saturated():
                self._send(message)
        self._port.set_lossy(lossy=False)
