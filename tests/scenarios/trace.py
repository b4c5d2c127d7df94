"""Trace: a line for each event of a script, effects below their causes."""

from collections.abc import Iterator
from contextlib import contextmanager

INDENT = "  "


class Trace:
    """The events since they were last taken."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 1

    def tell(self, line: str) -> None:
        """Add an event."""
        self._lines.append(INDENT * self._depth + line.rstrip())

    @contextmanager
    def cause(self, line: str) -> Iterator[None]:
        """Add an event; events within the context are its effects."""
        self.tell(line)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def take(self) -> list[str]:
        """Return all events, and clear the trace."""
        lines, self._lines = self._lines, []
        return lines
