"""Subscriber: a stream of changes, as one node applied them, in order, without a silent gap."""

import os
import threading
import time
from types import TracebackType
from typing import Any, NoReturn, Self

import zmq

from protocol.messages.client import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    Hello,
    Published,
    Welcome,
)
from protocol.wire import decode_established, decode_mark, decode_published
from skiff.bound import BoundToProcess
from skiff.caller import Caller
from skiff.errors import ClientClosed, RequestTimeout, RPCCallFailed, StreamClosed
from skiff.records import Event, EventKind
from skiff.transport import CLOSE_SECONDS, SLICE_MS, Channel
from skiff.values import decode_value

NONCE_BYTES = 12
ESTABLISH_SECONDS = 1.0  # for one node, before another one is asked
SILENCE_SECONDS = 5.0  # a node that published not even a mark for so long is gone
LOST_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
# With reconnection off, ZeroMQ would throw away what has arrived together with a connection that
# is lost, and abort the whole program when that happens in the middle of a message.
NEVER_MS = (1 << 31) - 1


class Subscriber(BoundToProcess):
    """Changes of the keys under a prefix: all that are made after ``watch`` has returned.

    A node that lags behind may deliver some that were made shortly before, too.

    Iterate for ``Event`` values, or call ``recv`` for written values only. It never ends
    silently: when changes may have been missed, ``StreamClosed`` is raised, and ``ClientClosed``
    when the subscriber or its client was closed. One thread at a time receives; any may close.
    """

    def __init__(self, caller: Caller, prefix: bytes, type_: Any, timeout: float | None) -> None:
        self._caller = caller
        self._prefix = prefix
        self._type = type_
        self._losses = 0
        self._heard_at = time.monotonic()
        self._closed = False
        self._failure = ""  # why the stream has ended by itself
        self._receiving = threading.Lock()
        self.revision = 0  # of the last change seen, or from which on changes are delivered
        with caller.transport:
            self._establish(timeout)

    def __repr__(self) -> str:
        ended = ", closed" if self._closed or self._failure else ""
        prefix = self._prefix.decode()
        return f"<Subscriber of {prefix!r} at revision {self.revision}{ended}>"

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
            ClientClosed: the subscriber or its client is closed.
        """
        return self.next_event()

    def recv(self, type: Any = None, timeout: float | None = None) -> tuple[str, Any]:
        """Return key and value of the next write.

        Raises:
            RequestTimeout: there was none in time.
            StreamClosed: changes may have been missed.
            ClientClosed: the subscriber or its client is closed.
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
            ClientClosed: the subscriber or its client is closed.
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
        """End the subscription, also while another thread receives."""
        self._closed = True
        if self._channel.is_inherited:
            return
        # Where that thread does not notice it in time, it closes the channel when it does.
        if self._receiving.acquire(timeout=CLOSE_SECONDS):
            self._channel.close()
            self._receiving.release()

    # --- the stream

    def _next(self, deadline: float) -> Published:
        if self._channel.is_inherited:
            raise StreamClosed("the subscription belongs to the process that was forked")
        with self._caller.transport, self._receiving:
            try:
                return self._next_published(deadline)
            finally:
                if self._closed:
                    self._channel.close()

    def _next_published(self, deadline: float) -> Published:
        while True:
            frames = self._receive(min(deadline, self._heard_at + SILENCE_SECONDS))
            now = time.monotonic()
            if frames is None:
                if now >= deadline:
                    raise RequestTimeout("no change in time")
                self._fail("nothing was heard from the node for too long")
            else:
                self._heard_at = now
                published = self._understand(frames)
                if published is not None:
                    return published

    def _understand(self, frames: list[bytes]) -> Published | None:
        try:
            return self._take(frames)
        except ValueError as error:  # Malformed, or another number of frames
            self._fail(f"the node published what is no change ({error})")

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
            self._check_open()
            try:
                return self._channel.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            ready = dict(self._poller.poll(max(1, min(SLICE_MS, int(remaining * 1000)))))
            if self._channel.monitor in ready and self._channel.socket not in ready:
                self._fail("the connection to the node was lost")

    def _check_open(self) -> None:
        if self._failure:
            raise StreamClosed(self._failure)
        if self._closed or self._caller.transport.closed:
            raise ClientClosed("the subscription is closed")

    def _fail(self, reason: str) -> NoReturn:
        """End the stream."""
        self._channel.close()
        self._failure = (
            f"{reason} after revision {self.revision}; read the keys again and watch anew"
        )
        raise StreamClosed(self._failure)

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
            self._channel.close()
            self._caller.move_on()
        raise RequestTimeout("no node confirmed the subscription in time")

    def _open(self, endpoint: str) -> None:
        self._nonce = os.urandom(NONCE_BYTES)
        self._failure = ""
        self._channel = Channel(self._caller.transport, zmq.SUB, LOST_EVENTS)
        socket = self._channel.socket
        socket.setsockopt(zmq.RCVHWM, 0)  # what has arrived is held until it is read
        socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)  # a new connection would hide a gap
        for topic in (EVENT_TOPIC + self._prefix, MARK_TOPIC, ESTABLISHED_TOPIC + self._nonce):
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._channel.connect(endpoint)
        self._heard_at = time.monotonic()
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._channel.monitor, zmq.POLLIN)

    def _is_confirmed(self, deadline: float) -> bool:
        """Wait for the node to say from which revision on it sends everything."""
        try:
            while (frames := self._receive(deadline)) is not None:
                if frames[0] == ESTABLISHED_TOPIC + self._nonce:
                    established = decode_established(frames[1])
                    self._losses, self.revision = established.losses, established.revision
                    self._channel.socket.setsockopt(zmq.UNSUBSCRIBE, frames[0])
                    return True
        except StreamClosed:
            return False
        return False
