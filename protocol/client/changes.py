"""Change stream: the changes that one node publishes; a possible gap ends the stream.

A subscription is established by the node's confirmation. Each published frame carries the node's
loss counter; when it changes, the node dropped changes and the stream ends. After the confirmation,
changes from before it may still arrive.
"""

from collections.abc import Sequence

from protocol.messages.client import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    PREV_TOPIC,
    Mark,
    Published,
)
from protocol.wire import decode_established, decode_mark, decode_published

SILENCE_SECONDS = 5.0  # without even a mark, after which the node counts as lost
ESTABLISH_SECONDS = 1.0  # for a node to confirm, before another one is tried


class StreamBroken(Exception):
    """The stream has ended, for the reason in its text."""


class OlderNode(StreamBroken):
    """The node runs a version that does not know previous values."""

    def __init__(self) -> None:
        super().__init__("the node runs an older version, which keeps no previous values")


class ChangeStream:
    """One subscription at one node. Times are seconds of a steady clock."""

    def __init__(
        self, prefix: bytes, nonce: bytes, now: float, *, prev_value: bool = False
    ) -> None:
        """Watch the keys under ``prefix``; the node's confirmation repeats ``nonce``.

        With ``prev_value``, the changes have the values before them.
        """
        self.is_established = False
        self.revision = 0  # after which every change arrives, once that is confirmed
        self.silent_at = now + SILENCE_SECONDS
        self._confirmation = ESTABLISHED_TOPIC + nonce
        self._events = (PREV_TOPIC if prev_value else EVENT_TOPIC) + prefix
        self._prev_value = prev_value
        self._losses = 0

    @property
    def topics(self) -> tuple[bytes, bytes, bytes]:
        """The topics to subscribe to, the confirmation last."""
        return self._events, MARK_TOPIC, self._confirmation

    def take(self, frames: Sequence[bytes], now: float) -> Published | Mark | None:
        """Process a published message; return its change or mark, None if it has no news.

        Raises:
            StreamBroken: changes may have been missed, or the message is malformed.
            OlderNode: the node publishes no previous values, which are asked for.
        """
        self.silent_at = now + SILENCE_SECONDS
        try:
            topic, body = frames
            return self._take(topic, body)
        except ValueError as error:  # Malformed, or another number of frames
            raise StreamBroken(f"the node published a malformed message ({error})") from None

    def check_silence(self, now: float) -> None:
        """Check how long the node has been silent.

        Raises:
            StreamBroken: the node has published nothing for too long.
        """
        if now >= self.silent_at:
            raise StreamBroken("the node has published nothing for too long")

    def _take(self, topic: bytes, body: bytes) -> Published | Mark | None:
        if topic == self._confirmation:
            established = decode_established(body)
            if self._prev_value and not established.prev_values:
                raise OlderNode
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
        return published

    def _check_losses(self, losses: int) -> None:
        if losses != self._losses:
            raise StreamBroken("the node dropped changes")
