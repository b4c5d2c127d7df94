"""Attempts: deadlines, pauses and errors of the attempts of one call."""

from collections.abc import Iterable

from protocol.client.routing import address_of
from protocol.security.handshakes import Trouble

ATTEMPT_SECONDS = 1.0  # minimum time for a connected node to answer
ATTEMPT_SECONDS_MAX = 3.0  # likewise at most: a partitioned node holds requests without an answer
ATTEMPTS = 3  # number of attempts that a timeout is divided into
SPACE_SECONDS = 0.5  # within which leadership moves away from a node without space
PAUSE_SECONDS = 0.02  # before the next attempt, doubled each time
PAUSE_SECONDS_MAX = 0.2


class Attempts:
    """The attempts of one exchange. Times are seconds of a steady clock."""

    __slots__ = (
        "_attempt_seconds",
        "_full_since",
        "_pause",
        "deadline",
        "denials",
        "obstacle",
        "reached",
        "suspicion",
    )

    def __init__(self, deadline: float, attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        self.deadline = deadline
        self.reached = False  # whether any node was reached
        self.obstacle = ""  # why the last node could not be reached, or was rejected
        self.denials: dict[str, Trouble] = {}  # why the nodes of endpoints refuse this client
        self.suspicion = ""  # why the last node may refuse it
        self._attempt_seconds = attempt_seconds
        self._pause = PAUSE_SECONDS
        self._full_since: float | None = None

    def are_denied(self, endpoints: Iterable[str]) -> bool:
        """Whether the nodes of all these endpoints refuse this client."""
        return self.denials.keys() >= set(endpoints)

    def note_trouble(self, endpoint: str, trouble: Trouble) -> None:
        """Record what a failed handshake says of the node at an endpoint."""
        if trouble.is_certain:
            self.denials[endpoint] = trouble
        else:
            self.suspicion = f"the node at {address_of(endpoint)} {trouble.text}"

    @property
    def denied_by(self) -> str:
        """The sentence that tells which nodes refuse this client, and why; empty if none does."""
        if not self.denials:
            return ""
        endpoint, trouble = next(iter(self.denials.items()))
        others = sum(each is trouble for each in self.denials.values()) - 1
        more = f", as do {others} others" if others else ""
        return f"the node at {address_of(endpoint)} {trouble.text}{more}"

    def awaits_space(self, now: float) -> bool:
        """Whether to retry after a lack of space: leadership may be moving to a node with room."""
        self._full_since = now if self._full_since is None else self._full_since
        return now - self._full_since < SPACE_SECONDS

    def is_last(self, now: float, *, pauses: bool) -> bool:
        """Whether too little time is left for another attempt, after a pause if there is one."""
        return self.deadline - now <= PAUSE_SECONDS + (self._pause if pauses else 0.0)

    def next_deadline(self, now: float) -> float:
        """Return the deadline of the current attempt."""
        share = min((self.deadline - now) / ATTEMPTS, ATTEMPT_SECONDS_MAX)
        return min(self.deadline, now + max(self._attempt_seconds, share))

    def next_pause(self, now: float) -> float:
        """Return the seconds to wait before the next attempt, doubled each time."""
        pause = self._pause
        self._pause = min(2 * pause, PAUSE_SECONDS_MAX)
        return min(pause, max(0.0, self.deadline - now))
