"""Publisher core: each change reaches every subscriber of its prefix, or a loss is signalled.

A subscriber that does not read fills its pipe, and messages then queue here until its connection is
closed. If that takes too long, the queue is released: it is sent to the subscribers that can take
it. The loss counter, which every later message carries, tells the others.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from protocol.deadlines import NEVER
from protocol.messages.client import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    PREV_TOPIC,
    Established,
    Mark,
    Published,
)
from protocol.messages.gateway import Following
from protocol.state.commands import Event
from protocol.wire import encode

MARK_SECONDS = 0.5
HELD_BACK_SECONDS = 4.0
HELD_BACK_MAX = 50_000  # messages
HELD_BACK_BYTES_MAX = 64 << 20
RETRY_SECONDS = 0.005


class Message(NamedTuple):
    """A queued message; ``since`` is when it was queued, in seconds."""

    topic: bytes
    body: bytes
    since: float


class Publisher:
    """The message queue of one node's publisher. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._losses = 0
        self._revision = 0
        self._mark_at = NEVER

    def establish(self, following: Following, now: float) -> None:
        """Confirm a subscription: the subscriber receives every change after this revision."""
        self._revision = max(self._revision, following.revision)
        self._mark_at = min(self._mark_at, now + MARK_SECONDS)
        body = encode(Established(self._losses, following.revision, prev_values=True))
        self._add(ESTABLISHED_TOPIC + following.nonce, body, now)

    def publish(self, events: tuple[Event, ...], now: float, *, prev_values: bool = False) -> None:
        """Publish changes in the order in which they were applied.

        With ``prev_values``, each is also published with the value before it, to other topics.
        """
        following = [event.revision for event in events[1:]]
        for event, next_revision in zip(events, [*following, 0], strict=True):
            body = Published(
                self._losses,
                event.revision,
                event.key,
                event.value,
                event.prev_revision,
                event.position,
                event.revision != next_revision,
                expired=event.expired,
            )
            self._add(EVENT_TOPIC + event.key.encode(), encode(body), now)
            if prev_values:
                full = replace(body, prev_value=event.prev_value)
                self._add(PREV_TOPIC + event.key.encode(), encode(full), now)
        self._revision = events[-1].revision

    def lose(self, revision: int, now: float) -> None:
        """Signal to all subscribers that changes up to a revision are not published."""
        self._losses += 1
        self._revision = max(self._revision, revision)
        self._mark_at = now

    def mark(self, now: float, *, has_subscribers: bool) -> None:
        """Queue a mark, if one is due: the revision up to which all is published."""
        if self._mark_at <= now:
            self._mark_at = now + MARK_SECONDS if has_subscribers else NEVER
            self._add(MARK_TOPIC, encode(Mark(self._losses, self._revision)), now)

    def next_deadline(self, now: float) -> float:
        """Return when to publish if no event occurs before."""
        return min(self._mark_at, now + RETRY_SECONDS if self._queue else NEVER)

    # --- sending, in order

    @property
    def is_clear(self) -> bool:
        """Whether the queue is empty."""
        return not self._queue

    def flush(self, send: Callable[[Message], bool]) -> None:
        """Send the queued messages in order, until ``send`` returns that a pipe is full."""
        while self._queue and send(self._queue[0]):
            self._queued_bytes -= len(self._queue.popleft().body)

    def held_seconds(self, now: float) -> float:
        """Return for how many seconds the message in front has been queued."""
        return now - self._queue[0].since if self._queue else 0.0

    def must_release(self, now: float) -> bool:
        """Whether the queue is too old or too large to wait for slow subscribers."""
        return (
            self.held_seconds(now) > HELD_BACK_SECONDS
            or len(self._queue) > HELD_BACK_MAX
            or self._queued_bytes > HELD_BACK_BYTES_MAX
        )

    def release(self) -> list[Message]:
        """Empty the queue and return it; the loss counter tells every subscriber of a gap."""
        self._losses += 1
        taken, self._queue = list(self._queue), deque()
        self._queued_bytes = 0
        return taken

    def _add(self, topic: bytes, body: bytes, now: float) -> None:
        self._queue.append(Message(topic, body, now))
        self._queued_bytes += len(body)
