"""AsyncSubscription: the change stream of one watch, and its messages that were read."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.client.changes import ChangeStream, StreamBroken
from protocol.messages.client import MARK_TOPIC
from skiff.subscription import NONCE_BYTES, UNREAD_MAX

if TYPE_CHECKING:
    from skiff.feed import Feed


class FellBehind(StreamBroken):
    """Too many messages of the watch were not received."""

    def __init__(self) -> None:
        super().__init__(f"more than {UNREAD_MAX} messages were not received")


class AsyncSubscription:
    """A subscription of one task of an event loop; its feed puts the messages."""

    def __init__(
        self, feed: "Feed", prefix: bytes, clock: Callable[[], float], *, prev_value: bool
    ) -> None:
        """Subscribe at the feed's node, which confirms later."""
        nonce = os.urandom(NONCE_BYTES)
        self.stream = ChangeStream(prefix, nonce, clock(), prev_value=prev_value)
        self.topics: tuple[bytes, ...] = self.stream.topics
        self._feed = feed
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._messages: deque[list[bytes]] = deque()
        self._end: StreamBroken | None = None  # why no further messages arrive
        self._awaited: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        feed.add(self)

    @property
    def is_inherited(self) -> bool:
        """Whether the socket was opened by the parent process of this fork."""
        return self._feed.is_inherited

    @property
    def is_awaited(self) -> bool:
        """Whether a task waits for the next message."""
        return self._awaited is not None

    def take(self) -> list[bytes] | None:
        """Return the next message, None if none has arrived.

        Raises:
            StreamBroken: there is none, and no further ones will arrive.
            FellBehind: likewise, as too many were not received.
        """
        if self._messages:
            return self._messages.popleft()
        if self._end is not None:
            raise self._end
        return None

    def take_confirmation(self, message: list[bytes]) -> None:
        """Process a message before the node has confirmed.

        Raises:
            StreamBroken: the message is malformed.
            OlderNode: the node has no previous values, which are asked for.
        """
        self.stream.take(message, self._clock())
        if self.stream.is_established:
            self._feed.release(self.topics[-1])
            self.topics = self.topics[:-1]

    async def wait(self, until: float) -> None:
        """Wait for a message, the end, or a time of the loop; may return early."""
        if self._messages or self._end:
            return
        if self._alarm is None or self._alarm.when() > until:
            self._set_alarm(until)
        self._awaited = self._loop.create_future()
        try:
            await self._awaited
        finally:
            self._awaited = None

    def close(self) -> None:
        """Unsubscribe; a waiting task goes on. Idempotent."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._feed.remove(self)
        self._messages.clear()
        self.end("closed")

    # --- by the feed

    def put(self, message: list[bytes]) -> None:
        """Add a message; a subscriber that has fallen behind too far gets no more.

        A mark replaces the one before it, so that no watch falls behind while nothing changes.
        """
        if self._messages and message[0] == self._messages[-1][0] == MARK_TOPIC:
            self._messages[-1] = message
        elif len(self._messages) < UNREAD_MAX and self._end is None:
            self._messages.append(message)
        else:
            self._end = self._end or FellBehind()
        self._wake()

    def end(self, reason: str) -> None:
        """Record that no further messages arrive."""
        self._end = self._end or StreamBroken(reason)
        self._wake()

    # ---

    def _wake(self) -> None:
        awaited = self._awaited
        if awaited is not None and not awaited.done() and not self._loop.is_closed():
            awaited.set_result(None)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._wake()
