"""Backoff: the pauses between the attempts at a transaction that conflicts with others."""

from protocol.deadlines import NEVER

LEAST_SECONDS = 0.05  # that must be left for another attempt
PAUSE_SECONDS = 0.002  # mean of the first pause, doubled each time
PAUSE_SECONDS_MAX = 0.2
SHORTEST_SECONDS = 0.001  # timeout of a request that begins at the deadline


class Backoff:
    """The pauses of one transaction. Times are seconds of a steady clock."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._pause = PAUSE_SECONDS

    def left(self, now: float) -> float | None:
        """Return the timeout of the next request, in seconds; None has no limit."""
        return None if self._deadline == NEVER else max(self._deadline - now, SHORTEST_SECONDS)

    def next_pause(self, now: float, chance: float) -> float | None:
        """Return the seconds to wait, scaled by a random ``chance`` from 0 to 1.

        It is None near the deadline: an attempt that begins too late may end without an answer, and
        so with an unknown outcome.
        """
        pause = 2 * chance * self._pause
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        return pause if now + pause + LEAST_SECONDS < self._deadline else None
