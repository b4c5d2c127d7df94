"""Many-reads: reads of several keys, which show the state of all at one revision.

A linearizable one shows every change that was committed when it began; a loose one is as new as it
requires, and no older than what its client has seen.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.client.link import Link
from protocol.messages.client import FoundMany, GetMany
from protocol.state.commands import Found, Missing
from tests.harness.breach import expect
from tests.simulation.change import Row
from tests.simulation.drafts import COUNTERS
from tests.simulation.loose_reads import LooseReads
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

LOOSE = 0.6  # share of these reads
KEYS_MAX = 5  # in one read
AT_ONCE = (1, 1, 3)  # reads


class ManyReads:
    """The reads of several keys of all clients."""

    def __init__(self, setting: Setting, loose: LooseReads) -> None:
        self._setting = setting
        self._loose = loose

    def begin(self, thread: "Thread", deadline: float) -> None:
        """Begin one, or several at once, as the threads or tasks of a client do."""
        left = self._setting.chance.choice(AT_ONCE)

        def ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                thread.go_on()

        for _ in range(left):
            self._read(thread, deadline, ended)

    def _read(self, thread: "Thread", deadline: float, done: Callable[[], None]) -> None:
        """Read from any node, as the nodes that serve loose reads lag behind differently."""
        read, client = self._draw(), thread.client
        least = client.newest
        if not read.max_staleness_ms:
            least = max(least, self._setting.judge.log.model.revision)
        self._setting.totals.reads_of_many += 1

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, FoundMany):
                self._check(read, least, ending.outcome)
                client.see(ending.outcome)
            done()

        thread.drive_loosely(read, deadline, ended, Link(client.route, stays=True))

    def _draw(self) -> GetMany:
        chance, options = self._setting.chance, self._setting.options
        written = [f"k/{number}" for number in range(options.keys)]
        known = [*written, *COUNTERS, "p/1", "p/10"]
        keys = tuple(chance.sample(known, chance.randint(2, min(KEYS_MAX, len(known)))))
        if chance.random() < LOOSE:
            return GetMany(keys, False, *self._loose.bounds())
        return GetMany(keys, leader_lease=chance.random() < options.by_lease)

    def _check(self, read: GetMany, least: int, outcome: FoundMany) -> None:
        judge, revision = self._setting.judge, outcome.revision
        is_committed = revision <= judge.log.model.revision
        expect(is_committed, "several keys are read at a revision that is not committed")
        expect(revision >= least, "several keys are read at an older revision than was seen")
        shown = {key: _row(each) for key, each in zip(read.keys, outcome.found, strict=True)}
        rows = {key: judge.states.row(key, revision) for key in read.keys}
        expect(shown == rows, f"several keys are not what they were at revision {revision}")


def _row(found: Found | Missing) -> Row | None:
    if isinstance(found, Missing):
        return None
    return (found.create_revision, found.mod_revision, found.version, found.value)
