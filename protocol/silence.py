"""Silence: log lines about a missing leader, one when it is overdue and one at its return."""

from protocol.deadlines import NEVER
from protocol.messages.gateway import Leadership

QUIET_SECONDS = 2.0  # without a leader, as in any election, before a warning is due


class Silence:
    """The leaderless periods of one node. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self.deadline = NEVER  # when ``take_notes`` is due if no event occurs before
        self._since = NEVER
        self._has_warned = False
        self._notes: list[str] = []

    def observe(self, leadership: Leadership, now: float) -> None:
        """Record who leads; a node without a cluster needs no leader."""
        if leadership.leader is None and leadership.cluster and not leadership.removed:
            self._since = min(self._since, now)
            self.deadline = NEVER if self._has_warned else self._since + QUIET_SECONDS
            return
        if self._has_warned and leadership.leader is not None:
            leader, seconds = leadership.leader.hex()[:8], now - self._since
            self._notes.append(f"node {leader} leads after {seconds:.0f} s without a leader")
        self._since, self._has_warned, self.deadline = NEVER, False, NEVER

    def take_notes(self, now: float) -> list[str]:
        """Return the warnings that are due."""
        if self.deadline <= now:
            self._has_warned, self.deadline = True, NEVER
            self._notes.append(
                "no leader: a majority of the voters does not answer or cannot agree; reads and "
                "writes fail at their deadline until it does"
            )
        notes, self._notes = self._notes, []
        return notes
