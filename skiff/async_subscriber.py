"""AsyncSubscriber: the changes of the keys under a prefix, in order, for one event loop."""

import asyncio
import threading
from copy import copy
from types import TracebackType
from typing import Any, Self

from protocol.client.changes import ESTABLISH_SECONDS, OlderNode, StreamBroken
from protocol.client.initial_entries import InitialEntries
from protocol.client.watch import Need, Watch
from protocol.deadlines import NEVER, deadline_of
from protocol.keys import encode_prefix
from protocol.messages.client import Hello, Operation, Outcome, Welcome
from protocol.state.commands import Event as Change
from skiff.arguments import check_wait
from skiff.async_caller import AsyncCaller
from skiff.async_subscription import AsyncSubscription, FellBehind
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.errors import (
    ClientClosed,
    NoNodeReached,
    Overloaded,
    RequestTimeout,
    SkiffError,
    StreamClosed,
    Unsupported,
)
from skiff.missing_changes import MissingChanges
from skiff.outcomes import expect
from skiff.records import Event
from skiff.subscriber import Subscriber
from skiff.subscription import (
    HEAL_SECONDS,
    STEP_SECONDS,
    UNANSWERED,
    check_late,
    event_of,
    greet_until,
    is_final,
    may_watch,
    unconfirmed,
)
from skiff.values import check_type, decode_value

FOREIGN_LOOP = "a subscription belongs to the event loop in which it was made"
FAIR_TURNS = 64  # changes delivered in a row before other tasks run


