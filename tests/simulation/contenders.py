"""Contenders: clients that wait for their turns in lines, and make fenced writes while they last.

Some fall silent, and some go on without a look at their clock.
"""

from random import Random
from typing import TYPE_CHECKING

import msgspec

from protocol.client.calls import Ending
from protocol.client.held_lease import HeldLease
from protocol.coordination.line import Line, contend
from protocol.encoding import encode
from protocol.state.commands import Fence, Inapplicable, Increment, Remove, Transact
from tests.simulation.lease_user import LeaseUser
from tests.simulation.performing import Performing
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

LINES = (Line("x/lock-"), Line("x/slot-", slots=2), Line("x/side-", shared="x/side-r"))
WEIGHTS = (1, 1, 2)  # of readers and writers, two of which conflict less often
MIXED = 0.3  # share of runs with all lines; others crowd one
VALUE = encode(None)
TTLS_MS = (200, 600, 2000)
PATIENCE_SECONDS = (0.2, 4.0)
WRITES_MAX = 3
CARELESS = 0.3  # share of writes before which a holder does not look at its clock
SILENT = 0.2  # share of turns after which a holder keeps its lease alive no longer
TIRED = 0.03  # share of keep-alives after which it does not, although it goes on
STOPS, STOP_SECONDS_MAX = 0.15, 3.0  # share of writes before which a holder stops, and how long
IMPATIENCE_SECONDS = 0.2  # for a keep-alive
STOPPED_SECONDS_MAX = (WRITES_MAX + 1) * STOP_SECONDS_MAX  # in one turn
WORK_SECONDS_MAX = 0.05


class Turn(msgspec.Struct, eq=False):
    """A contender, and its turn once it has come."""

    line: Line
    key: str
    held: HeldLease
    token: int = 0
    is_kept: bool = True  # whether its lease is kept alive


class Contender(LeaseUser):
    """The turns of one client."""

    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__(setting, f"contender {name}")
        chance = Random(f"lines {setting.options.seed}")  # the same for all clients of a run
        self._lines = LINES if chance.random() < MIXED else chance.choices(LINES, WEIGHTS)

    def begin(self, thread: "Thread") -> None:
        """Contend for one turn of a line."""
        deadline = self._setting.events.now + self._chance.uniform(*PATIENCE_SECONDS)

        def granted(held: HeldLease | None) -> None:
            if held is None:
                thread.go_on()
            else:
                self._contend(thread, held, deadline)

        self._grant(thread, deadline, granted, TTLS_MS)

    def _contend(self, thread: "Thread", held: HeldLease, deadline: float) -> None:
        line = self._chance.choice(self._lines)
        kind = self._chance.choice("rw") if line.shared else ""
        turn = Turn(line, f"{line.prefix}{kind}{self._chance.randbytes(8).hex()}", held)

        def ended(token: int | None = None) -> None:
            if token is None or not held.remaining(self._now):
                turn.is_kept = False
                thread.go_on()
                return
            turn.token = token
            self._setting.judge.turn_bounds.begins(line, turn.key, token, held.id)
            self._work(thread, turn, self._chance.randint(0, WRITES_MAX))

        self._tend(thread, turn)
        Performing(thread, contend(line, turn.key, VALUE, held.id), deadline, ended).go_on()

    def _tend(self, thread: "Thread", turn: Turn) -> None:
        """Keep the lease of a turn alive, as the background of a client does."""
        turn.is_kept = turn.is_kept and not turn.held.is_lost and not thread.stopped
        if not turn.is_kept or self._chance.random() < TIRED:
            return
        pause = turn.held.ttl * self._chance.uniform(0.1, 0.4)

        def again() -> None:
            self._setting.events.after(pause, self._tend, thread, turn)

        self._send(thread, [turn.held], IMPATIENCE_SECONDS, again)

    # --- a turn

    def _work(self, thread: "Thread", turn: Turn, writes: int) -> None:
        """Make some fenced writes, then end the turn."""
        stops = self._chance.random() < STOPS
        delay = self._chance.uniform(0, STOP_SECONDS_MAX if stops else WORK_SECONDS_MAX)
        act = self._write if writes else self._end
        self._setting.events.after(delay, act, thread, turn, writes - 1)

    def _write(self, thread: "Thread", turn: Turn, left: int) -> None:
        if not turn.held.remaining(self._now) and self._chance.random() > CARELESS:
            self._end(thread, turn, 0)
            return
        fence = Fence(turn.key, turn.token)

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, Inapplicable):
                counts_on_it = turn.held.remaining(self._now) > 0
                self._setting.judge.turn_bounds.fenced_off(counts_on_it)
            self._work(thread, turn, left)

        command = Transact((), (Increment(f"y/{turn.line.prefix}"),), (), (fence,))
        thread.write_loosely(command, self._deadline(), ended)

    def _end(self, thread: "Thread", turn: Turn, _: int) -> None:
        turn.is_kept = False
        if self._chance.random() < SILENT:
            thread.go_on()
            return
        self._setting.judge.turn_bounds.ends(turn.line.prefix, turn.key)
        thread.write_loosely(Remove(turn.key), self._deadline(), lambda _: thread.go_on())

    def _deadline(self) -> float:
        return self._setting.events.now + self._chance.uniform(*PATIENCE_SECONDS)
