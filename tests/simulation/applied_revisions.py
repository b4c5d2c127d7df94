"""Applied revisions: when each was first applied by any node, so that later reads see it."""

from bisect import bisect_right

from tests.simulation.events import Events


class AppliedRevisions:
    """The newest revision over time. Times are seconds."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._times: list[float] = [-1.0]
        self._revisions: list[int] = [0]

    @property
    def newest(self) -> int:
        """The newest revision that any node has applied."""
        return self._revisions[-1]

    def note(self, revision: int) -> None:
        """Note the revision of a node."""
        if revision > self.newest:
            self._revisions.append(revision)
            self._times.append(self._events.now)

    def by(self, moment: float) -> int:
        """Return the newest revision that any node had applied at a moment."""
        return self._revisions[max(0, bisect_right(self._times, moment) - 1)]
