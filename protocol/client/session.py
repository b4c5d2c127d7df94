"""Session: sequence numbers by which a cluster recognizes a client's repeated writes.

See Raft §8 and dissertation §6.3. Each write carries its session, its sequence, and the lowest
sequence whose result the client still waits for. An interrupt, as by Ctrl-C, may come anywhere: at
worst it leaves a sequence without an end, and never ends one too soon.
"""

from collections import deque

from protocol.state.sessions import UNACKNOWLEDGED_MAX

ROOM_SECONDS = 1.0  # without room because of one write, after which a session is replaced


class Session:
    """The sequences of one session. Times are seconds of a steady clock."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.next = 1  # sequence that has not been begun
        self._lowest = 1  # unanswered
        self._answered: set[int] = set()  # above the lowest
        self._ended: deque[range] = deque()  # writes that are not counted yet
        # Records that the results of begun writes are no longer needed: by C code alone, as an
        # interrupt within it would lose that, and a generator may end in any thread.
        self.end_writes = self._ended.append
        self._blocking = 0  # the lowest one when room was last missing
        self._blocked_since = 0.0

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more writes may be unanswered at the same time."""
        self._count_ended()
        return self.next + count - self._lowest <= UNACKNOWLEDGED_MAX

    def is_blocked(self, now: float) -> bool:
        """Whether one write has long taken the room that was missing, and is missing now."""
        if self._blocking != self._lowest:
            self._blocking, self._blocked_since = self._lowest, now
        return now - self._blocked_since >= ROOM_SECONDS

    def next_writes(self, count: int) -> range:
        """Return the sequences that the next ``count`` writes will have, once they are begun."""
        return range(self.next, self.next + count)

    def begin_writes(self, sequences: range) -> int:
        """Take the next sequences for writes; return the lowest unanswered one."""
        self.next = sequences.stop
        return self._lowest

    def _count_ended(self) -> None:
        while self._ended:
            sequences = self._ended[0]
            if sequences.start == self._lowest:  # the most frequent case
                self._lowest = sequences.stop
            elif sequences.start > self._lowest:  # else an interrupt came after it was counted
                self._answered.update(sequences)
            self._ended.popleft()
        if self._lowest in self._answered:
            self._count_answered()

    def _count_answered(self) -> None:
        lowest = self._lowest
        while lowest in self._answered:
            lowest += 1
        answered = range(self._lowest, lowest)
        self._lowest = lowest  # before they are forgotten, or an interrupt would keep it for ever
        self._answered.difference_update(answered)
