"""Follower progress: what the leader knows of each peer's log, and what is in flight to it."""

from collections import deque
from enum import Enum

import msgspec

from protocol.snapshot import SnapshotPosition
from protocol.space import Shortage

IN_FLIGHT_MESSAGES_MAX = 64  # bounds what a slow follower has to work off,
IN_FLIGHT_BYTES_MAX = 8 << 20  # and what a heartbeat may have to wait behind
CHUNK_BEATS_MAX = 10  # heartbeats without a reply, after which a chunk counts as lost
SILENT_CHECKS_MAX = 10  # quorum checks: long enough for a restart or a slow line
SUCCESSOR_LAG_MAX = 100  # entries that a successor may lack: writes wait until it has them


class ProgressState(Enum):
    """How the leader sends to a follower; the states and their names are etcd-io/raft's."""

    PROBE = "probe"  # one message at a time, until the last common entry is found
    REPLICATE = "replicate"  # a pipeline of messages, without waiting for replies
    SNAPSHOT = "snapshot"  # chunks of a snapshot, because the next entries are compacted


class InFlight:
    """The messages with entries that a follower has not acknowledged yet, oldest first."""

    def __init__(self) -> None:
        self._messages: deque[tuple[int, int]] = deque()  # last index and size of each
        self._size = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether the window leaves no room for another message."""
        return len(self._messages) >= IN_FLIGHT_MESSAGES_MAX or self._size >= IN_FLIGHT_BYTES_MAX

    def add(self, last_index: int, size: int) -> None:
        """Add a message that ends with this entry, and the bytes that it carries."""
        self._messages.append((last_index, size))
        self._size += size

    def acknowledge(self, index: int) -> None:
        """Remove the messages whose entries the follower holds, all up to an index."""
        while self._messages and self._messages[0][0] <= index:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Remove the oldest message: it is acknowledged or taken for lost."""
        _, size = self._messages.popleft()
        self._size -= size

    def clear(self) -> None:
        """Remove all messages."""
        self._messages.clear()
        self._size = 0


class Progress(msgspec.Struct):
    """The progress of one follower."""

    next_index: int
    match_index: int = 0
    state: ProgressState = ProgressState.PROBE
    paused: bool = False  # a probe is unanswered, or storage is reading entries for the follower
    checks_since_reply: int = 0  # quorum checks since the follower's last reply
    answered_at: int = 0  # leader's clock at the sending of the last heartbeat it replied to
    commit_sent: int = 0  # the last commit index that the follower was sent
    confirmed_round: int = 0
    shortage: Shortage | None = None  # of space; None until the follower has reported it
    level: int | None = None  # of its commands; None until the follower has announced it
    leader_lease_until: int = 0  # leader's clock: until then it votes for no other candidate
    holding: bool = False  # storage keeps a snapshot for it, and the log after that
    position: SnapshotPosition | None = None  # start of the chunk in flight
    chunk_beats: int = 0
    in_flight: InFlight = msgspec.field(default_factory=InFlight)

    @property
    def recently_active(self) -> bool:
        """Whether the follower has replied since the last quorum check."""
        return self.checks_since_reply == 0

    @property
    def answers(self) -> bool:
        """Whether it has replied since the last check but one: none has right after a check."""
        return self.checks_since_reply <= 1

    def may_send(self) -> bool:
        """Whether another message with entries may go out now."""
        blocked = self.paused or self.state is ProgressState.SNAPSHOT or self.in_flight.is_full
        return not blocked

    def sent(self, last_index: int, size: int = 0) -> None:
        """Count entries up to an index, and their bytes, as in flight."""
        if self.state is ProgressState.PROBE:
            self.paused = True
        elif last_index >= self.next_index:
            self.next_index = last_index + 1
            self.in_flight.add(last_index, size)

    def accepted(self, index: int) -> bool:
        """Take a reply that the follower holds the log up to an index; return whether it is new."""
        self.in_flight.acknowledge(index)
        if self.state is ProgressState.SNAPSHOT and not self._ends_snapshot(index):
            return False
        if self.state is not ProgressState.REPLICATE:
            self.state, self.paused = ProgressState.REPLICATE, False
            self.in_flight.clear()
        if index <= self.match_index:
            return False
        self.match_index = index
        if index >= self.next_index:
            self.next_index = index + 1
            self.paused = False  # the entries that storage is reading are no longer needed
        return True

    def refused(self, prev_index: int, agreement: int) -> None:
        """Probe from where the logs could agree, unless the refusal is out of date."""
        if prev_index <= self.match_index or self.state is ProgressState.SNAPSHOT:
            return
        if self.state is ProgressState.PROBE and prev_index != self.next_index - 1:
            return
        self.next_index = max(self.match_index, min(agreement, prev_index - 1)) + 1
        self.state, self.paused = ProgressState.PROBE, False
        self.in_flight.clear()

    def begin_snapshot(self) -> None:
        """Send a snapshot from its first chunk on, and no entries until it is installed."""
        self.state, self.holding = ProgressState.SNAPSHOT, True
        self.position = None
        self.chunk_beats = 0

    def end_snapshot(self) -> None:
        """Abandon the snapshot; the follower's next reply starts a probe."""
        self.state, self.holding = ProgressState.PROBE, False
        self.paused = True
        self.in_flight.clear()

    def chunk_answered(self, position: SnapshotPosition) -> None:
        """Set the start of the next chunk."""
        self.position = position
        self.chunk_beats = 0

    def is_chunk_overdue(self) -> bool:
        """Count a heartbeat; return whether to send the chunk in flight again."""
        if self.state is not ProgressState.SNAPSHOT:
            return False
        self.chunk_beats = (self.chunk_beats + 1) % CHUNK_BEATS_MAX
        return self.chunk_beats == 0

    def is_silent_too_long(self) -> bool:
        """Whether, at a quorum check, the snapshot kept for the follower should be released."""
        return self.holding and self.checks_since_reply >= SILENT_CHECKS_MAX

    def has_never_answered(self, checks: int) -> bool:
        """Whether the follower has not replied to this leader once in so many quorum checks."""
        silent = self.checks_since_reply > checks
        return silent and not self.answered_at and not self.match_index

    def _ends_snapshot(self, index: int) -> bool:
        """Whether the index covers the whole snapshot; an older reply may cover less."""
        return self.position is not None and index >= self.position.snapshot.index
