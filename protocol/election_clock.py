"""Election clock: heartbeat, election and check deadlines as pure arithmetic.

Times are seconds of a steady clock. ``chance`` is a random number from 0 to 1: the random election
timeout makes split votes rare (Raft §5.2).
"""

import msgspec

from protocol.deadlines import NEVER
from protocol.messages.replicator import (
    ElectionDue,
    HeartbeatDue,
    LeaderQuiet,
    QuorumCheckDue,
    StorageCheckDue,
)
from protocol.messages.timer import ClockState

Due = ElectionDue | LeaderQuiet | HeartbeatDue | QuorumCheckDue | StorageCheckDue


class ElectionTimeouts(msgspec.Struct, frozen=True):
    """Heartbeat interval and the bounds of the election timeout, in seconds."""

    heartbeat: float
    shortest: float
    longest: float


class ElectionClock:
    """The deadlines of one node: heartbeats and quorum checks if it leads, else elections.

    Every node also checks that its storage answers.
    """

    def __init__(self, timeouts: ElectionTimeouts, now: float, chance: float) -> None:
        self._timeouts = timeouts
        self._state = ClockState(leading=False, votes=False, contact_count=0)
        self._heartbeat = self._quorum_check = self._quiet = self._election = NEVER
        self._storage_check = now + timeouts.longest
        self._restart_timeouts(now, chance)

    def update(self, state: ClockState, now: float, chance: float) -> None:
        """Process the log replicator's report of its role and of contact with a leader."""
        before, self._state = self._state, state
        if state.leading and not before.leading:
            self._begin_leading(now)
        elif not state.leading and (before.leading or state.contact_count != before.contact_count):
            self._restart_timeouts(now, chance)

    def next_deadline(self) -> float:
        """Return the earliest deadline."""
        leading = min(self._heartbeat, self._quorum_check)
        return min(leading, self._quiet, self._election, self._storage_check)

    def take_due(self, now: float, chance: float) -> list[Due]:
        """Return the deadlines that have passed, and set the next ones."""
        due: list[Due] = []
        if self._heartbeat <= now:
            self._heartbeat = now + self._timeouts.heartbeat
            due.append(HeartbeatDue())
        if self._quorum_check <= now:
            self._quorum_check = now + self._timeouts.longest
            due.append(QuorumCheckDue())
        if self._storage_check <= now:
            self._storage_check = now + self._timeouts.longest
            due.append(StorageCheckDue())
        if self._quiet <= now:
            self._quiet = NEVER
            due.append(LeaderQuiet(self._state.contact_count))
        if self._election <= now:
            self._election = now + self._spread(chance)
            if self._state.votes:
                due.append(ElectionDue(self._state.contact_count))
        return due

    def _begin_leading(self, now: float) -> None:
        self._heartbeat = now + self._timeouts.heartbeat
        self._quorum_check = now + self._timeouts.longest
        self._quiet = self._election = NEVER

    def _restart_timeouts(self, now: float, chance: float) -> None:
        self._heartbeat = self._quorum_check = NEVER
        self._quiet = now + self._timeouts.shortest
        self._election = now + self._spread(chance)

    def _spread(self, chance: float) -> float:
        return self._timeouts.shortest + chance * (self._timeouts.longest - self._timeouts.shortest)
