"""Pacing: when a log replicator reports its clock to the timer, and commits to its followers.

A commit index usually travels with entries, and each contact with the leader restarts the timer:
messages of their own are sent at a bounded rate.
"""

from protocol.deadlines import NEVER
from protocol.messages.timer import ClockState

COMMIT_NOTICE_SECONDS = 0.01  # for which a new commit index waits to be sent with entries
CONTACT_SECONDS = 0.03  # between reports of contact with the leader to the timer


class Pacing:
    """The paced messages of one log replicator. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._clock: ClockState | None = None  # the newest one that was not reported
        self._reported_at = -NEVER
        self._commit_notice_at = NEVER

    @property
    def deadline(self) -> float:
        """When a commit notice or a report to the timer is due."""
        if self._clock is None:
            return self._commit_notice_at
        return min(self._commit_notice_at, self._reported_at + CONTACT_SECONDS)

    def is_commit_notice_due(self, now: float) -> bool:
        """Whether followers have waited long enough for a commit index."""
        return self._commit_notice_at <= now

    def schedule_commit_notice(self, now: float, *, owed: bool) -> None:
        """Let a commit index wait for entries, if one is owed after a turn."""
        if not owed:
            self._commit_notice_at = NEVER
        elif self._commit_notice_at == NEVER:
            self._commit_notice_at = now + COMMIT_NOTICE_SECONDS

    def take_report(self, clock: ClockState | None, now: float) -> ClockState | None:
        """Return the clock state to report after a turn, given its new one, or None."""
        self._clock = clock or self._clock
        if self._clock is None or now - self._reported_at < CONTACT_SECONDS:
            return None
        report, self._clock, self._reported_at = self._clock, None, now
        return report
