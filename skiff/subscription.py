"""Subscription: the change stream of one watch, over a SUB socket of its own.

The functions serve both kinds of subscribers; asyncio subscribers share sockets (``feed``).
"""

import os
import time
from typing import Any

import zmq

from protocol.client.changes import ChangeStream, OlderNode, StreamBroken
from protocol.client.routing import Route
from protocol.client.watch import Watch
from protocol.messages.rights import CheckRight
from protocol.state.commands import Event as Change
from protocol.state.user_commands import Right
from skiff.channel import Channel
from skiff.errors import (
    ClientConnectFailed,
    DeserializeFailed,
    Overloaded,
    RequestTimeout,
    SkiffError,
    Unsupported,
)
from skiff.records import Event, EventKind
from skiff.transport import Transport
from skiff.values import decode_value

NONCE_BYTES = 12
BROKEN_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
IN_A_RECEIVE = (
    "this thread receives from this subscription already; a signal handler that interrupts it "
    "needs a subscription of its own"
)
CONNECTION_LOST = "the connection to the node was lost"
HEAL_SECONDS = 0.05  # before another node is tried after a lost stream
STEP_SECONDS = 0.25  # that a step of healing may take at least, whatever the caller's deadline
GREET_SECONDS = 1.0  # between two looks whether a subscriber was closed, while no node answers
UNANSWERED = (ClientConnectFailed, Overloaded, RequestTimeout)  # errors after which healing goes on
UNREAD_MAX = 10_000  # messages that wait to be received; then a subscriber loses its stream


class Subscription:
    """A change stream and the channel that receives it."""

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        prefix: bytes,
        *,
        prev_value: bool = False,
    ) -> None:
        """Subscribe to a node, which confirms later.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        nonce = os.urandom(NONCE_BYTES)
        self.stream = ChangeStream(prefix, nonce, time.monotonic(), prev_value=prev_value)
        self.channel = Channel(transport, zmq.SUB, BROKEN_EVENTS)
        socket = self.channel.socket
        socket.setsockopt(zmq.RCVHWM, UNREAD_MAX)
        for topic in self.stream.topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self.channel.connect(endpoint)

    def take_confirmation(self, frames: list[bytes]) -> None:
        """Process a message before the node has confirmed.

        Raises:
            StreamBroken: the message is malformed.
            OlderNode: the node has no previous values, which are asked for.
        """
        self.stream.take(frames, time.monotonic())
        if self.stream.is_established:
            self.channel.socket.setsockopt(zmq.UNSUBSCRIBE, self.stream.topics[-1])


def is_final(error: SkiffError, deadline: float, now: float) -> bool:
    """Whether a request that had time until the deadline has used it: a busy node refuses early."""
    return now >= deadline or not isinstance(error, Overloaded)


def check_late(watch: Watch) -> None:
    """Check that a watch may deliver its next change at once, as its deadline has passed.

    Raises:
        RequestTimeout: it needs a stream, or missing changes, before.
    """
    if watch.is_lost:
        raise RequestTimeout("no change in time, and no node has confirmed the watch")
    if watch.is_behind:
        raise RequestTimeout("no change in time, and missing ones are still being fetched")


def greet_until(deadline: float, now: float, route: Route) -> float:
    """Return when one attempt to greet a node ends; a census of several takes its time."""
    return deadline if route.needs_census else min(deadline, now + GREET_SECONDS)


def may_watch(prefix: str) -> CheckRight:
    """Return the check that raises a denial: to deny a watch, a node just closes the connection."""
    return CheckRight(Right.WATCH, prefix)


def event_of(change: Change, type_: Any) -> Event[Any]:
    """Return the public form of a change.

    Raises:
        DeserializeFailed: a value is not of this type; the error has the change as it is stored.
    """
    value, before = change.value, change.prev_value
    try:
        value = None if value is None else decode_value(change.key, value, type_)
        before = None if before is None else decode_value(change.key, before, type_)
    except DeserializeFailed as error:
        error.event = _event(change, change.value, change.prev_value)
        raise
    return _event(change, value, before)


def _event(change: Change, value: Any, before: Any) -> Event[Any]:
    place = (change.revision, change.prev_revision)
    return Event(_kind(change), change.key, value, *place, before)


def unconfirmed(broken: StreamBroken | None) -> SkiffError:
    """Return the error that no node has confirmed a watch, whose last stream broke for a reason."""
    if isinstance(broken, OlderNode):
        return Unsupported(f"no node confirmed the subscription in time: {broken}")
    return RequestTimeout("no node confirmed the subscription in time")


def _kind(change: Change) -> EventKind:
    if not change.key:
        return EventKind.SYNCED
    if change.expired:
        return EventKind.EXPIRE
    return EventKind.REMOVE if change.value is None else EventKind.INSERT
