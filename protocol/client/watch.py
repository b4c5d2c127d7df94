"""Watch: all changes under a prefix from a place on, over any number of streams.

A node publishes each change once. Whenever a stream may have missed some, the watch fetches what
follows the last change from any node's history, and goes on with another stream. ``refusals`` has
the rule by which it ends.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from protocol.client.changes import ChangeStream, OlderNode
from protocol.messages.client import WHOLE, ChangePage, Mark, Published, ReadChanges
from protocol.state.commands import Event


class Place(NamedTuple):
    """A place in the order of all changes: after the change at a position of a revision."""

    revision: int
    position: int = WHOLE


class Need(Enum):
    """What a watch needs before its next change."""

    STREAM = "a confirmed subscription at a node"
    CHANGES = "a page of changes from the history of a node"
    MESSAGES = "published messages"


class Watch:
    """One watch. Times are seconds of a steady clock."""

    def __init__(self, prefix: str, since: int | None = None, *, prev_value: bool = False) -> None:
        """Begin after a revision, or with the first subscription.

        ``prev_value``: whether the changes have the values before them, if its streams have them.
        """
        self.stream: ChangeStream | None = None  # the confirmed one
        self._prefix = prefix
        self._prev_value = prev_value
        self._place = None if since is None else Place(since)
        self._complete_from = Place(0)  # where the stream goes on
        self._is_checked = since is None  # whether a node has the changes after the place
        self._fetched: deque[tuple[Event, Place]] = deque()
        self._fetched_until = Place(0)

    @property
    def revision(self) -> int:
        """The revision to resume from: all its changes were delivered; 0 before the first stream.

        Between the changes of one transaction, it is the revision before.
        """
        if self._place is None:
            return 0
        revision, position = self._place
        return revision if position == WHOLE else revision - 1

    @property
    def is_established(self) -> bool:
        """Whether all changes after the place will be delivered, as far as the nodes keep them."""
        return self.stream is not None and self._is_checked

    @property
    def is_lost(self) -> bool:
        """Whether it has neither a stream nor fetched changes."""
        return self.stream is None and not self._fetched

    @property
    def is_behind(self) -> bool:
        """Whether it must fetch missing changes before it has another one to deliver."""
        return not self._fetched and self.need is Need.CHANGES

    @property
    def need(self) -> Need:
        """What the watch needs, once ``next_fetched`` has no change left."""
        if self.stream is None:
            return Need.STREAM
        assert self._place is not None
        is_complete = self._is_checked and self._place >= self._complete_from
        return Need.MESSAGES if is_complete else Need.CHANGES

    # --- streams

    def begin_stream(self, stream: ChangeStream) -> None:
        """Go on with a confirmed stream, once the changes up to its beginning are fetched."""
        self.stream = stream
        begin = Place(stream.revision)
        self._place = self._place or begin
        self._complete_from = max(begin, self._complete_from)

    def end_stream(self) -> None:
        """Give up the stream, which may have missed changes."""
        self.stream = None

    def take(self, frames: Sequence[bytes], now: float) -> Event | None:
        """Process a published message; return its change, None if it has no new one.

        Raises:
            StreamBroken: changes may have been missed, or the message is malformed.
        """
        assert self.stream is not None
        assert self._place is not None
        published = self.stream.take(frames, now)
        if isinstance(published, Mark):
            self._place = max(self._place, Place(published.revision))
        if not isinstance(published, Published):
            return None
        revision, position = published.revision, published.position
        if (revision, position) <= self._place:
            return None  # from before the stream began
        self._place = Place(revision, WHOLE if published.last else position)
        return _event(published)

    # --- history

    def request(self) -> ReadChanges:
        """Return the read of the next page of missing changes."""
        assert self._place is not None
        least = max(self._place.revision, self._complete_from.revision)
        return ReadChanges(self._prefix, *self._place, least, self._prev_value)

    def take_page(self, page: ChangePage) -> None:
        """Take a page of missing changes, to be delivered one by one.

        Raises:
            OlderNode: it has no previous values, which are asked for.
        """
        if self._prev_value and not page.prev_values:
            raise OlderNode
        self._is_checked = True
        self._fetched_until = Place(page.revision, page.position)
        if not page.events:
            self._place = self._fetched_until
            return
        following = [Place(each.revision, each.position) for each in page.events[1:]]
        for event, after in zip(page.events, [*following, self._fetched_until], strict=True):
            is_last = after.revision > event.revision or after.position == WHOLE
            place = Place(event.revision) if is_last else Place(event.revision, event.position)
            self._fetched.append((event, place))

    def begin_with(self, entries: Iterable[Event], revision: int) -> None:
        """Deliver the entries of a revision first, then a mark without a key, then the changes."""
        self._fetched.extend((entry, Place(0)) for entry in entries)
        self._fetched_until = Place(revision)
        self._fetched.append((Event(revision, "", None, 0), self._fetched_until))

    def next_fetched(self) -> Event | None:
        """Return the next fetched change, if there is one."""
        if not self._fetched:
            return None
        event, self._place = self._fetched.popleft()
        if not self._fetched:
            self._place = self._fetched_until
        return event


def _event(published: Published) -> Event:
    return Event(
        published.revision,
        published.key,
        published.value,
        published.prev_revision,
        published.position,
        published.prev_value,
        published.expired,
    )
