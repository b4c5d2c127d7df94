"""Change history: the latest changes of the state, for watchers that resume.

A row holds the changes of one entry, under the last of their revisions. It is written with the
state, so that both agree after a crash. Rows are dropped by whole segments, the oldest first, once
a limit is exceeded. A snapshot brings no history: what came before it is compacted.
"""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from protocol.compaction import HistoryLimits
from protocol.encoding import encode
from protocol.keys import encode_prefix
from protocol.messages.client import WHOLE, ChangePage, Compacted, ReadChanges
from protocol.state.commands import Event
from protocol.state.tables import SortedTable, Table
from protocol.storage.state_tables import AFTER_ALL_KEYS

SEGMENTS = 32  # into which the history is divided
PAGE_EVENTS_MAX = 2_000  # in a page, of up to ``PAGE_BYTES_MAX``: appends wait while one is read
PAGE_BYTES_MAX = 1 << 20
PAGE_EXAMINED_MAX = 5_000  # changes, or rows without the prefix, or KiB of either

_SEGMENTS_KEY = b"history_segments"

decode_events = msgspec.msgpack.Decoder(tuple[Event, ...]).decode


class Segment(msgspec.Struct, array_like=True):
    """Consecutive rows, and when the first one was written."""

    after: int  # revision before its first change
    began_at: float  # seconds of the wall clock
    changes: int = 0
    bytes: int = 0


_decode_segments = msgspec.msgpack.Decoder(list[Segment]).decode


class ChangeHistory:
    """The kept changes of one node."""

    def __init__(
        self, changes: SortedTable, meta: Table, limits: HistoryLimits, revision: int
    ) -> None:
        """Continue a history, or begin one after ``revision``."""
        self._changes = changes
        self._meta = meta
        self._limits = limits
        self._now = 0.0
        self.examined = 0  # for all pages so far, as ``PAGE_EXAMINED_MAX`` counts
        stored = meta.get(_SEGMENTS_KEY)
        self._segments = [] if stored is None else _decode_segments(stored)
        if self._segments and self._last_revision() == revision:
            self._count_last()
        else:  # none yet, or the state was changed without it
            self.restart(revision)

    @property
    def after(self) -> int:
        """The revision after which every change is kept."""
        return self._segments[0].after

    def set_time(self, now: float) -> None:
        """Tell the time, in seconds of the wall clock; old segments are dropped at the next row."""
        self._now = now

    def restart(self, revision: int) -> None:
        """Drop everything: the history begins after this revision."""
        self._changes.delete_range(b"", AFTER_ALL_KEYS)
        self._segments = [Segment(revision, self._now)]
        self._store()

    def add(self, events: tuple[Event, ...]) -> int:
        """Add the changes of one entry; return the bytes of their row."""
        row = encode(events)
        last = events[-1].revision
        self._changes.put(_key(last), row)
        segment = self._segments[-1]
        segment.changes += len(events)
        segment.bytes += len(row)
        limits = self._limits
        if (
            segment.changes * SEGMENTS > limits.changes
            or segment.bytes * SEGMENTS > limits.bytes
            or (self._now - segment.began_at) * SEGMENTS > limits.seconds
        ):
            self._segments.append(Segment(last, self._now))
            self._trim()
            self._store()
        return len(row)

    def read(self, request: ReadChanges, revision: int) -> ChangePage | Compacted:
        """Return changes after a place, of the state at ``revision``, which must be written."""
        if (request.after, request.position) < (self.after, WHOLE):
            return Compacted(self.after)
        return self._page(request, revision)

    # ---

    def _page(self, request: ReadChanges, revision: int) -> ChangePage:
        prefix = encode_prefix(request.prefix)
        start = (request.after, request.position)
        found: list[Event] = []
        full = request.prev_value
        size = 0
        examined_max = self.examined + PAGE_EXAMINED_MAX
        for last, events in self._rows_from(start, prefix):
            for event in events:
                place = (event.revision, event.position)
                if place <= start or not event.key.encode().startswith(prefix):
                    continue
                if len(found) >= PAGE_EVENTS_MAX or size > PAGE_BYTES_MAX:
                    return ChangePage(tuple(found), *_before(place), more=True, prev_values=full)
                found.append(event if full else _without_prev_value(event))
                size += _size(found[-1])
            if self.examined >= examined_max:
                return ChangePage(tuple(found), last, WHOLE, more=True, prev_values=full)
        return ChangePage(tuple(found), revision, WHOLE, more=False, prev_values=full)

    def _rows_from(
        self, start: tuple[int, int], prefix: bytes
    ) -> Iterator[tuple[int, tuple[Event, ...]]]:
        """Yield the last revision of each row from a place on, and its changes.

        A row in which the prefix does not occur is yielded without them, which is far quicker.
        """
        first = start[0] if start[1] < WHOLE else start[0] + 1
        for key, row in self._changes.scan(_key(first)):
            events = decode_events(row) if prefix in row else ()
            self.examined += max(1, len(events), len(row) >> 10)
            yield int.from_bytes(key, "big"), events

    def _trim(self) -> None:
        """Drop the oldest segments beyond a limit."""
        before = self.after
        changes = sum(each.changes for each in self._segments)
        size = sum(each.bytes for each in self._segments)
        while len(self._segments) > 1 and (
            changes > self._limits.changes
            or size > self._limits.bytes
            or self._segments[1].began_at < self._now - self._limits.seconds
        ):
            oldest = self._segments.pop(0)
            changes -= oldest.changes
            size -= oldest.bytes
        if self.after > before:
            self._changes.delete_range(b"", _key(self.after + 1))

    def _last_revision(self) -> int:
        """Return the revision of the last change; without any, the one after which it begins."""
        last = next(iter(self._changes.keys(AFTER_ALL_KEYS, reverse=True)), None)
        return self.after if last is None else int.from_bytes(last, "big")

    def _count_last(self) -> None:
        """Count the rows of the last segment, which was not stored when it ended."""
        segment = self._segments[-1]
        segment.changes = segment.bytes = 0
        for _, row in self._changes.scan(_key(segment.after + 1)):
            segment.changes += len(decode_events(row))
            segment.bytes += len(row)

    def _store(self) -> None:
        self._meta.put(_SEGMENTS_KEY, encode(self._segments))


def _key(revision: int) -> bytes:
    return revision.to_bytes(8, "big")


def _without_prev_value(event: Event) -> Event:
    return replace(event, prev_value=None)


def _size(event: Event) -> int:
    return len(event.key) + len(event.value or b"") + len(event.prev_value or b"")


def _before(place: tuple[int, int]) -> tuple[int, int]:
    """Return the place before that of a change."""
    revision, position = place
    return (revision, position - 1) if position else (revision - 1, WHOLE)
