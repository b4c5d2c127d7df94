"""Loose reads: stale reads and scans, which show the state at their revision, and a new enough one.

They are not linearizable: their guarantees are those of a session, and the bounds that they name.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import astuple

from protocol.client.calls import Ending
from protocol.client.link import Link
from protocol.client.pages import Pages
from protocol.messages.client import ANY_STALENESS, Failed, FailureCode, Get, Page, Scan
from protocol.state.commands import Found, Missing
from tests.harness.breach import expect
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

SCANS = 0.3  # share of loose reads
PRECEDED = 0.4  # share of stale reads right after a linearizable one, at the same node if it lasts
STALENESS_POWERS = (-3.0, -0.5)  # of ten, in seconds
BOUNDED, REQUIRING = 0.6, 0.3  # shares of stale reads
READ_AGAIN_SECONDS = 0.3  # for each of many reads at one node
PREFIXES = ("", "k/", "k/1", "n/", "p/")
LIMIT_MAX = 3  # entries of a page


class LooseReads:
    """The loose reads of all clients. Times are seconds."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._states = setting.judge.states
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

    def read_again_and_again(self, thread: "Thread", link: Link, count: int) -> None:
        """Read stale states of one node, while the client's other threads see those of others."""
        deadline = self._setting.events.now + READ_AGAIN_SECONDS

        def read_once_more(_: Ending) -> None:
            if count > 1:
                self.read_again_and_again(thread, link, count - 1)

        get = Get("k/0", max_staleness_ms=ANY_STALENESS)
        self._drive(thread, get, deadline, read_once_more, link)

    def _get(self, thread: "Thread", get: Get, deadline: float) -> None:
        self._drive(thread, get, deadline, lambda _: thread.go_on())

    def _drive(
        self,
        thread: "Thread",
        get: Get,
        deadline: float,
        then: Callable[[Ending], None],
        link: Link | None = None,
    ) -> None:
        least = thread.client.newest
        self._setting.totals.stale_reads += 1

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, Found | Missing):
                self._check(get, least, ending.outcome)
                thread.client.see(ending.outcome)
            then(ending)

        thread.drive_loosely(get, deadline, ended, link)

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
        shown = [astuple(each)[:5] for each in page.entries]  # without the lease
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
        scan = Scan(
            chance.randbytes(16),
            chance.choice(PREFIXES),
            0,
            max_staleness_ms=staleness,
            min_revision=revision,
            reverse=chance.random() < 0.5,
        )
        self._pages = Pages(scan)
        self._limit = chance.randint(1, LIMIT_MAX)

    def begin(self) -> None:
        """Read the first page."""
        self._thread.setting.totals.scans += 1
        self._go_on()

    def _go_on(self) -> None:
        scan = self._pages.request(self._limit)
        self._thread.drive_loosely(scan, self._deadline, partial(self._ended, scan), self._link)

    def _ended(self, scan: Scan, ending: Ending) -> None:
        page = ending.outcome
        if not isinstance(page, Page):
            is_gone = isinstance(page, Failed) and page.code is FailureCode.VIEW_GONE
            expect(bool(scan.revision) or not is_gone, "a scan had ended before it began")
            self._thread.go_on()
            return
        self._check(scan, page)
        self._thread.client.see(page)
        self._pages.take(page)
        if self._pages.is_over:
            self._thread.go_on()
        else:
            self._go_on()

    def _check(self, scan: Scan, page: Page) -> None:
        if scan.revision:
            expect(page.revision == scan.revision, "the pages of a scan show several revisions")
        else:
            expect(page.revision >= self._least, "a scan shows an older state than was seen")
        self._reads.check_page(scan, page)
