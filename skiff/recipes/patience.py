"""Patience: how long the procedure of a recipe may take."""

import msgspec

from protocol.client.backoff import SHORTEST_SECONDS
from protocol.deadlines import NEVER


class Patience(msgspec.Struct, frozen=True):
    """Deadlines, in seconds of the clock of the client's requests; ``NEVER`` for none."""

    requests: float
    waits: float  # for changes

    def request_seconds(self, now: float) -> float | None:
        """Return the timeout of a request."""
        return None if self.requests == NEVER else max(self.requests - now, SHORTEST_SECONDS)


FOREVER = Patience(NEVER, NEVER)


def patience_of(timeout: float | None, request_seconds: float | None, now: float) -> Patience:
    """Return the patience of a timeout; with 0, requests are still given their usual time."""
    if timeout is None:
        return Patience(NEVER, NEVER)
    if timeout:
        return Patience(now + timeout, now + timeout)
    return Patience(NEVER if request_seconds is None else now + request_seconds, now)
