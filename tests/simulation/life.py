"""Life: one incarnation of a node, from start to crash, with its actors and their channels."""

from typing import TYPE_CHECKING, Any

from tests.simulation.actor import Actor
from tests.simulation.door import Door
from tests.simulation.options import HASTY, PATIENT
from tests.simulation.replicator import Replicator
from tests.simulation.storage import Storage
from tests.simulation.timer import Timer

if TYPE_CHECKING:
    from tests.simulation.node import Node

SPIKES = 0.01  # share of much slower messages between actors
SPIKE = 20


class Life:
    """The processes of a node, which end together."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.level = node.level
        self.setting = node.setting
        self.alive = True
        self._events = node.setting.events
        self._random = node.setting.chance.random
        self._delay = node.setting.options.actor_delay
        self._last_arrival: dict[str, float] = {}
        self.timeouts = self.setting.options.timeouts
        if self.setting.options.retimed:
            self.timeouts = self.setting.chance.choice((PATIENT, HASTY))
        self.storage = Storage(self)
        self.replicator = Replicator(self)
        self.gateway = Door(self)
        self.timer = Timer(self)
        self.storage.begin()
        self.timer.rouse()

    @property
    def actors(self) -> tuple[Actor, ...]:
        """All four."""
        return (self.replicator, self.storage, self.gateway, self.timer)

    def post(self, channel: str, to: Actor, messages: list[Any]) -> None:
        """Send messages to another actor, in order on each channel."""
        delay = self._delay * (0.1 + self._random())
        if self._random() < SPIKES:
            delay *= SPIKE
        time = max(self._events.now + delay, self._last_arrival.get(channel, 0.0))
        self._last_arrival[channel] = time
        self._events.at(time, to.arrive, messages)

    def end(self) -> None:
        """Kill all four."""
        self.alive = False
        self.gateway.cut_off()
