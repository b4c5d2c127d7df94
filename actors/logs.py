"""Log lines of an actor: each tells its node, its actor and its term, for people and for grep."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s node=%(node)s actor=%(actor)s term=%(term)s %(message)s"


class Whereabouts(logging.Filter):
    """Adds to every record where it comes from."""

    def __init__(self, actor: str) -> None:
        super().__init__()
        self.actor = actor
        self.node = "-"
        self.term = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; keep every record."""
        record.node, record.actor, record.term = self.node, self.actor, self.term
        return True


def configure(actor: str, level: str) -> Whereabouts:
    """Send log lines to standard error; return what fills in their fields."""
    whereabouts = Whereabouts(actor)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(whereabouts)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    return whereabouts


class OncePerSender:
    """Remembers of whom something was logged already, so that a flood makes one line."""

    SENDERS_MAX = 1000

    def __init__(self) -> None:
        self._senders: set[bytes] = set()

    def is_new(self, sender: bytes) -> bool:
        """Whether this sender was not seen before."""
        if sender in self._senders:
            return False
        if len(self._senders) >= self.SENDERS_MAX:
            self._senders.clear()
        self._senders.add(sender)
        return True


class OnceAWhile:
    """Lets one log line of a kind through in ten seconds, so that a flood makes few of them."""

    SECONDS = 10.0

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def is_due(self, now: float) -> bool:
        """Whether a line may be logged now; the next one has to wait then."""
        if now < self._next_at:
            return False
        self._next_at = now + self.SECONDS
        return True
