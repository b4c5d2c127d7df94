"""Subscriber: the changes of the keys under a prefix, in order and without gaps."""

import threading
import time
from copy import copy
from types import TracebackType
from typing import Any, Self

import zmq

from protocol.client.changes import ESTABLISH_SECONDS, OlderNode, StreamBroken
from protocol.client.initial_entries import InitialEntries
from protocol.client.watch import Need, Watch
from protocol.deadlines import NEVER, deadline_of
from protocol.keys import encode_prefix
from protocol.messages.client import Hello, Operation, Outcome, Welcome
from protocol.state.commands import Event as Change
from skiff.arguments import check_wait
from skiff.bound import BoundToProcess
from skiff.caller import Caller
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
from skiff.subscription import (
    CONNECTION_LOST,
    HEAL_SECONDS,
    IN_A_RECEIVE,
    STEP_SECONDS,
    UNANSWERED,
    Subscription,
    check_late,
    event_of,
    greet_until,
    is_final,
    may_watch,
    unconfirmed,
)
from skiff.transport import CLOSE_SECONDS, SLICE_MS
from skiff.values import check_type, decode_value


class Subscriber(BoundToProcess):
    """Changes of the keys under a prefix, in order, each once, from when ``watch`` returned.

    A node that lags behind may also deliver some that were made shortly before.

    Iterate for ``Event`` values, or call ``recv`` for the values of inserts only. The subscriber
    heals itself: after the loss of its node, or of changes, it fetches what it missed from the
    history of any node, and goes on. ``Compacted`` means that no node has that part of the history
    any more, or a majority has not and no other node answers; ``ClientClosed`` that the subscriber
    or its client was closed. One thread at a time receives; any thread may close.

    Up to 10,000 messages wait in memory to be received; a subscriber that falls behind further is
    cut off by its node, and fetches the rest.
    """

    def __init__(
        self,
        caller: Caller,
        prefix: str,
        type_: Any,
        timeout: float | None,
        since: int | None = None,
        *,
        prev_value: bool = False,
    ) -> None:
        caller.check_process()
        self._caller = caller
        self._prefix = prefix
        self._type = type_
        self._closed = False
        self._receiving = threading.RLock()  # of which a thread knows whether it holds it
        self._receiver: int | None = None  # the thread that holds it to receive
        self._prev_value = prev_value
        self._watch = Watch(prefix, since, prev_value=prev_value)
        self._missing = MissingChanges(self._watch, caller.route)
        self._broken: StreamBroken | None = None  # why the last stream has ended
        self._subscription: Subscription | None = None
        with caller.transport.use():
            caller.transport.check_open()
            try:
                self._establish(deadline_of(timeout, time.monotonic()))
            except BaseException:
                self._close_channel()
                raise

    def __repr__(self) -> str:
        ended = ", closed" if self._closed or self._missing.gone else ""
        return f"<Subscriber of {self._prefix!r} at revision {self.revision}{ended}>"

    @property
    def revision(self) -> int:
        """The revision to resume from, by ``watch(prefix, since=revision)``.

        All its changes were delivered. Between the changes of one transaction, it is the revision
        before.
        """
        return self._watch.revision

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
            Compacted: no node has the next changes any more.
            ClientClosed: the subscriber or its client is closed.
            DeserializeFailed: the value is not of the subscription's type.
        """
        return self.next_event()

    def recv(self, type: Any = None, timeout: float | None = None) -> tuple[str, Any]:
        """Return the key and value of the next insert, as ``type`` or else the subscription's type.

        ``timeout`` is in seconds, None for no limit.

        Raises:
            RequestTimeout: no change arrived in time.
            Compacted: no node has the next changes any more.
            ClientClosed: the subscriber or its client is closed.
            DeserializeFailed: the value is not of the given type.
            InvalidRequest: the type or the timeout is invalid; no change is lost.
        """
        wanted = self._type if type is None else type
        check_type(wanted)
        deadline = _deadline(timeout)
        while True:
            change = self._next(deadline)
            if change.value is not None:
                return change.key, decode_value(change.key, change.value, wanted)

    def next_event(self, timeout: float | None = None) -> Event[Any]:
        """Return the next change or mark; ``timeout`` is in seconds, None for no limit.

        Raises:
            RequestTimeout: no change arrived in time.
            Compacted: no node has the next changes any more.
            ClientClosed: the subscriber or its client is closed.
            Unsupported: changes were missed, and all nodes that answer run versions that keep none.
            DeserializeFailed: the value is not of the subscription's type.
            InvalidRequest: the timeout is invalid; no change is lost.
        """
        return event_of(self._next(_deadline(timeout)), self._type)

    def close(self) -> None:
        """End the subscription, even while another thread receives."""
        self._closed = True
        if self._subscription is not None and self._subscription.channel.is_inherited:
            return
        # A thread that does not notice the end in time closes the channel when it does.
        if self._receiver == threading.get_ident():
            return  # this is a signal handler, which has interrupted it
        try:
            if self._receiving.acquire(timeout=CLOSE_SECONDS):
                self._close_channel()
        finally:
            try:  # noqa: SIM105 - as in ``_receive_next``
                self._receiving.release()
            except RuntimeError:
                pass

    def begin_with(self, initial: InitialEntries) -> None:
        """Deliver the entries of a revision first, then a mark, then the changes after it."""
        self._watch.begin_with(initial.entries, initial.revision)

    def advance(self) -> Change | None:
        """Return the next change as it is stored; None once only ``revision`` has advanced.

        Raises:
            SkiffError: as ``next_event`` raises.
        """
        return self._receive_next(NEVER, self.revision)

    def abandon(self) -> None:
        """End the subscription without waiting; a thread that receives closes the channel."""
        self._closed = True

    # --- receiving

    def _next(self, deadline: float) -> Change:
        change = self._receive_next(deadline, NEVER)
        assert change is not None
        return change

    def _receive_next(self, deadline: float, since: float) -> Change | None:
        """Return the next change, or None once the revision is beyond ``since``."""
        if self._subscription is not None and self._subscription.channel.is_inherited:
            raise StreamClosed("the subscription belongs to the parent process of this fork")
        with self._caller.transport.use():
            self._caller.transport.check_open()
            if self._receiver == threading.get_ident():
                raise SkiffError(IN_A_RECEIVE)
            try:
                self._take_turn(deadline)
                return self._receive_in_turn(deadline, since)
            finally:
                try:  # noqa: SIM105 - an interrupt may come within ``suppress``, and before the call
                    self._receiving.release()
                except RuntimeError:  # its turn has not come
                    pass

    def _take_turn(self, deadline: float) -> None:
        """Wait while another thread receives."""
        left = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
        if not self._receiving.acquire(timeout=left):
            raise RequestTimeout("no change in time")

    def _receive_in_turn(self, deadline: float, since: float) -> Change | None:
        try:
            self._receiver = threading.get_ident()
            return self._next_change(deadline, since)
        finally:
            self._receiver = None
            if self._closed:
                self._close_channel()

    def _next_change(self, deadline: float, since: float) -> Change | None:
        while True:
            self._check_open()
            try:
                change = self._watch.next_fetched() or self._advance(deadline)
            except (NoNodeReached, Overloaded) as failure:
                raise RequestTimeout(f"no change in time: {failure}") from None
            self._caller.note_revision(self._watch.revision if change is None else change.revision)
            if change is None and time.monotonic() >= deadline:
                check_late(self._watch)
            if change is not None or self.revision > since:
                return change

    def _advance(self, deadline: float) -> Change | None:
        """Take what the watch needs next; return a change if that has one."""
        try:
            match self._watch.need:
                case Need.STREAM:
                    self._subscribe(deadline)
                case Need.CHANGES:
                    self._fetch(deadline)
                case Need.MESSAGES:
                    return self._listen(deadline)
        except StreamBroken as broken:
            self._broken = broken.with_traceback(None)
            self._lose_stream()
        return None

    def _listen(self, deadline: float) -> Change | None:
        """Process the next published message."""
        stream = self._watch.stream
        assert stream is not None
        frames = self._receive(min(deadline, stream.silent_at))
        now = time.monotonic()
        if frames is not None:
            return self._watch.take(frames, now)
        if now >= deadline:
            raise RequestTimeout("no change in time")
        stream.check_silence(now)
        return None

    def _receive(self, deadline: float) -> list[bytes] | None:
        """Return the next message, or None at the deadline."""
        assert self._subscription is not None
        channel = self._subscription.channel
        while True:
            self._check_open()
            try:
                return channel.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            ready = dict(self._poller.poll(max(1, min(SLICE_MS, int(remaining * 1000)))))
            if channel.monitor in ready and channel.socket not in ready:
                channel.why_lost()  # notes the failure of a handshake
                raise StreamBroken(CONNECTION_LOST)

    def _check_open(self) -> None:
        if self._missing.gone is not None:
            raise copy(self._missing.gone)  # it would keep the frames of its callers
        if self._closed or self._caller.transport.closed:
            raise ClientClosed("the subscription is closed")

    # --- subscribing and healing

    def _establish(self, deadline: float) -> None:
        """Take what the watch needs until it is established."""
        while not self._watch.is_established:
            if time.monotonic() >= deadline:
                raise unconfirmed(self._broken)
            self._advance(deadline)
            self._check_open()
        self._caller.note_revision(self._watch.revision)

    def _subscribe(self, deadline: float) -> None:
        """Subscribe to a node; leave it if it does not confirm in time."""
        self._close_channel()  # an attempt may have been interrupted
        welcome = expect(self._ask(Hello(), deadline), Welcome)
        if self._caller.has_key:
            self._check_right(deadline)
        prefix, endpoint = encode_prefix(self._prefix), welcome.publish_endpoint
        self._subscription = Subscription(
            self._caller.transport, endpoint, prefix, prev_value=self._prev_value
        )
        channel = self._subscription.channel
        self._poller = zmq.Poller()
        self._poller.register(channel.socket, zmq.POLLIN)
        self._poller.register(channel.monitor, zmq.POLLIN)
        now = time.monotonic()
        self._await_confirmation(min(max(deadline, now + STEP_SECONDS), now + ESTABLISH_SECONDS))
        self._watch.begin_stream(self._subscription.stream)

    def _check_right(self, deadline: float) -> None:
        """Raise the denial of a watch, which a node shows only by closing the connection."""
        try:
            self._ask(may_watch(self._prefix), min(deadline, time.monotonic() + ESTABLISH_SECONDS))
        except UNANSWERED as error:
            raise StreamBroken(f"the right to watch was not confirmed ({error})") from error

    def _ask(self, operation: Operation, deadline: float) -> Outcome:
        """Ask a node; while none answers, notice in between that the subscriber is closed."""
        while True:
            until = greet_until(deadline, time.monotonic(), self._caller.route)
            try:
                return self._caller.call(operation, _left(until))
            except UNANSWERED as error:
                self._check_open()
                if until == deadline and is_final(error, deadline, time.monotonic()):
                    raise
                self._caller.transport.pause(HEAL_SECONDS)  # an overloaded one refuses at once

    def _await_confirmation(self, deadline: float) -> None:
        assert self._subscription is not None
        while not self._subscription.stream.is_established:
            frames = self._receive(deadline)
            if frames is None:
                raise StreamBroken("the node has not confirmed the subscription")
            self._subscription.take_confirmation(frames)

    def _lose_stream(self) -> None:
        """Leave the node, and pause before another one is tried."""
        self._watch.end_stream()
        self._close_channel()
        self._caller.move_on()
        self._caller.transport.pause(HEAL_SECONDS)

    def _fetch(self, deadline: float) -> None:
        """Read missing changes from any node that has them, or find that none has."""
        missing = self._missing
        last = missing.deadline(time.monotonic())
        left = _left(min(deadline, last))
        try:
            outcome = self._caller.call(self._watch.request(), left, anchor=missing.anchor)
            missing.take(outcome, time.monotonic())
        except UNANSWERED as error:
            self._caller.move_on(missing.anchor)  # the next call asks another node
            now = time.monotonic()
            missing.judge(now)
            if deadline <= last and missing.gone is None and is_final(error, deadline, now):
                raise
            self._caller.transport.pause(HEAL_SECONDS)
        except OlderNode:
            self._caller.move_on(missing.anchor)
            raise
        except Unsupported:
            missing.take_older(time.monotonic())
        if missing.gone is not None:
            self._close_channel()

    def _close_channel(self) -> None:
        if self._subscription is not None:
            self._subscription.channel.close()


def _left(deadline: float) -> float | None:
    """Return the seconds until a deadline, as a timeout."""
    return None if deadline == NEVER else max(deadline - time.monotonic(), STEP_SECONDS)


def _deadline(timeout: float | None) -> float:
    check_wait(timeout)
    return deadline_of(timeout, time.monotonic())
