"""Virtual time: what happens when, in which order, and what is remembered of it."""

import itertools
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple
from zlib import crc32

TAIL_EVENTS = 400  # of the latest events a failing run can show this many

Action = Callable[..., None]


class Happened(NamedTuple):
    """One event, as a failing run shows it."""

    time: float
    place: str
    what: str
    detail: Any


class Events:
    """All that is to happen; what is planned for one moment happens in the order of planning."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.hash = 0
        self.tail: deque[Happened] = deque(maxlen=TAIL_EVENTS)
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Action, *arguments: Any) -> None:
        """Plan something for a moment."""
        heappush(self._heap, (time, next(self._numbers), action, arguments))

    def after(self, delay: float, action: Action, *arguments: Any) -> None:
        """Plan something for some seconds from now."""
        heappush(self._heap, (self.now + delay, next(self._numbers), action, arguments))

    def step(self) -> None:
        """Let time pass until the next thing happens."""
        self.now, _, action, arguments = heappop(self._heap)
        action(*arguments)

    def pass_time(self, seconds: float) -> None:
        """Let some time pass."""
        until = self.now + seconds
        while self._heap[0][0] <= until:
            self.step()

    def note(self, place: str, what: str, detail: Any = None) -> None:
        """Remember that something happened; the hash depends on all that ever did."""
        self.count += 1
        self.hash = crc32(f"{self.now!r} {place} {what}".encode(), self.hash)
        self.tail.append(Happened(self.now, place, what, detail))