@described_by(Subscriber)
class AsyncSubscriber(BoundToProcess):
    """Changes of the keys under a prefix; ``Subscriber`` for an event loop, with ``async for``.

    One task at a time receives; others wait for it. Up to about 200 watches of one client share a
    connection to their node, which is read while the loop runs: up to 10,000 messages of each watch
    wait in memory, and as many of each connection while other tasks keep the loop busy. A
    subscriber that falls behind further gets no more of its stream, and fetches the rest.
    """

    def __init__(
        self,
        caller: AsyncCaller,
        prefix: str,
        type_: Any,
        since: int | None = None,
        *,
        prev_value: bool = False,
    ) -> None:
        self._caller = caller
        self._prefix = prefix
        self._type = type_
        self._prev_value = prev_value
        self._watch = Watch(prefix, since, prev_value=prev_value)
        self._missing = MissingChanges(self._watch, caller.route)
        self._broken: StreamBroken | None = None  # why the last stream has ended
        self._subscription: AsyncSubscription | None = None
        self._node = ""  # endpoint of the node that publishes to it
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()  # of the loop: cheaper to compare than the loop
        self._heal_at = 0.0  # when another node may be tried
        self._receiving = asyncio.Lock()
        self._turns = 0

    def __repr__(self) -> str:
        ended = ", closed" if self._closed or self._missing.gone else ""
        return f"<AsyncSubscriber of {self._prefix!r} at revision {self.revision}{ended}>"

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
            Compacted: no node has the next changes any more.
            ClientClosed: the subscriber or its client is closed.
        """
        return await self.next_event()

    @property
    def revision(self) -> int:
        """The revision to resume from; see ``Subscriber.revision``."""
        return self._watch.revision

    async def recv(self, type: Any = None, timeout: float | None = None) -> tuple[str, Any]:
        """Return the key and value of the next insert; see ``Subscriber.recv``."""
        wanted = self._type if type is None else type
        check_type(wanted)
        check_wait(timeout)
        deadline = self._deadline(timeout)
        while True:
            change = await self._next(deadline)
            if change.value is not None:
                return change.key, decode_value(change.key, change.value, wanted)

    async def next_event(self, timeout: float | None = None) -> Event[Any]:
        """Return the next change or mark; see ``Subscriber.next_event``."""
        check_wait(timeout)
        return event_of(await self._next(self._deadline(timeout)), self._type)

    async def aclose(self) -> None:
        """End the subscription, even while another task receives.

        Raises:
            SkiffError: it belongs to another event loop, which still runs.
        """
        if not self._loop.is_closed() and asyncio.get_running_loop() is not self._loop:
            raise SkiffError(FOREIGN_LOOP)
        self.close()

    def close(self) -> None:
        """End the subscription; a receiving task raises ``ClientClosed``."""
        self._closed = True
        self._close_channel()

    def __del__(self) -> None:
        """Unsubscribe a subscriber that is dropped without ``aclose``, in any thread."""
        subscription = self._subscription
        if subscription is None or subscription.is_inherited or self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            subscription.close()
        else:
            self._loop.call_soon_threadsafe(subscription.close)

    def begin_with(self, initial: InitialEntries) -> None:
        """Deliver the entries of a revision first, then a mark, then the changes after it."""
        self._watch.begin_with(initial.entries, initial.revision)

    async def advance(self) -> Change | None:
        """Return the next change as it is stored; see ``Subscriber.advance``."""
        return await self._receive_next(NEVER, self.revision)

    # --- receiving

    async def _next(self, deadline: float) -> Change:
        change = await self._receive_next(deadline, NEVER)
        assert change is not None
        return change

    async def _receive_next(self, deadline: float, since: float) -> Change | None:
        """Return the next change, or None once the revision is beyond ``since``."""
        if threading.get_ident() != self._thread:
            raise SkiffError(FOREIGN_LOOP)
        self._turns += 1
        if self._turns % FAIR_TURNS == 0:
            await asyncio.sleep(0)  # changes that have arrived are received without waiting
        change = None if self._receiving.locked() else self._arrived()
        if change is None:
            change = await self._await_change(deadline, since)
        return change

    def _arrived(self) -> Change | None:
        """Return the next change if it has arrived."""
        self._check_open()
        change = self._watch.next_fetched()
        try:
            while change is None and self._watch.need is Need.MESSAGES:
                assert self._subscription is not None
                message = self._subscription.take()
                if message is None:
                    break
                change = self._watch.take(message, self._now())
        except StreamBroken as broken:
            self._lose_stream(broken)
        self._caller.note_revision(self._watch.revision if change is None else change.revision)
        return change

    async def _await_change(self, deadline: float, since: float) -> Change | None:
        """Wait while another task receives, then for the next change."""
        self._check_place()
        await self._take_turn(deadline)
        try:
            while (change := self._arrived()) is None and self.revision <= since:
                await self._advance(deadline)
                if self._now() >= deadline:
                    check_late(self._watch)
            return change
        except (NoNodeReached, Overloaded) as failure:
            raise RequestTimeout(f"no change in time: {failure}") from None
        finally:
            self._receiving.release()
            if self._closed:
                self._close_channel()

    async def _take_turn(self, deadline: float) -> None:
        if deadline == NEVER:
            await self._receiving.acquire()
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._receiving.acquire()
        except TimeoutError:
            raise RequestTimeout("no change in time") from None

    async def _advance(self, deadline: float) -> None:
        """Take what the watch needs next."""
        try:
            match self._watch.need:
                case Need.STREAM:
                    await self._subscribe(deadline)
                case Need.CHANGES:
                    await self._fetch(deadline)
                case Need.MESSAGES:
                    await self._listen(deadline)
        except StreamBroken as broken:
            self._lose_stream(broken)

    async def _listen(self, deadline: float) -> None:
        """Wait for published messages."""
        assert self._subscription is not None
        stream = self._subscription.stream
        if self._now() >= deadline:
            raise RequestTimeout("no change in time")
        stream.check_silence(self._now())
        await self._subscription.wait(min(deadline, stream.silent_at))

    def _check_place(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise SkiffError(FOREIGN_LOOP)
        if self._subscription is not None and self._subscription.is_inherited:
            raise StreamClosed("the subscription belongs to the parent process of this fork")

    def _check_open(self) -> None:
        if self._missing.gone is not None:
            raise copy(self._missing.gone)  # it would keep the frames of its callers
        if self._closed or self._caller.is_closed:
            raise ClientClosed("the subscription is closed")

    # --- subscribing and healing

    async def establish(self, timeout: float | None) -> None:
        """Take what the watch needs until it is established.

        Raises:
            RequestTimeout: no node confirmed the subscription in time.
            Unsupported: nor will one: it runs an older version, which keeps no previous values.
        """
        deadline = self._deadline(timeout)
        while not self._watch.is_established:
            if self._now() >= deadline:
                raise unconfirmed(self._broken)
            await self._advance(deadline)
            self._check_open()
        self._caller.note_revision(self._watch.revision)

    async def _subscribe(self, deadline: float) -> None:
        """Subscribe to a node; leave it if it does not confirm in time."""
        self._close_channel()  # an attempt may have been interrupted
        await asyncio.sleep(max(0.0, self._heal_at - self._now()))
        welcome = expect(await self._ask(Hello(), deadline), Welcome)
        if self._caller.has_key:
            await self._check_right(deadline)
        self._node = self._caller.endpoint
        prefix, endpoint = encode_prefix(self._prefix), welcome.publish_endpoint
        self._subscription = self._caller.feeds.subscribe(
            endpoint, prefix, self._loop.time, prev_value=self._prev_value
        )
        now = self._now()
        await self._await_confirmation(
            min(max(deadline, now + STEP_SECONDS), now + ESTABLISH_SECONDS)
        )
        self._watch.begin_stream(self._subscription.stream)

    async def _check_right(self, deadline: float) -> None:
        """Raise the denial of a watch; see ``Subscriber``."""
        try:
            until = min(deadline, self._now() + ESTABLISH_SECONDS)
            await self._ask(may_watch(self._prefix), until)
        except UNANSWERED as error:
            raise StreamBroken(f"the right to watch was not confirmed ({error})") from error

    async def _ask(self, operation: Operation, deadline: float) -> Outcome:
        """Ask a node; while none answers, notice in between that the subscriber is closed."""
        while True:
            until = greet_until(deadline, self._now(), self._caller.route)
            try:
                return await self._caller.call(operation, self._left(until))
            except UNANSWERED as error:
                self._check_open()
                if until == deadline and is_final(error, deadline, self._now()):
                    raise
                await asyncio.sleep(HEAL_SECONDS)  # an overloaded one refuses at once

    async def _await_confirmation(self, deadline: float) -> None:
        subscription = self._subscription
        assert subscription is not None
        while not subscription.stream.is_established:
            self._check_open()
            message = subscription.take()
            if message is not None:
                subscription.take_confirmation(message)
            elif self._now() >= deadline:
                raise StreamBroken("the node has not confirmed the subscription")
            else:
                await subscription.wait(deadline)

    def _lose_stream(self, broken: StreamBroken) -> None:
        """Give up the stream, and mostly its node; another one is tried after a pause."""
        self._broken = broken.with_traceback(None)
        self._watch.end_stream()
        self._close_channel()
        # Else the node is not to blame, or another watch of the client has left it.
        if not isinstance(broken, FellBehind) and self._caller.endpoint == self._node:
            self._caller.move_on()
        self._heal_at = self._now() + HEAL_SECONDS

    async def _fetch(self, deadline: float) -> None:
        """Read missing changes from any node that has them, or find that none has."""
        missing = self._missing
        last = missing.deadline(self._now())
        left = self._left(min(deadline, last))
        try:
            request = self._watch.request()
            outcome = await self._caller.call(request, left, anchor=missing.anchor)
            missing.take(outcome, self._now())
        except UNANSWERED as error:
            self._caller.move_on(missing.anchor)  # the next call asks another node
            missing.judge(self._now())
            if deadline <= last and missing.gone is None and is_final(error, deadline, self._now()):
                raise
            await asyncio.sleep(HEAL_SECONDS)
        except OlderNode:
            self._caller.move_on(missing.anchor)
            raise
        except Unsupported:
            missing.take_older(self._now())
        if missing.gone is not None:
            self._close_channel()

    def _close_channel(self) -> None:
        # The loop watches a parent process's socket, which goes on.
        if self._subscription is not None and not self._subscription.is_inherited:
            self._subscription.close()

    def _left(self, deadline: float) -> float | None:
        """Return the seconds until a deadline, as a timeout."""
        return None if deadline == NEVER else max(deadline - self._now(), STEP_SECONDS)

    def _deadline(self, timeout: float | None) -> float:
        return NEVER if timeout is None else deadline_of(timeout, self._now())

    def _now(self) -> float:
        return self._loop.time()
