"""The leader's view of one follower: what it holds, and what is on its way to it."""

import msgspec

from protocol.raft.in_flight import InFlight
from protocol.snapshot import SnapshotPosition
from protocol.space import Shortage

CHUNK_BEATS_MAX = 10  # heartbeats without an answer, after which a chunk counts as lost

SILENT_CHECKS_MAX = 10  # quorum checks: a node that restarts, or a slow line, is waited for


class Progress(msgspec.Struct):
    """One follower, as etcd's Raft tracks it.

    While ``probing``, one message at a time looks for the last entry that both logs share;
    after that, messages follow each other without waiting for replies. While ``installing``,
    the leader's state goes to it in place of entries that are gone.
    """

    next_index: int
    match_index: int = 0
    probing: bool = True
    paused: bool = False  # a probe is on its way, or entries are being read from disk for it
    active: bool = True  # has answered since the last quorum check
    was_active: bool = True  # had answered by then
    answered_at: int = 0  # when a heartbeat was sent that it answered, by the leader's clock
    commit_told: int = 0
    confirmed_round: int = 0
    shortage: Shortage | None = None  # of space; None until it has told this leader
    lease_until: int = 0  # by the leader's clock: so long it certainly votes for nobody else
    installing: bool = False
    holding: bool = False  # storage keeps a snapshot for it, and the log after that
    position: SnapshotPosition | None = None  # where the chunk under way begins
    chunk_beats: int = 0
    silent_checks: int = 0
    in_flight: InFlight = msgspec.field(default_factory=InFlight)

    @property
    def answers(self) -> bool:
        """Whether the follower has answered lately; right after a check, nobody is active yet."""
        return self.active or self.was_active

    def may_send(self) -> bool:
        """Whether another message may go out now."""
        return not (self.paused or self.installing or self.in_flight.is_full)

    def sent(self, last_index: int, size: int = 0) -> None:
        """Note that entries up to this index, of so many bytes, are on their way."""
        if self.probing:
            self.paused = True
        elif last_index >= self.next_index:
            self.next_index = last_index + 1
            self.in_flight.add(last_index, size)

    def accepted(self, index: int) -> bool:
        """Note that the follower holds all up to an index; return whether that is news."""
        self.in_flight.answered(index)
        if self.installing and not self._ends_install(index):
            return False
        if self.probing or self.installing:
            self.probing = self.paused = self.installing = False
            self.in_flight.clear()
        if index <= self.match_index:
            return False
        self.match_index = index
        if index >= self.next_index:
            self.next_index = index + 1
            self.paused = False  # what is being read from disk is not needed any more
        return True

    def refused(self, prev_index: int, agreement: int) -> bool:
        """Go back to where the logs could agree; return False for an answer long out of date."""
        if prev_index <= self.match_index or self.installing:
            return False
        if self.probing and prev_index != self.next_index - 1:
            return False
        self.next_index = max(self.match_index, min(agreement, prev_index - 1)) + 1
        self.probing = True
        self.paused = False
        self.in_flight.clear()
        return True

    def begin_install(self) -> None:
        """Send the state from its beginning on, and no entries until it is there."""
        self.installing = self.holding = True
        self.position = None
        self.chunk_beats = 0

    def is_silent_too_long(self) -> bool:
        """Count a quorum check; return whether nothing should be kept for the follower any more."""
        self.silent_checks = 0 if self.active else self.silent_checks + 1
        return self.holding and self.silent_checks >= SILENT_CHECKS_MAX

    def never_answered(self, checks: int) -> bool:
        """Whether the follower has not answered this leader at all for so many quorum checks."""
        return self.silent_checks >= checks and not self.answered_at and not self.match_index

    def end_install(self) -> None:
        """Give up sending the state; begin with a probe when the follower answers again."""
        self.installing = self.holding = False
        self.probing = self.paused = True
        self.in_flight.clear()

    def chunk_answered(self, position: SnapshotPosition) -> None:
        """Note where the next chunk begins."""
        self.position = position
        self.chunk_beats = 0

    def is_chunk_overdue(self) -> bool:
        """Count a heartbeat; return whether the chunk under way should be sent again."""
        if not self.installing:
            return False
        self.chunk_beats = (self.chunk_beats + 1) % CHUNK_BEATS_MAX
        return self.chunk_beats == 0

    def _ends_install(self, index: int) -> bool:
        """Whether the follower holds the whole snapshot, or says what it said before."""
        return self.position is not None and index >= self.position.snapshot.index
