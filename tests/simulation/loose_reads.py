"""Loose reads: stale reads and scans, which show the state at their revision, and a new enough one.

They are not linearizable: their guarantees are those of a session, and the bounds that they name.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec.structs import astuple, replace

from protocol.client.calls import Ending
from protocol.client.link import Link
from protocol.messages.client import ANY_STALENESS, Failed, FailureCode, Get, Page, Scan
from protocol.state.commands import Event, Found, Missing
from tests.simulation.breach import expect
from tests.simulation.change import Row
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

SCANS = 0.3  # share of loose reads
PRECEDED = 0.4  # share of stale reads right after a linearizable one, at the same node if it lasts
STALENESS_POWERS = (-3.0, -0.5)  # of ten, in seconds
BOUNDED, REQUIRING = 0.6, 0.3  # shares of stale reads
PREFIXES = ("", "k/", "k/1", "n/", "p/")
LIMIT_MAX = 3  # entries of a page


class States:
    """The state at each revision, by the model's changes."""

    def __init__(self, changes: list[tuple[Event, ...]]) -> None:
        self._changes = changes
        self._known = 0  # changes in the histories
        self._histories: dict[str, list[tuple[int, Row | None]]] = {}  # by key and revision

    def row(self, key: str, revision: int) -> Row | None:
        """Return a key's row at a revision, or None."""
        self._catch_up()
        history = self._histories.get(key, [])
        place = bisect_right(history, revision, key=lambda each: each[0])
        return history[place - 1][1] if place else None

    def rows(self, prefix: str, revision: int) -> dict[str, Row]:
        """Return the rows under a prefix at a revision."""
        self._catch_up()
        keys = [key for key in self._histories if key.startswith(prefix)]
        found = {key: self.row(key, revision) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    def _catch_up(self) -> None:
        for events in self._changes[self._known :]:
            for event in events:
                history = self._histories.setdefault(event.key, [])
                history.append((event.revision, _after(event, history[-1][1] if history else None)))
        self._known = len(self._changes)


def _after(event: Event, before: Row | None) -> Row | None:
    if event.value is None:
        return None
    created, version = (event.revision, 0) if before is None else (before[0], before[2])
    return (created, event.revision, version + 1, event.value)


class LooseReads:
    """The loose reads of all clients. Times are seconds."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._states = States(setting.judge.log.model.changes)
        self.applied = setting.judge.applied_revisions

    def begin(self, thread: "Thread", key: str, deadline: float) -> None:
        """Begin a stale read, or a scan."""
        if self._setting.chance.random() < SCANS:
            _ScanInProgress(self, thread, deadline).begin()
        elif self._setting.chance.random() < PRECEDED:
            self._get_after_another(thread, key, deadline)
        else:
            self._get(thread, Get(key, False, *self.bounds()), deadline)

    def _get_after_another(self, thread: "Thread", key: str, deadline: float) -> None:
        """Begin a linearizable read, and then a stale one that it makes unnecessary to confirm."""
        events, chance = self._setting.events, self._setting.chance
        began = events.now

        def ended(_: Ending) -> None:
            staleness = 1 + int(1000 * (events.now - began) * chance.uniform(0, 1.2))
            self._get(thread, Get(key, max_staleness_ms=staleness), deadline)

        thread.drive_loosely(Get(key), deadline, ended)

    def _get(self, thread: "Thread", get: Get, deadline: float) -> None:
        least = thread.client.newest
        self._setting.totals.stale_reads += 1

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, Found | Missing):
                self._check(get, least, ending.outcome)
                thread.client.see(ending.outcome)
            thread.go_on()

        thread.drive_loosely(get, deadline, ended)

    def bounds(self) -> tuple[int, int]:
        """Return how stale a read may be, and the revision that it requires."""
        chance = self._setting.chance
        staleness = ANY_STALENESS
        if chance.random() < BOUNDED:
            staleness = int(1000 * 10 ** chance.uniform(*STALENESS_POWERS))
        return staleness, self.applied.newest if chance.random() < REQUIRING else 0

    def _check(self, get: Get, least: int, outcome: Found | Missing) -> None:
        revision = outcome.revision
        expect(revision >= least, "a client reads an older state than it has seen")
        row = self._states.row(get.key, revision)
        shown = None
        if isinstance(outcome, Found):
            history = (outcome.create_revision, outcome.mod_revision, outcome.version)
            shown = (*history, outcome.value)
        expect(shown == row, f"a stale read shows what was not there at revision {revision}")

    def check_page(self, scan: Scan, page: Page) -> None:
        """Check the entries of a page."""
        rows = self._states.rows(scan.prefix, page.revision)
        names = sorted(rows, key=str.encode, reverse=scan.reverse)
        after = scan.start_after
        if after is not None:
            names = [name for name in names if (name < after if scan.reverse else name > after)]
        expected = names[: scan.limit]
        shown = [astuple(each) for each in page.entries]
        expect(
            shown == [(name, *rows[name]) for name in expected],
            f"a page of a scan shows what was not there at revision {page.revision}",
        )
        expect(page.more == (len(names) > len(expected)), "a scan ends at the wrong entry")


class _ScanInProgress:
    """One scan of a thread."""

    def __init__(self, reads: LooseReads, thread: "Thread", deadline: float) -> None:
        chance = thread.setting.chance
        self._reads = reads
        self._thread = thread
        self._deadline = deadline
        self._least = thread.client.newest
        self._link = Link(thread.client.route, stays=True)
        staleness, revision = reads.bounds() if chance.random() < 0.5 else (0, 0)
        self._scan = Scan(
            chance.randbytes(16),
            chance.choice(PREFIXES),
            chance.randint(1, LIMIT_MAX),
            max_staleness_ms=staleness,
            min_revision=revision,
            reverse=chance.random() < 0.5,
        )

    def begin(self) -> None:
        """Read the first page."""
        self._thread.setting.totals.scans += 1
        self._thread.drive_loosely(self._scan, self._deadline, self._ended, self._link)

    def _ended(self, ending: Ending) -> None:
        page, scan = ending.outcome, self._scan
        if not isinstance(page, Page):
            is_gone = isinstance(page, Failed) and page.code is FailureCode.VIEW_GONE
            expect(bool(scan.revision) or not is_gone, "a scan had ended before it began")
            self._thread.go_on()
            return
        self._check(scan, page)
        self._thread.client.see(page)
        if page.more:
            self._next(page)
        else:
            self._thread.go_on()

    def _check(self, scan: Scan, page: Page) -> None:
        if scan.revision:
            expect(page.revision == scan.revision, "the pages of a scan show several revisions")
        else:
            expect(page.revision >= self._least, "a scan shows an older state than was seen")
        self._reads.check_page(scan, page)

    def _next(self, page: Page) -> None:
        self._scan = replace(self._scan, start_after=page.end, revision=page.revision)
        self._thread.drive_loosely(self._scan, self._deadline, self._ended, self._link)
