"""Performing: drives a procedure of a recipe for a simulated client."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from protocol.client.calls import Ending
from protocol.client.initial_entries import InitialEntries
from protocol.client.link import Link
from protocol.coordination.procedure import AwaitChange, Commit, Entries, Procedure, ReadEntries
from protocol.messages.client import WHOLE, ChangePage, Compacted, Failed, ReadChanges
from protocol.state.commands import SessionExpired
from tests.simulation.entries_read import EntriesRead

if TYPE_CHECKING:
    from tests.simulation.client import Thread

LOOK_AGAIN_SECONDS = 0.02  # after which a page of changes is asked for again
PAGE_SECONDS = 0.5

Act = Callable[[], None]


def at_once(act: Act) -> None:
    """Do what a procedure wants to do without delay."""
    act()


class Performing:
    """One procedure, until it returns, fails or is given up at its deadline."""

    def __init__(
        self,
        thread: "Thread",
        procedure: Procedure[Any],
        deadline: float,
        done: Callable[..., None],
        commit: Callable[[Act], None] = at_once,
    ) -> None:
        """Call ``done`` with the result, or without one; give ``commit`` what sends a command."""
        self._thread = thread
        self._setting = thread.setting
        self._procedure = procedure
        self._deadline = deadline
        self._done = done
        self._commit = commit

    def go_on(self, result: object = None) -> None:
        """Send the result of a step, and perform the next one."""
        try:
            step = self._procedure.send(result)
        except StopIteration as stop:
            self._done(stop.value)
            return
        match step:
            case Commit(command=command):
                write = self._thread.write_loosely
                self._commit(partial(write, command, self._deadline, self._committed))
            case ReadEntries(prefix=prefix):
                EntriesRead(self._thread, prefix, self._read).go_on()
            case AwaitChange():
                self._setting.totals.turns_awaited += 1
                request = ReadChanges(step.prefix, step.since, WHOLE)
                self._look(step, request, Link(self._thread.client.route))

    def _committed(self, ending: Ending) -> None:
        outcome = ending.outcome
        if outcome is None or isinstance(outcome, Failed | SessionExpired):
            self._done()
        else:
            self.go_on(outcome)

    def _read(self, initial: InitialEntries | None) -> None:
        if initial is None:
            self._done()
        else:
            self.go_on(Entries(initial.revision, tuple(initial.scanned)))

    def _look(self, step: AwaitChange, request: ReadChanges, link: Link) -> None:
        """Read the next changes, until one ends the wait."""
        now = self._setting.events.now
        if now >= self._deadline:
            self._done()
            return

        def ended(ending: Ending) -> None:
            match ending.outcome:
                case Compacted():
                    self.go_on()
                case ChangePage() as page:
                    self._take(step, page, link)
                case _:
                    link.abandon(link.endpoint, self._setting.events.now)
                    self._setting.events.after(LOOK_AGAIN_SECONDS, self._look, step, request, link)

        self._thread.drive_loosely(request, now + PAGE_SECONDS, ended, link)

    def _take(self, step: AwaitChange, page: ChangePage, link: Link) -> None:
        for change in page.events:
            if step.ends_with(change.key, change.value is None):
                self.go_on()
                return
        request = ReadChanges(step.prefix, page.revision, page.position)
        self._setting.events.after(LOOK_AGAIN_SECONDS, self._look, step, request, link)
