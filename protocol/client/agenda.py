"""Agenda: numbers in the order of the times at which they are due.

A change costs the logarithm of their count. Times are seconds of the client's steady clock.
"""

import heapq

from protocol.deadlines import NEVER

STALE_MAX = 1000  # places in the heap that were given up, besides one for each number


class Agenda:
    """Numbers, each with the time at which it is due."""

    def __init__(self) -> None:
        self._times: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # stale where the time is another one now

    def set(self, number: int, at: float) -> None:
        """Set or change the time of a number."""
        if self._times.get(number) != at:
            heapq.heappush(self._heap, (at, number))  # first, so that an interrupt loses no number
            self._times[number] = at
            self._shrink()

    def drop(self, number: int) -> None:
        """Forget a number."""
        if self._times.pop(number, None) is not None:
            self._shrink()

    def first(self) -> int | None:
        """Return the number that is due first; None if there is none."""
        while self._heap:
            at, number = self._heap[0]
            if self._times.get(number) == at:
                return number
            heapq.heappop(self._heap)
        return None

    def next_deadline(self) -> float:
        """Return when the first number is due."""
        number = self.first()
        return NEVER if number is None else self._times[number]

    def take_due(self, now: float, count_max: int) -> list[int]:
        """Remove and return numbers that are due, the first ones first."""
        due: list[int] = []
        while len(due) < count_max and self.next_deadline() <= now:
            _, number = heapq.heappop(self._heap)
            del self._times[number]
            due.append(number)
        return due

    def _shrink(self) -> None:
        """Remove the stale places once they are most of the heap."""
        if len(self._heap) > 2 * len(self._times) + STALE_MAX:
            heap = [(at, number) for number, at in self._times.items()]
            heapq.heapify(heap)
            self._heap = heap
