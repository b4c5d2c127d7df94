"""Time limits: how long the procedure of a recipe may take."""

import msgspec

from protocol.client.backoff import SHORTEST_SECONDS
from protocol.deadlines import NEVER
from skiff.errors import RequestTimeout

LAST_LOOK_SECONDS = 0.5


class NotFree(RequestTimeout):
    """The time to wait is over."""


class TimeLimits(msgspec.Struct, frozen=True):
    """Deadlines, in seconds of the clock of the client's requests; ``NEVER`` for none."""

    requests: float
    waits: float  # for changes

    def request_seconds(self, now: float) -> float | None:
        """Return the timeout of a request."""
        return None if self.requests == NEVER else max(self.requests - now, SHORTEST_SECONDS)

    def ends_wait(self, now: float) -> bool:
        """Whether the waits are over and there is time for a last look at the state.

        Raises:
            NotFree: they are over, and there is none.
        """
        if now >= self.waits >= self.requests:
            raise NotFree("it was not free")
        return now >= self.waits

    @property
    def with_last_look(self) -> "TimeLimits":
        """The same, with time for a last request after the waits."""
        return TimeLimits(self.requests + LAST_LOOK_SECONDS, self.waits)


FOREVER = TimeLimits(NEVER, NEVER)


def time_limits_of(timeout: float | None, request_seconds: float | None, now: float) -> TimeLimits:
    """Return the time limits of a timeout; with 0, requests are still given their usual time."""
    if timeout is None:
        return TimeLimits(NEVER, NEVER)
    if timeout:
        return TimeLimits(now + timeout, now + timeout)
    return TimeLimits(NEVER if request_seconds is None else now + request_seconds, now)
