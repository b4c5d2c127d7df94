"""Actor: one simulated process of a node, with its inbox and its turns."""

from typing import TYPE_CHECKING, Any

from protocol.deadlines import NEVER

if TYPE_CHECKING:
    from tests.simulation.life import Life

TURN_SHARE = 0.3  # maximum duration of a turn, as a share of an actor's message delay


class Actor:
    """Base of the four actors of a node.

    During a turn, or while the process is stopped, messages wait; the next turn takes them all.
    """

    name = ""

    def __init__(self, life: "Life") -> None:
        self.life = life
        self.paused = False
        self._events = life.setting.events
        self._random = life.setting.chance.random
        self._place = f"{life.node.name} {self.name}"
        self._turn_delay = life.setting.options.actor_delay * TURN_SHARE
        self._inbox: list[Any] = []
        self._busy_until = 0.0
        self._wake_at = NEVER

    def arrive(self, messages: list[Any]) -> None:
        """Receive messages from another actor of the same node."""
        if self.life.alive:
            self._inbox.extend(messages)
            self.rouse()

    def rouse(self) -> None:
        """Run a turn now, or right after the current one."""
        if self.paused:
            return
        if self._busy_until > self._events.now:
            self._wake(self._busy_until)
        else:
            self._run()

    def pause(self) -> None:
        """Stop the process, as by SIGSTOP."""
        self.paused = True

    def resume(self) -> None:
        """Resume the process, as by SIGCONT."""
        self.paused = False
        if self.life.alive:
            self.rouse()

    def turn(self) -> None:
        """Handle the messages that have arrived and the deadlines that are due."""
        raise NotImplementedError

    def deadline(self) -> float:
        """Return the time of the next deadline."""
        return NEVER

    def _run(self) -> None:
        self._busy_until = self._events.now + self._turn_delay * self._random()
        self.turn()
        self._wake(self.deadline())

    def _wake(self, time: float) -> None:
        """Schedule the next turn; an earlier one that is scheduled checks by itself."""
        if time < self._wake_at:
            self._wake_at = time
            self._events.at(max(time, self._events.now), self._awake, time)

    def _awake(self, time: float) -> None:
        if time != self._wake_at:
            return
        self._wake_at = NEVER
        if not self.life.alive or self.paused:
            return
        if self._has_arrivals() or self.deadline() <= self._events.now:
            self.rouse()
        else:
            self._wake(self.deadline())

    def _has_arrivals(self) -> bool:
        return bool(self._inbox)

    def _take_inbox(self) -> list[Any]:
        taken, self._inbox = self._inbox, []
        return taken
