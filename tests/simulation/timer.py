"""The election timer of a simulated node: its clock may run faster or slower than others."""

from typing import TYPE_CHECKING

from protocol.election_clock import ElectionClock
from tests.simulation.actor import Actor

if TYPE_CHECKING:
    from tests.simulation.life import Life


class Timer(Actor):
    """Runs the election clock on virtual time."""

    name = "timer"

    def __init__(self, life: "Life") -> None:
        super().__init__(life)
        self._rate = life.node.clock_rate
        self._clock = ElectionClock(life.timeouts, self._now, self._random())

    def deadline(self) -> float:
        """Return when the next deadline is, in true time."""
        return self._clock.next_deadline() / self._rate + 1e-9

    def turn(self) -> None:
        """Take in what the replicator says, then tell it what is due."""
        for state in self._take_inbox():
            self._clock.update(state, self._now, self._random())
        due = self._clock.take_due(self._now, self._random())
        if due:
            self._events.note(self._place, "says", due)
            self.life.post("timer", self.life.replicator, due)

    @property
    def _now(self) -> float:
        return self._events.now * self._rate
