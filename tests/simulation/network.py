"""Network: frames that arrive late, twice, out of order or not at all."""

from random import Random
from typing import Any

from tests.simulation.events import Action, Events
from tests.simulation.options import NetworkOptions
from tests.simulation.totals import Totals

Pair = tuple[str, str]


class Network:
    """Carries frames between two addresses, as far as the faults allow."""

    def __init__(
        self, events: Events, chance: Random, options: NetworkOptions, totals: Totals
    ) -> None:
        self._events = events
        self._random = chance.random
        self._options = options
        self._totals = totals
        self._cut: set[Pair] = set()
        self._clogged: dict[Pair, float] = {}
        self._starved: dict[Pair, float] = {}
        self._is_calm = False
        self._loss, self._duplicates = options.loss, options.duplicates

    def send(self, source: str, target: str, repeatable: bool, deliver: Action, *what: Any) -> None:
        """Carry a frame between nodes; it may be lost, late or duplicated."""
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
        """Carry a message that may be lost with its connection, but is never duplicated."""
        if (source, target) not in self._cut and self._random() >= self._loss:
            self._carry(source, target, deliver, what)

    def is_cut(self, source: str, target: str) -> bool:
        """Return whether the route from one address to another is cut."""
        return (source, target) in self._cut

    def cut(self, pairs: set[Pair]) -> None:
        """Cut the route from the first to the second of each pair."""
        self._cut |= pairs

    def mend(self, pairs: set[Pair]) -> None:
        """Restore the routes of these pairs."""
        self._cut -= pairs

    def clog(self, pair: Pair, until: float) -> None:
        """Hold frames back until a time, at which all arrive, unless all is calm."""
        if not self._is_calm:
            self._clogged[pair] = until

    def starve(self, pair: Pair, until: float) -> None:
        """Lose the log entries on a route until a time, and nothing else, unless all is calm."""
        if not self._is_calm:
            self._starved[pair] = until

    def starves(self, source: str, target: str) -> bool:
        """Return whether a route loses log entries."""
        return self._events.now < self._starved.get((source, target), 0.0)

    def calm(self) -> None:
        """Stop losing, duplicating and delaying frames; cuts remain."""
        self._is_calm = True
        self._loss = self._duplicates = 0.0
        self._clogged.clear()
        self._starved.clear()
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
