"""The wires between nodes, and between clients and nodes: late, twice, out of order, not at all."""

from random import Random
from typing import Any

from tests.simulation.events import Action, Events
from tests.simulation.options import NetworkOptions
from tests.simulation.totals import Totals

Pair = tuple[str, str]


class Network:
    """Carries what is sent between two addresses, as far as it can."""

    def __init__(
        self, events: Events, chance: Random, options: NetworkOptions, totals: Totals
    ) -> None:
        self._events = events
        self._random = chance.random
        self._options = options
        self._totals = totals
        self._cut: set[Pair] = set()
        self._clogged: dict[Pair, float] = {}
        self._loss, self._duplicates = options.loss, options.duplicates

    def send(self, source: str, target: str, repeatable: bool, deliver: Action, *what: Any) -> None:
        """Carry a frame between nodes, which may get lost, late or arrive twice."""
        if (source, target) in self._cut:
            return
        if self._random() < self._loss:
            self._totals.lost += 1
            return
        self._carry(source, target, deliver, what)
        if repeatable and self._duplicates and self._random() < self._duplicates:
            self._totals.duplicated += 1
            self._carry(source, target, deliver, what)

    def send_once(self, source: str, target: str, deliver: Action, *what: Any) -> None:
        """Carry a message that may get lost together with its connection, and never comes twice."""
        if (source, target) not in self._cut and self._random() >= self._loss:
            self._carry(source, target, deliver, what)

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one address to another."""
        return (source, target) in self._cut

    def cut(self, pairs: set[Pair]) -> None:
        """Let nothing pass from the first to the second of each of these pairs."""
        self._cut |= pairs

    def mend(self, pairs: set[Pair]) -> None:
        """Let everything pass again between these pairs."""
        self._cut -= pairs

    def clog(self, pair: Pair, until: float) -> None:
        """Hold back what is sent until a moment, when all of it arrives."""
        self._clogged[pair] = until

    def calm(self) -> None:
        """Lose, double and hold back nothing from now on; what is cut stays cut."""
        self._loss = self._duplicates = 0.0
        self._clogged.clear()
        self._options = NetworkOptions(delay=min(self._options.delay, 0.005))

    def _carry(self, source: str, target: str, deliver: Action, what: tuple[Any, ...]) -> None:
        options, random = self._options, self._random
        delay = options.delay * (0.2 + random())
        if options.straggling and random() < options.straggling:
            self._totals.straggled += 1
            delay += options.straggle_delay * random()
        time = self._events.now + delay
        if self._clogged:
            time = max(time, self._clogged.get((source, target), 0.0))
        self._events.at(time, deliver, *what)
