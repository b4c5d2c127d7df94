"""Events: virtual time, scheduled actions, and a record of what happened."""

import itertools
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple
from zlib import crc32

TAIL_EVENTS = 400  # events that a failing run can show

Action = Callable[..., None]


class Happened(NamedTuple):
    """A past event, as a failing run shows it."""

    time: float
    place: str
    what: str
    detail: Any


class Events:
    """The scheduled actions; actions of one moment run in the order of scheduling."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.hash = 0
        self.tail: deque[Happened] = deque(maxlen=TAIL_EVENTS)
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Action, *arguments: Any) -> None:
        """Schedule an action for a time."""
        heappush(self._heap, (time, next(self._numbers), action, arguments))

    def after(self, delay: float, action: Action, *arguments: Any) -> None:
        """Schedule an action after a delay in seconds."""
        heappush(self._heap, (self.now + delay, next(self._numbers), action, arguments))

    def step(self) -> None:
        """Advance time to the next action, and run it."""
        self.now, _, action, arguments = heappop(self._heap)
        action(*arguments)

    def pass_time(self, seconds: float) -> None:
        """Advance time by a number of seconds."""
        until = self.now + seconds
        while self._heap[0][0] <= until:
            self.step()

    def note(self, place: str, what: str, detail: Any = None) -> None:
        """Record an event; the hash depends on all events so far."""
        self.count += 1
        self.hash = crc32(f"{self.now!r} {place} {what}".encode(), self.hash)
        self.tail.append(Happened(self.now, place, what, detail))
