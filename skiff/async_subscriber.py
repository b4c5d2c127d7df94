"""AsyncSubscriber: the changes of the keys under a prefix, in order, for one event loop."""

import asyncio
from types import TracebackType
from typing import Any, NoReturn, Self

import zmq

from protocol.client.changes import ESTABLISH_SECONDS, StreamBroken
from protocol.deadlines import NEVER, deadline_of
from protocol.messages.client import Hello, Published, Welcome
from skiff.arguments import check_wait
from skiff.async_caller import AsyncCaller, acquire
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.errors import (
    ClientClosed,
    RequestTimeout,
    RPCCallFailed,
    SkiffError,
    StreamClosed,
)
from skiff.records import Event
from skiff.subscriber import Subscriber
from skiff.subscription import CONNECTION_LOST, Subscription, event_of
from skiff.values import check_type, decode_value

FAIR_TURNS = 64  # changes delivered in a row before other tasks run


@described_by(Subscriber)
class AsyncSubscriber(BoundToProcess):
    """Changes of the keys under a prefix; ``Subscriber`` for an event loop, with ``async for``.

    One task at a time receives; others wait for it. The socket buffers changes until they are
    received.
    """

    def __init__(self, caller: AsyncCaller, prefix: bytes, type_: Any) -> None:
        self._caller = caller
        self._prefix = prefix
        self._type = type_
        self._subscription: Subscription | None = None
        self._closed = False
        self._failure = ""  # why the stream broke; empty while it has not
        self._loop = asyncio.get_running_loop()
        self._watched: tuple[int, ...] = ()  # descriptors
        self._ready = asyncio.Event()
        self._receiving = asyncio.Lock()
        self._turns = 0

    def __repr__(self) -> str:
        ended = ", closed" if self._closed or self._failure else ""
        return f"<AsyncSubscriber of {self._prefix.decode()!r} at revision {self.revision}{ended}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event[Any]:
        """Wait for the next change without a limit, and return it.

        Raises:
            StreamClosed: changes may have been missed.
            ClientClosed: the subscriber or its client is closed.
        """
        return await self.next_event()

    @property
    def revision(self) -> int:
        """The revision of the last change delivered; before the first, that of the subscription."""
        return 0 if self._subscription is None else self._subscription.stream.revision

    async def recv(self, type: Any = None, timeout: float | None = None) -> tuple[str, Any]:
        """Return the key and value of the next insert; see ``Subscriber.recv``."""
        wanted = self._type if type is None else type
        check_type(wanted)
        check_wait(timeout)
        deadline = self._deadline(timeout)
        while True:
            published = await self._next(deadline)
            if published.value is not None:
                return published.key, decode_value(published.key, published.value, wanted)

    async def next_event(self, timeout: float | None = None) -> Event[Any]:
        """Return the next change; see ``Subscriber.next_event``."""
        check_wait(timeout)
        return event_of(await self._next(self._deadline(timeout)), self._type)

    async def aclose(self) -> None:
        """End the subscription, even while another task receives.

        Raises:
            SkiffError: it belongs to another event loop, which still runs.
        """
        if not self._loop.is_closed():
            self._check_loop()
        self.close()

    def close(self) -> None:
        """End the subscription; a receiving task raises ``ClientClosed``."""
        self._closed = True
        if self._subscription is not None and self._subscription.channel.is_inherited:
            return  # the loop watches the parent's socket, which goes on
        self._ready.set()
        self._unwatch()
        if self._subscription is not None and not self._receiving.locked():
            self._subscription.channel.close()

    # --- subscribing

    async def establish(self, timeout: float | None) -> None:
        """Subscribe to one node after another until one confirms.

        Raises:
            RequestTimeout: no node confirmed the subscription in time.
        """
        deadline = self._deadline(timeout)
        while self._now() < deadline:
            left = None if deadline == NEVER else deadline - self._now()
            welcome = await self._caller.call(Hello(), left)
            if not isinstance(welcome, Welcome):
                raise RPCCallFailed(f"expected a Welcome as the reply to a Hello, not {welcome!r}")
            self._subscription = Subscription(
                self._caller.transport, welcome.publish_endpoint, self._prefix, self._now
            )
            if await self._is_confirmed(min(deadline, self._now() + ESTABLISH_SECONDS)):
                return
            self._caller.move_on()
        raise RequestTimeout("no node confirmed the subscription in time")

    async def _is_confirmed(self, deadline: float) -> bool:
        """Wait until the node confirms; return whether it did by the deadline."""
        subscription = self._open_subscription()
        try:
            while not subscription.stream.is_established:
                frames = await self._receive(subscription, deadline)
                if frames is None:
                    break
                subscription.take(frames)
        except StreamBroken:
            pass
        finally:
            if not subscription.stream.is_established:
                subscription.channel.close()
        return subscription.stream.is_established

    # --- the stream

    def _open_subscription(self) -> Subscription:
        assert self._subscription is not None
        return self._subscription

    async def _next(self, deadline: float) -> Published:
        subscription = self._open_subscription()
        self._check_loop()
        if subscription.channel.is_inherited:
            raise StreamClosed("the subscription belongs to the parent process of this fork")
        await self._take_turn(deadline)
        try:
            return await self._next_published(subscription, deadline)
        except StreamBroken as broken:
            self._fail(subscription, str(broken))
        finally:
            self._receiving.release()
            if self._closed:
                subscription.channel.close()

    async def _take_turn(self, deadline: float) -> None:
        """Wait while another task receives; now and then, let other tasks run."""
        self._turns += 1
        if self._turns % FAIR_TURNS == 0:
            await asyncio.sleep(0)  # changes that have arrived are received without waiting
        await acquire(self._receiving, deadline, "no change in time")

    async def _next_published(self, subscription: Subscription, deadline: float) -> Published:
        stream = subscription.stream
        while True:
            frames = await self._receive(subscription, min(deadline, stream.silent_at))
            if frames is not None:
                published = subscription.take(frames)
                if published is not None:
                    return published
            elif self._now() >= deadline:
                raise RequestTimeout("no change in time")
            else:
                stream.check_silence(self._now())

    async def _receive(self, subscription: Subscription, deadline: float) -> list[bytes] | None:
        """Return the next message, or None at the deadline."""
        channel = subscription.channel
        while True:
            self._check_open()
            self._ready.clear()
            try:
                return channel.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                if int(channel.monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                    raise StreamBroken(CONNECTION_LOST) from None
            if self._now() >= deadline:
                return None
            await self._wait(channel.descriptors, deadline)

    async def _wait(self, descriptors: tuple[int, int], deadline: float) -> None:
        """Wait until a descriptor becomes readable.

        They are watched only meanwhile: unread, they stay readable and would spin the loop.
        """
        for descriptor in descriptors:
            self._loop.add_reader(descriptor, self._ready.set)
        self._watched = descriptors
        try:
            async with asyncio.timeout_at(None if deadline == NEVER else deadline):
                await self._ready.wait()
        except TimeoutError:
            pass
        finally:
            self._unwatch()

    def _unwatch(self) -> None:
        """Stop watching the descriptors before they are closed and their numbers reused."""
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        self._watched = ()

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise SkiffError("a subscription belongs to the event loop in which it was made")

    def _check_open(self) -> None:
        if self._failure:
            raise StreamClosed(self._failure)
        if self._closed or self._caller.is_closed:
            raise ClientClosed("the subscription is closed")

    def _fail(self, subscription: Subscription, reason: str) -> NoReturn:
        """Close the socket and raise ``StreamClosed``."""
        subscription.channel.close()
        self._failure = subscription.why_over(reason)
        raise StreamClosed(self._failure)

    def _deadline(self, timeout: float | None) -> float:
        return deadline_of(timeout, self._now())

    def _now(self) -> float:
        return self._loop.time()
