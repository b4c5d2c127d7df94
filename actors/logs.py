"""Logging of an actor: lines with node, actor and term, as text or JSON."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

FORMAT = "%(asctime)s %(levelname)s node=%(node)s actor=%(actor)s term=%(term)s %(message)s"


class LogFields(logging.Filter):
    """Adds node, actor and term to every record."""

    def __init__(self, actor: str) -> None:
        super().__init__()
        self.actor = actor
        self.node = "-"
        self.term: int | str = "-"  # while unknown

    def learn_term(self, term: int) -> None:
        """Set the term; 0 means that the node has not taken part in any."""
        self.term = term or "-"

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; keep every record."""
        record.node, record.actor, record.term = self.node, self.actor, self.term
        return True


class _Line(msgspec.Struct):
    """One log record as JSON; unknown fields are null."""

    time: datetime
    level: str
    node: str | None  # the first digits of its id
    actor: str
    term: int | None
    message: str  # with the traceback, if there is one


class JsonFormatter(logging.Formatter):
    """Formats each record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record that ``LogFields`` has filled in."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        fields = vars(record)
        node, term = (None if fields[each] == "-" else fields[each] for each in ("node", "term"))
        time = datetime.fromtimestamp(record.created, UTC)
        line = _Line(time, record.levelname, node, fields["actor"], term, message)
        return msgspec.json.encode(line).decode()


def configure(actor: str, level: str, log_format: str) -> LogFields:
    """Log to standard error as text or JSON; return the filter that sets the fields."""
    log_fields = LogFields(actor)
    handler = logging.StreamHandler(sys.stderr)
    as_json = log_format == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(FORMAT))
    handler.addFilter(log_fields)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    return log_fields


def warn_always(log: logging.Logger, sentence: str, *details: object) -> None:
    """Log a warning even where only errors are to be logged."""
    log.handle(logging.LogRecord(log.name, logging.WARNING, __file__, 0, sentence, details, None))


class OncePerSender:
    """Remembers logged senders, so that a flood from one makes one line."""

    SENDERS_MAX = 1000

    def __init__(self) -> None:
        self._senders: set[bytes] = set()

    def is_new(self, sender: bytes) -> bool:
        """Whether this sender was not logged before."""
        if sender in self._senders:
            return False
        if len(self._senders) >= self.SENDERS_MAX:
            self._senders.clear()
        self._senders.add(sender)
        return True


class OnceAWhile:
    """Lets one log line of a kind through in ten seconds, so that a flood makes few lines."""

    SECONDS = 10.0

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def is_due(self, now: float) -> bool:
        """Whether a line may be logged now; if so, the next one has to wait."""
        if now < self._next_at:
            return False
        self._next_at = now + self.SECONDS
        return True
