"""Change publisher: the XPUB socket of one node, its subscribers, and its unsent messages."""

import logging
import time
from collections import deque

from actors.connections import Connections
from actors.logs import OnceAWhile
from actors.port import Port, Readable, Tracker
from protocol.gateway.change_feed import ChangeFeed
from protocol.gateway.congestion import Congestion, Load
from protocol.gateway.publisher import Message
from protocol.gateway.subscriptions import is_request, is_subscription
from protocol.security.gatekeeper import Gatekeeper

TRACKED_BYTES = 8 << 10  # larger messages count until they were sent to all subscribers
OUTSTANDING_BYTES_MAX = 64 << 20  # of tracked messages, beyond which further ones are queued
TURN_SECONDS = 0.01  # for subscriptions: of a flood, each takes libzmq milliseconds
LOOK_SECONDS = 0.02  # between checks for slow subscribers

log = logging.getLogger("skiff.change_publisher")


class ChangePublisher:
    """Sends the core's messages, and disconnects subscribers that delay the others."""

    def __init__(
        self,
        port: Port,
        connections: Connections,
        connections_max: int,
        gatekeeper: Gatekeeper | None,
    ) -> None:
        self._port = port
        self._gatekeeper = gatekeeper
        self._connections = connections
        self._connections_max = connections_max
        self._closings = OnceAWhile()
        self.feed = ChangeFeed()
        self._subscriptions, self._core = self.feed.subscriptions, self.feed.publisher
        self._congestion = Congestion()
        self._outstanding: deque[tuple[Tracker, int]] = deque()
        self._outstanding_bytes = 0
        self._look_at = 0.0

    def take_nonces(self, now: float) -> list[bytes]:
        """Process subscriptions; return the nonces of those that ask for a confirmation."""
        # First, because a new connection may reuse the descriptor of a lost one.
        self._follow_connections(now)
        nonces: list[bytes] = []
        until = time.monotonic() + TURN_SECONDS
        for frame, connection, user_id in self._port.drain_from():
            nonce = self._take(frame, connection, self._user_of(user_id), now)
            if nonce is not None:
                nonces.append(nonce)
            if time.monotonic() > until:
                break  # requests come first; the socket is looked at again
        return nonces

    def _take(self, frame: bytes, connection: int, user: bytes | None, now: float) -> bytes | None:
        """Admit a subscription, or close its connection; return the nonce of a confirmation."""
        is_lost = self._is_lost(connection, now)
        if user is None and is_request(frame):
            self._close(connection, "not authenticated", now)
            return None
        user = user or b""  # ZeroMQ itself takes back the topics of a lost connection
        host = self._connections.origin_of(connection)
        nonce = self._subscriptions.take(frame, connection, user=user, host=host, is_lost=is_lost)
        if not is_subscription(frame) or self._subscriptions.is_excessive(connection):
            self._log_closing(1, "too many subscriptions", now)
            self._connections.bar(connection, now)
        elif self._subscriptions.denies(frame, connection, user):
            self._close(connection, "the user has no right to watch this prefix", now)
            return None
        elif self._port.is_manual:
            self._port.admit(frame)
        return nonce

    def _user_of(self, user_id: str) -> bytes | None:
        """Return the user who subscribes, b"" for one without limits; None must be refused."""
        return b"" if self._gatekeeper is None else self._gatekeeper.user_of(user_id)

    def _is_lost(self, connection: int, now: float) -> bool:
        """Whether a connection is lost; its acceptance is reported before its frames."""
        if connection not in self._connections:
            self._follow_connections(now)
        return connection not in self._connections

    def turn(self, readable: Readable, now: float) -> None:
        """Send queued messages, and disconnect subscribers that delay them."""
        if self._connections.is_readable(readable):
            self._follow_connections(now)
        for connection in self.feed.take_denied():  # before anything else is published
            self._close(connection, "the user has lost the right to watch a prefix", now)
        if not self._connections:
            self._subscriptions.drop_lost()
        self._core.mark(now, has_subscribers=bool(self._subscriptions))
        if not self._core.is_clear:
            self._publish(now)

    def _publish(self, now: float) -> None:
        self._core.flush(self._send)
        if self._core.is_clear:
            self._congestion.end()
        elif self._core.must_release(now):
            self._release_held()
        elif self._look_at <= now:
            self._look_at = now + LOOK_SECONDS
            self._relieve(now)

    def _follow_connections(self, now: float) -> None:
        for descriptor in self._connections.take_in(now):
            self._subscriptions.forget(descriptor)
        closed = self._connections.trim(self._connections_max, now)
        self._log_closing(len(closed), "too many connections", now)

    def _send(self, message: Message) -> bool:
        """Send a message; return False where the pipes are full, or too much is unsent."""
        if self._is_saturated():
            return False
        if len(message.body) < TRACKED_BYTES:
            return self._port.send(message.topic, message.body)
        tracker = self._port.send_tracked(message.topic, message.body)
        if tracker is None:
            return False
        self._outstanding.append((tracker, len(message.body)))
        self._outstanding_bytes += len(message.body)
        return True

    def _is_saturated(self) -> bool:
        """Whether too many bytes of tracked messages are unsent."""
        while self._outstanding and self._outstanding[0][0].done:
            self._outstanding_bytes -= self._outstanding.popleft()[1]
        return self._outstanding_bytes > OUTSTANDING_BYTES_MAX

    def _relieve(self, now: float) -> None:
        """Close the connections that delay all others."""
        full = self._connections.full()
        loads = {each: Load(self._connections.acknowledged(each)) for each in full}
        for connection in self._congestion.look(loads, self._core.held_seconds(now), now):
            self._close(connection, "a subscriber does not read and delays the others", now)

    def _log_closing(self, count: int, reason: str, now: float) -> None:
        if count and self._closings.is_due(now):
            noun = "connection" if count == 1 else "connections"
            log.warning("closed %d subscriber %s: %s", count, noun, reason)

    def _close(self, connection: int, reason: str, now: float) -> None:
        self._log_closing(1, reason, now)
        self._connections.close(connection)

    def _release_held(self) -> None:
        """Send the queue to the subscribers that can take it; all others see a gap."""
        self._port.set_lossy(lossy=True)
        for message in self._core.release():
            self._send(message)
        self._port.set_lossy(lossy=False)
