"""Subscriber: the changes of the keys under a prefix, in order and without silent gaps."""

import threading
import time
from types import TracebackType
from typing import Any, NoReturn, Self

import zmq

from protocol.client.changes import ESTABLISH_SECONDS, ChangeStream, StreamBroken
from protocol.deadlines import NEVER, deadline_of
from protocol.messages.client import Hello, Published, Welcome
from skiff.arguments import check_wait
from skiff.bound import BoundToProcess
from skiff.caller import Caller
from skiff.errors import ClientClosed, RequestTimeout, RPCCallFailed, StreamClosed
from skiff.records import Event
from skiff.subscription import CONNECTION_LOST, Subscription, event_of
from skiff.transport import CLOSE_SECONDS, SLICE_MS
from skiff.values import check_type, decode_value


class Subscriber(BoundToProcess):
    """Changes of the keys under a prefix, from when ``watch`` returned.

    A node that lags behind may also deliver some that were made shortly before.

    Iterate for ``Event`` values, or call ``recv`` for the values of inserts only. The stream never
    ends silently: ``StreamClosed`` means that changes may have been missed, ``ClientClosed`` that
    the subscriber or its client was closed. One thread at a time receives; any thread may close.
    """

    def __init__(self, caller: Caller, prefix: bytes, type_: Any, timeout: float | None) -> None:
        self._caller = caller
        self._prefix = prefix
        self._type = type_
        self._closed = False
        self._failure = ""  # why the stream broke; empty while it has not
        self._receiving = threading.Lock()
        with caller.transport:
            self._establish(timeout)

    def __repr__(self) -> str:
        ended = ", closed" if self._closed or self._failure else ""
        prefix = self._prefix.decode()
        return f"<Subscriber of {prefix!r} at revision {self.revision}{ended}>"

    @property
    def revision(self) -> int:
        """The revision of the last change delivered; before the first, that of the subscription."""
        return self._stream.revision

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
        """Wait for the next change without a limit, and return it.

        Raises:
            StreamClosed: changes may have been missed.
            ClientClosed: the subscriber or its client is closed.
            DeserializeFailed: the value is not of the subscription's type.
        """
        return self.next_event()

    def recv(self, type: Any = None, timeout: float | None = None) -> tuple[str, Any]:
        """Return the key and value of the next insert, as ``type`` or else the subscription's type.

        ``timeout`` is in seconds, None for no limit.

        Raises:
            RequestTimeout: no change arrived in time.
            StreamClosed: changes may have been missed.
            ClientClosed: the subscriber or its client is closed.
            DeserializeFailed: the value is not of the given type.
            InvalidRequest: the type or the timeout is invalid; no change is lost.
        """
        wanted = self._type if type is None else type
        check_type(wanted)
        deadline = _deadline(timeout)
        while True:
            published = self._next(deadline)
            if published.value is not None:
                return published.key, decode_value(published.key, published.value, wanted)

    def next_event(self, timeout: float | None = None) -> Event[Any]:
        """Return the next change; ``timeout`` is in seconds, None for no limit.

        Raises:
            RequestTimeout: no change arrived in time.
            StreamClosed: changes may have been missed.
            ClientClosed: the subscriber or its client is closed.
            DeserializeFailed: the value is not of the subscription's type.
            InvalidRequest: the timeout is invalid; no change is lost.
        """
        return event_of(self._next(_deadline(timeout)), self._type)

    def close(self) -> None:
        """End the subscription, even while another thread receives."""
        self._closed = True
        if self._channel.is_inherited:
            return
        # A thread that does not notice the end in time closes the channel when it does.
        if self._receiving.acquire(timeout=CLOSE_SECONDS):
            self._channel.close()
            self._receiving.release()

    # --- the stream

    def _next(self, deadline: float) -> Published:
        if self._channel.is_inherited:
            raise StreamClosed("the subscription belongs to the parent process of this fork")
        with self._caller.transport:
            self._take_turn(deadline)
            try:
                return self._next_published(deadline)
            finally:
                if self._closed:
                    self._channel.close()
                self._receiving.release()

    def _take_turn(self, deadline: float) -> None:
        """Wait while another thread receives."""
        left = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
        if not self._receiving.acquire(timeout=left):
            raise RequestTimeout("no change in time")

    def _next_published(self, deadline: float) -> Published:
        try:
            while True:
                frames = self._receive(min(deadline, self._stream.silent_at))
                if frames is not None:
                    published = self._subscription.take(frames)
                    if published is not None:
                        return published
                elif time.monotonic() >= deadline:
                    raise RequestTimeout("no change in time")
                else:
                    self._stream.check_silence(time.monotonic())
        except StreamBroken as broken:
            self._fail(str(broken))

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
                raise StreamBroken(CONNECTION_LOST)

    def _check_open(self) -> None:
        if self._failure:
            raise StreamClosed(self._failure)
        if self._closed or self._caller.transport.closed:
            raise ClientClosed("the subscription is closed")

    def _fail(self, reason: str) -> NoReturn:
        """Close the channel and raise ``StreamClosed``."""
        self._channel.close()
        self._failure = self._subscription.why_over(reason)
        raise StreamClosed(self._failure)

    # --- subscribing

    def _establish(self, timeout: float | None) -> None:
        """Subscribe to one node after another until one confirms."""
        deadline = deadline_of(timeout, time.monotonic())
        while time.monotonic() < deadline:
            left = None if deadline == NEVER else deadline - time.monotonic()
            welcome = self._caller.call(Hello(), left)
            if not isinstance(welcome, Welcome):
                raise RPCCallFailed(f"expected a Welcome as the reply to a Hello, not {welcome!r}")
            self._open(welcome.publish_endpoint)
            if self._is_confirmed(min(deadline, time.monotonic() + ESTABLISH_SECONDS)):
                return
            self._channel.close()
            self._caller.move_on()
        raise RequestTimeout("no node confirmed the subscription in time")

    def _open(self, endpoint: str) -> None:
        self._subscription = Subscription(self._caller.transport, endpoint, self._prefix)
        self._channel = self._subscription.channel
        self._poller = zmq.Poller()
        self._poller.register(self._channel.socket, zmq.POLLIN)
        self._poller.register(self._channel.monitor, zmq.POLLIN)

    def _is_confirmed(self, deadline: float) -> bool:
        """Wait until the node confirms; return whether it did by the deadline."""
        try:
            while not self._stream.is_established:
                frames = self._receive(deadline)
                if frames is None:
                    return False
                self._subscription.take(frames)
        except StreamBroken:
            return False
        return True

    @property
    def _stream(self) -> ChangeStream:
        return self._subscription.stream


def _deadline(timeout: float | None) -> float:
    check_wait(timeout)
    return deadline_of(timeout, time.monotonic())
