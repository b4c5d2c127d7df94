"""States: the rows of the model at every revision so far."""

from bisect import bisect_right

from protocol.state.commands import Event
from tests.simulation.change import Row


class States:
    """The state at each revision, by the model's changes."""

    def __init__(self, changes: list[tuple[Event, ...]]) -> None:
        self._changes = changes
        self._known = 0  # changes in the histories
        self._histories: dict[str, list[tuple[int, Row | None]]] = {}  # by key and revision

    def row(self, key: str, revision: int) -> Row | None:
        """Return a key's row at a revision, or None."""
        self._catch_up()
        history = self._histories.get(key, [])
        place = bisect_right(history, revision, key=lambda each: each[0])
        return history[place - 1][1] if place else None

    def rows(self, prefix: str, revision: int) -> dict[str, Row]:
        """Return the rows under a prefix at a revision."""
        self._catch_up()
        keys = [key for key in self._histories if key.startswith(prefix)]
        found = {key: self.row(key, revision) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    def _catch_up(self) -> None:
        for events in self._changes[self._known :]:
            for event in events:
                history = self._histories.setdefault(event.key, [])
                history.append((event.revision, _after(event, history[-1][1] if history else None)))
        self._known = len(self._changes)


def _after(event: Event, before: Row | None) -> Row | None:
    if event.value is None:
        return None
    created, version = (event.revision, 0) if before is None else (before[0], before[2])
    return (created, event.revision, version + 1, event.value)
