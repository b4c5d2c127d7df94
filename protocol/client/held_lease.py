"""Held lease: how long a client may count on a lease on keys, by its own clock.

Times are seconds of a steady clock. They count from the moment before the request was sent, at its
first attempt: the leader counts from a later one.
"""


class HeldLease:
    """A lease that was granted to this client."""

    def __init__(self, lease: int, ttl: float, since: float) -> None:
        """Hold a lease of ``ttl`` seconds, whose grant was asked for at ``since``."""
        self.id = lease
        self.ttl = ttl
        self.valid_until = since + ttl
        self.is_lost = False

    def extend(self, ttl: float, since: float) -> None:
        """Extend it to ``ttl`` seconds after ``since``; a ``ttl`` of 0 means that it has ended."""
        if ttl:
            self.valid_until = max(self.valid_until, since + ttl)
        else:
            self.lose()

    def lose(self) -> None:
        """Count on it no longer: a node says that it has ended."""
        self.is_lost = True

    def remaining(self, now: float) -> float:
        """Return for how many seconds its holder may count on it."""
        return 0.0 if self.is_lost else max(0.0, self.valid_until - now)
