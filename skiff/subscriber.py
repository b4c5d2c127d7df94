"""A stream of changes: what one node applied, in order, without a silent gap."""

import os
import time
from types import TracebackType
from typing import Any, Self

import zmq

from protocol.client_messages import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    Hello,
    Published,
    Welcome,
)
from protocol.wire import PEER_FRAME_BYTES_MAX, decode_established, decode_mark, decode_published
from skiff.caller import Caller
from skiff.errors import RequestTimeout, RPCCallFailed, StreamClosed
from skiff.records import Event, EventKind
from skiff.values import decode_value

NONCE_BYTES = 12
ESTABLISH_SECONDS = 1.0  # for one node, before another one is asked
SILENCE_SECONDS = 5.0  # a node that published not even a mark for so long is gone
LOST_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
POLL_MS = 100
# With reconnection off, ZeroMQ would throw away what has arrived together with a connection that
# is lost, and abort the whole program when that happens in the middle of a message.
NEVER_MS = (1 << 31) - 1


class Subscriber:
    """Changes of the keys under a prefix: all that are made after ``watch`` has returned.

    A node that lags behind may deliver some that were made shortly before, too.

    Iterate for ``Event`` values, or call ``recv`` for written values only. It never ends
    silently: when changes may have been missed, ``StreamClosed`` is raised. Belongs to one
    thread.
    """

    def __init__(self, caller: Caller, prefix: bytes, type_: Any, timeout: float | None) -> None:
        self._caller = caller
        self._prefix = prefix
        self._type = type_
        self._losses = 0
        self._heard_at = time.monotonic()
        self.revision = 0  # of the last change seen, or from which on changes are delivered
        self._establish(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event[Any]:
        """Return the next change, however long that takes.

        Raises:
            StreamClosed: changes may have been missed.
        """
        return self.next_event()

    def recv(self, type: Any = None, timeout: float | None = None) -> tuple[str, Any]:
        """Return key and value of the next write.

        Raises:
            RequestTimeout: there was none in time.
            StreamClosed: changes may have been missed.
            DeserializeFailed: the value is not of the given type.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            published = self._next(deadline)
            if published.value is not None:
                wanted = self._type if type is None else type
                return published.key, decode_value(published.key, published.value, wanted)

    def next_event(self, timeout: float | None = None) -> Event[Any]:
        """Return the next change.

        Raises:
            RequestTimeout: there was none in time.
            StreamClosed: changes may have been missed.
            DeserializeFailed: the value is not of the subscription's type.
        """
        published = self._next(float("inf") if timeout is None else time.monotonic() + timeout)
        value = published.value
        return Event(
            EventKind.REMOVE if value is None else EventKind.INSERT,
            published.key,
            None if value is None else decode_value(published.key, value, self._type),
            published.revision,
            published.prev_revision,
        )

    def close(self) -> None:
        """End the subscription."""
        if not self._socket.closed:  # as it is when the client was closed first
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close(0)

    # --- the stream

    def _next(self, deadline: float) -> Published:
        while not self._socket.closed:
            frames = self._receive(min(deadline, self._heard_at + SILENCE_SECONDS))
            now = time.monotonic()
            if frames is None:
                if now >= deadline:
                    raise RequestTimeout("no change in time")
                self._fail("nothing was heard from the node for too long")
            else:
                self._heard_at = now
                published = self._take(frames)
                if published is not None:
                    return published
        raise StreamClosed("the subscription is closed")

    def _take(self, frames: list[bytes]) -> Published | None:
        """Return the change in a message; a mark only shows that nothing was lost."""
        topic, body = frames
        if topic == MARK_TOPIC:
            self._check_losses(decode_mark(body).losses)
            return None
        if not topic.startswith(EVENT_TOPIC):
            return None
        published = decode_published(body)
        self._check_losses(published.losses)
        if published.revision <= self.revision:
            return None  # from before the subscription was established
        self.revision = published.revision
        return published

    def _check_losses(self, losses: int) -> None:
        if losses != self._losses:
            self._fail("the node could not send all changes")

    def _receive(self, deadline: float) -> list[bytes] | None:
        """Return the next message, or None at the deadline."""
        while True:
            try:
                return self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            ready = dict(self._poller.poll(max(1, min(POLL_MS, int(remaining * 1000)))))
            if self._monitor in ready and self._socket not in ready:
                self._monitor.recv_multipart()
                self._fail("the connection to the node was lost")

    def _fail(self, reason: str) -> None:
        self.close()
        raise StreamClosed(
            f"{reason} after revision {self.revision}; read the keys again and watch anew"
        )

    # --- its beginning

    def _establish(self, timeout: float | None) -> None:
        """Subscribe at one node after another until one confirms it."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while time.monotonic() < deadline:
            welcome = self._caller.call(Hello(), timeout)
            if not isinstance(welcome, Welcome):
                raise RPCCallFailed(f"a greeting was answered with {welcome!r}")
            self._open(welcome.publish_endpoint)
            if self._is_confirmed(min(deadline, time.monotonic() + ESTABLISH_SECONDS)):
                return
            self.close()
            self._caller.move_on()
        raise RequestTimeout("no node confirmed the subscription in time")

    def _open(self, endpoint: str) -> None:
        self._nonce = os.urandom(NONCE_BYTES)
        self._socket = self._caller.new_context().socket(zmq.SUB)
        self._monitor = self._socket.get_monitor_socket(LOST_EVENTS)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # what has arrived is held until it is read
        self._socket.setsockopt(zmq.MAXMSGSIZE, PEER_FRAME_BYTES_MAX)
        self._socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)  # a new connection would hide a gap
        self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        for topic in (EVENT_TOPIC + self._prefix, MARK_TOPIC, ESTABLISHED_TOPIC + self._nonce):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._socket.connect(endpoint)
        self._heard_at = time.monotonic()
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def _is_confirmed(self, deadline: float) -> bool:
        """Wait for the node to say from which revision on it sends everything."""
        try:
            while (frames := self._receive(deadline)) is not None:
                if frames[0] == ESTABLISHED_TOPIC + self._nonce:
                    established = decode_established(frames[1])
                    self._losses, self.revision = established.losses, established.revision
                    self._socket.setsockopt(zmq.UNSUBSCRIBE, frames[0])
                    return True
        except StreamClosed:
            return False
        return False
