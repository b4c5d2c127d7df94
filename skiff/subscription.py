"""Subscription: the SUB socket of a change stream, shared by both kinds of subscribers."""

import os
import time
from collections.abc import Callable
from typing import Any

import zmq

from protocol.client.changes import ChangeStream
from protocol.messages.client import Published
from skiff.channel import Channel
from skiff.records import Event, EventKind
from skiff.transport import Transport
from skiff.values import decode_value

NONCE_BYTES = 12
BROKEN_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
CONNECTION_LOST = "the connection to the node was lost"


class Subscription:
    """A change stream and the channel that receives it."""

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        prefix: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Subscribe to a node, which confirms later.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        self._clock = clock
        self.stream = ChangeStream(prefix, os.urandom(NONCE_BYTES), clock())
        self.channel = Channel(transport, zmq.SUB, BROKEN_EVENTS)
        socket = self.channel.socket
        socket.setsockopt(zmq.RCVHWM, 0)  # received messages wait here until they are read
        for topic in self.stream.topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self.channel.connect(endpoint)

    def take(self, frames: list[bytes]) -> Published | None:
        """Return the change that a message carries, or None if it carries none.

        Raises:
            StreamBroken: changes may have been missed.
        """
        was_established = self.stream.is_established
        taken = self.stream.take(frames, self._clock())
        if self.stream.is_established and not was_established:
            self.channel.socket.setsockopt(zmq.UNSUBSCRIBE, self.stream.topics[-1])
        return taken if isinstance(taken, Published) else None

    def why_over(self, reason: str) -> str:
        """Return the message of the error that ends the stream."""
        revision = self.stream.revision
        return f"{reason} after revision {revision}; read the keys again and watch anew"


def event_of(published: Published, type_: Any) -> Event[Any]:
    """Return the public form of a change.

    Raises:
        DeserializeFailed: the value is not of this type.
    """
    value = published.value
    return Event(
        EventKind.REMOVE if value is None else EventKind.INSERT,
        published.key,
        None if value is None else decode_value(published.key, value, type_),
        published.revision,
        published.prev_revision,
    )
