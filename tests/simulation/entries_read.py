"""EntriesRead: the scans by which a simulated subscriber reads the entries that it begins with."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.client.initial_entries import InitialEntries
from protocol.client.link import Link
from protocol.messages.client import Failed, FailureCode, Page

if TYPE_CHECKING:
    from tests.simulation.client import Thread

PAGE_SECONDS = 1.0
PAUSES = 0.5  # share of reads after whose first page the subscriber's process is suspended
PAUSE_SECONDS_MAX = 3.0


class EntriesRead:
    """One such read; ``done`` gets its result, or None if it failed."""

    def __init__(
        self, thread: "Thread", prefix: str, done: Callable[[InitialEntries | None], None]
    ) -> None:
        self._thread = thread
        self._done = done
        self._beginning = InitialEntries(prefix)
        self._link = Link(thread.client.route, stays=True)
        chance = thread.setting.chance
        self._pause = PAUSE_SECONDS_MAX * chance.random() if chance.random() < PAUSES else 0.0

    def go_on(self) -> None:
        """Read the next page."""
        setting = self._thread.setting
        request = self._beginning.request(setting.chance.randbytes(16))
        deadline = setting.events.now + PAGE_SECONDS
        self._thread.drive_loosely(request, deadline, self._ended, self._link)

    def _ended(self, ending: Ending) -> None:
        match ending.outcome:
            case Page() as page:
                self._beginning.take(page)
                pause, self._pause = self._pause, 0.0
                self._thread.setting.events.after(pause, self._go_on_after_page)
            case Failed(code=FailureCode.VIEW_GONE) if self._beginning.begin_anew():
                self._thread.setting.totals.views_gone += 1
                self._link = Link(self._thread.client.route, stays=True)
                self.go_on()
            case _:
                self._done(None)

    def _go_on_after_page(self) -> None:
        if self._beginning.is_over:
            self._done(self._beginning)
        else:
            self.go_on()
