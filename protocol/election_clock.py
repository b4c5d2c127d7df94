"""Deadlines as arithmetic: given the time and what was heard, what is due.

Times are seconds of any steady clock. ``chance`` is a number from 0 to 1 that spreads the
election deadlines of the nodes, so that they seldom campaign together (Raft §5.2).
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
    """How often a leader is heard, and how long its silence is borne, in seconds."""

    heartbeat: float
    shortest: float
    longest: float


class ElectionClock:
    """The deadlines of one node: of a leader its beats, of any other the leader's silence.

    Whether its own storage answers, any node asks.
    """

    def __init__(self, timeouts: ElectionTimeouts, now: float, chance: float) -> None:
        self._timeouts = timeouts
        self._state = ClockState(leading=False, votes=False, contact_count=0)
        self._heartbeat = self._quorum_check = self._quiet = self._election = NEVER
        self._storage_check = now + timeouts.longest
        self._hear_leader(now, chance)

    def update(self, state: ClockState, now: float, chance: float) -> None:
        """Take in what the log replicator says of its role and its contact with a leader."""
        before, self._state = self._state, state
        if state.leading and not before.leading:
            self._begin_leading(now)
        elif not state.leading and (before.leading or state.contact_count != before.contact_count):
            self._hear_leader(now, chance)

    def next_deadline(self) -> float:
        """Return when something will be due."""
        leading = min(self._heartbeat, self._quorum_check)
        return min(leading, self._quiet, self._election, self._storage_check)

    def take_due(self, now: float, chance: float) -> list[Due]:
        """Return what is due by now, and set the deadlines after it."""
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

    def _hear_leader(self, now: float, chance: float) -> None:
        self._heartbeat = self._quorum_check = NEVER
        self._quiet = now + self._timeouts.shortest
        self._election = now + self._spread(chance)

    def _spread(self, chance: float) -> float:
        return self._timeouts.shortest + chance * (self._timeouts.longest - self._timeouts.shortest)
