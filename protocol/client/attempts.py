"""Attempts: the pace of retries, and what the attempts so far have shown of the nodes."""

ATTEMPT_SECONDS = 1.0  # at least so long a node that is connected may take to answer
ATTEMPTS = 3  # into which a deadline is divided where there is time for that
SPACE_SECONDS = 0.5  # within which a leader without space has moved to a node that has some
PAUSE_SECONDS = 0.02  # before the next attempt, doubled each time
PAUSE_SECONDS_MAX = 0.2


class Attempts:
    """The attempts of one exchange. Times are seconds of a steady clock."""

    __slots__ = ("_attempt_seconds", "_full_since", "_pause", "deadline", "obstacle", "reached")

    def __init__(self, deadline: float, attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        self.deadline = deadline
        self.reached = False  # whether any node was
        self.obstacle = ""  # why the last node could not be asked, or was not believed
        self._attempt_seconds = attempt_seconds
        self._pause = PAUSE_SECONDS
        self._full_since: float | None = None

    def awaits_space(self, now: float) -> bool:
        """Whether a refusal for lack of space may be over soon: the leader may be moving."""
        self._full_since = now if self._full_since is None else self._full_since
        return now - self._full_since < SPACE_SECONDS

    def is_last(self, now: float, *, pauses: bool) -> bool:
        """Whether too little time is left for another attempt, after a pause if there is one."""
        return self.deadline - now <= PAUSE_SECONDS + (self._pause if pauses else 0.0)

    def next_deadline(self, now: float) -> float:
        """Return until when the present attempt may take."""
        share = max(self._attempt_seconds, (self.deadline - now) / ATTEMPTS)
        return min(self.deadline, now + share)

    def next_pause(self, now: float) -> float:
        """Return how many seconds to wait before the next attempt: each time twice as many."""
        pause = self._pause
        self._pause = min(2 * pause, PAUSE_SECONDS_MAX)
        return min(pause, max(0.0, self.deadline - now))
