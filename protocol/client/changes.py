"""Change stream: the changes that one node publishes, without a silent gap.

A subscription counts from the node's confirmation on. Each published frame carries the node's
count of losses; when that moves, changes were dropped and the stream has ended.
"""

from collections.abc import Sequence

from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, MARK_TOPIC, Mark, Published
from protocol.wire import decode_established, decode_mark, decode_published

SILENCE_SECONDS = 5.0  # a node that published not even a mark for so long is gone
ESTABLISH_SECONDS = 1.0  # for one node to confirm, before another one is asked


class StreamBroken(Exception):
    """The stream has ended, for the reason in its text."""


class ChangeStream:
    """One subscription at one node. Times are seconds of a steady clock."""

    def __init__(self, prefix: bytes, nonce: bytes, now: float) -> None:
        """Begin; ``nonce`` is what the node names in its confirmation."""
        self.is_established = False
        self.revision = 0  # of the last change, or from which on changes are delivered
        self.silent_at = now + SILENCE_SECONDS
        self._confirmation = ESTABLISHED_TOPIC + nonce
        self._events = EVENT_TOPIC + prefix
        self._losses = 0

    @property
    def topics(self) -> tuple[bytes, bytes, bytes]:
        """What to subscribe to; the confirmation last."""
        return self._events, MARK_TOPIC, self._confirmation

    def take(self, frames: Sequence[bytes], now: float) -> Published | Mark | None:
        """Take a published message; return the change or the mark in it, if it counts.

        Raises:
            StreamBroken: changes may have been missed.
        """
        self.silent_at = now + SILENCE_SECONDS
        try:
            topic, body = frames
            return self._take(topic, body)
        except ValueError as error:  # Malformed, or another number of frames
            raise StreamBroken(f"the node published what is no change ({error})") from None

    def check_silence(self, now: float) -> None:
        """Look at the clock.

        Raises:
            StreamBroken: the node has published nothing for too long.
        """
        if now >= self.silent_at:
            raise StreamBroken("nothing was heard from the node for too long")

    def _take(self, topic: bytes, body: bytes) -> Published | Mark | None:
        if topic == self._confirmation:
            established = decode_established(body)
            self._losses, self.revision = established.losses, established.revision
            self.is_established = True
            return None
        if not self.is_established:
            return None
        if topic == MARK_TOPIC:
            mark = decode_mark(body)
            self._check_losses(mark.losses)
            return mark
        if not topic.startswith(self._events):
            return None
        published = decode_published(body)
        self._check_losses(published.losses)
        if published.revision <= self.revision:
            return None  # from before the subscription was established
        self.revision = published.revision
        return published

    def _check_losses(self, losses: int) -> None:
        if losses != self._losses:
            raise StreamBroken("the node could not send all changes")
