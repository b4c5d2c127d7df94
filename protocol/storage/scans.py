"""Scans: the views that scans read, so that all pages of one show the same revision.

A view keeps old rows on disk. It is dropped after ``IDLE_REVISIONS_MAX`` changes without a page, if
these took at least ``IDLE_SECONDS_MIN``, or for a newer scan when there are ``SCANS_MAX``: then it
is the longest idle one of the user that has the most. If that is the user of the newer scan, and
the view was read within ``ACTIVE_SECONDS``, the newer scan has to wait, unless its first page has
all. After its last page a view makes room for the next few that end, as a gateway or a client that
waited for too long may ask for that page again.
"""

import msgspec
from msgspec.structs import replace

from protocol.holdings import Holdings
from protocol.messages.client import Failed, FailureCode, Page, Scan, ScannedEntry
from protocol.state.key_value import decode_stored_value
from protocol.state.tables import SortedTable, TableView
from protocol.storage.key_range import key_range

SCANS_MAX = 1_024  # concurrent
ENDED_MAX = 256  # views whose last page was read: as many as may end with one reply
ACTIVE_SECONDS = 5.0  # in which most clients ask for the next page, even of a busy node
WAITING_ENTRIES_MAX = 1_000  # of a scan that gets no view
RETRY_MS = 500  # after which some scans have probably ended
IDLE_REVISIONS_MAX = 20_000
IDLE_SECONDS_MIN = 60.0  # for a reader that works on its page while others write much
PAGE_ENTRIES_MAX = 4_096  # in a page, of up to ``PAGE_BYTES_MAX``: appends wait while one is read
PAGE_COUNT_MAX = 10_000  # likewise, where entries are only counted
PAGE_BYTES_MAX = 1 << 20
BUSY = Failed(
    FailureCode.OVERLOADED,
    f"this node reads {SCANS_MAX} scans at a time: try again in {RETRY_MS / 1000:.2g} s",
    RETRY_MS,
)


class _View(msgspec.Struct):
    """The entries as they were at a revision."""

    revision: int
    rows: TableView
    read_at: int  # revision of the state at the last page
    read_time: float  # seconds of the wall clock


class Scans:
    """The scans in progress at one node."""

    def __init__(self, values: SortedTable) -> None:
        self._values = values
        self._views: Holdings[bytes, _View] = Holdings(SCANS_MAX)
        self._ended: Holdings[bytes, _View] = Holdings(ENDED_MAX)
        self._now = 0.0

    def set_time(self, now: float) -> None:
        """Tell the time, in seconds of the wall clock."""
        self._now = now

    def read(self, scan: Scan, user: bytes, revision: int) -> Page | Failed:
        """Return a page, the first one of the state at ``revision``, which must be written."""
        view = self._views.drop(user, scan.scan) or self._ended.drop(user, scan.scan)
        if not scan.revision:
            return self._begin(scan, user, revision)
        if view is None or view.revision != scan.revision:
            return _gone(scan)
        page = _page(scan, view)
        view.read_at, view.read_time = revision, self._now
        views = self._ended if _is_over(scan, page) else self._views
        views.add(user, scan.scan, view)
        views.make_room()
        return page

    def _begin(self, scan: Scan, user: bytes, revision: int) -> Page | Failed:
        """Return the first page, which is read anew if it is asked for again."""
        view = _View(revision, self._values.view(), revision, self._now)
        self._views.add(user, scan.scan, view)
        waits = self._is_surplus(user)
        limit = min(scan.limit, WAITING_ENTRIES_MAX) if waits else scan.limit
        page = _page(replace(scan, limit=limit), view)
        is_over = _is_over(scan, page)
        if is_over or waits:
            self._views.drop(user, scan.scan)
        self._views.make_room()
        return page if is_over or not waits else BUSY

    def _is_surplus(self, user: bytes) -> bool:
        """Whether a user has a view too many, and reads all others."""
        surplus = self._views.find_surplus()
        if surplus is None or surplus[0] != user:
            return False
        return abs(self._now - surplus[2].read_time) < ACTIVE_SECONDS

    def end_idle(self, revision: int) -> None:
        """Drop the views that were not read for many changes: no message reports a scan's end."""
        for views in (self._views, self._ended):
            for user, scan, view in views:
                is_idle = revision - view.read_at > IDLE_REVISIONS_MAX
                age = abs(self._now - view.read_time)  # the clock may have been set back
                if is_idle and age >= IDLE_SECONDS_MIN:
                    views.drop(user, scan)


def _is_over(scan: Scan, page: Page) -> bool:
    """Whether no further page will be asked for."""
    return not page.more or (scan.is_last and page.count >= scan.limit)


def _gone(scan: Scan) -> Failed:
    return Failed(
        FailureCode.VIEW_GONE,
        f"this node does not have the view of revision {scan.revision} of this scan: it was "
        f"restarted, or keeps {SCANS_MAX} newer scans, or the scan was idle for "
        f"{IDLE_REVISIONS_MAX} changes and {IDLE_SECONDS_MIN:g} s; or it began at another node",
    )


def _page(scan: Scan, view: _View) -> Page:
    limit = min(scan.limit, PAGE_COUNT_MAX if scan.counts else PAGE_ENTRIES_MAX)
    entries: list[ScannedEntry] = []
    count = size = 0
    end = b""
    keys = key_range(scan.prefix, scan.start_after, reverse=scan.reverse)
    for key, row in keys.rows(view.rows.scan(keys.first, reverse=scan.reverse)):
        if count >= limit or size > PAGE_BYTES_MAX:
            return Page(view.revision, tuple(entries), count, end.decode(), more=True)
        if not scan.counts:
            stored = decode_stored_value(row)
            history = (stored.create_revision, stored.revision, stored.version)
            shown = (*history, stored.value, *stored.lease_fields)
            entries.append(ScannedEntry(key.decode(), *shown))
            size += len(key) + len(row)
        count += 1
        end = key
    return Page(view.revision, tuple(entries), count, end.decode(), more=False)
