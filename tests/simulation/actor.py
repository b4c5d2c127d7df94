"""One process of a node: takes what has arrived, unless it is stopped, and what is due."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.life import Life

NEVER = float("inf")
TURN_SHARE = 0.3  # of a message's way between two actors: so long a turn takes at most


class Actor:
    """What the four actors of a node have in common.

    While a turn takes its time or the process is stopped, what arrives waits, and is then taken
    in all at once.
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
        """Take in what another actor of the same node has sent."""
        if self.life.alive:
            self._inbox.extend(messages)
            self.rouse()

    def rouse(self) -> None:
        """Run a turn now, or as soon as the one before is over."""
        if self.paused:
            return
        if self._busy_until > self._events.now:
            self._wake(self._busy_until)
        else:
            self._run()

    def pause(self) -> None:
        """Stop the process where it is."""
        self.paused = True

    def resume(self) -> None:
        """Let the process go on."""
        self.paused = False
        if self.life.alive:
            self.rouse()

    def turn(self) -> None:
        """Handle what has arrived, and what is due."""
        raise NotImplementedError

    def deadline(self) -> float:
        """Return when something will be due though nothing arrives."""
        return NEVER

    def _run(self) -> None:
        self._busy_until = self._events.now + self._turn_delay * self._random()
        self.turn()
        self._wake(self.deadline())

    def _wake(self, time: float) -> None:
        """Plan the next turn; one that is planned for earlier finds out by itself."""
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
