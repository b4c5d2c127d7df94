"""Timer: the election timer of a simulated node, by a clock with drift."""

from typing import TYPE_CHECKING

from protocol.election_clock import ElectionClock
from tests.simulation.actor import Actor

if TYPE_CHECKING:
    from tests.simulation.life import Life


class Timer(Actor):
    """Runs the election clock in virtual time."""

    name = "timer"

    def __init__(self, life: "Life") -> None:
        super().__init__(life)
        self._rate = life.node.clock_rate
        self._clock = ElectionClock(life.timeouts, self._now, self._random())

    def deadline(self) -> float:
        """Return when the next deadline is, in true time."""
        return self._clock.next_deadline() / self._rate + 1e-9

    def turn(self) -> None:
        """Handle the replicator's messages, and send it the deadlines that are due."""
        for state in self._take_inbox():
            self._clock.update(state, self._now, self._random())
        due = self._clock.take_due(self._now, self._random())
        if due:
            self._events.note(self._place, "says", due)
            self.life.post("timer", self.life.replicator, due)

    @property
    def _now(self) -> float:
        return self._events.now * self._rate
