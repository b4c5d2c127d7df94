"""Session: sequence numbers by which a cluster recognizes a client's repeated writes.

See Raft §8 and dissertation §6.3. Each write carries its session, its sequence, and the lowest
sequence whose result the client still waits for.
"""

from protocol.state.sessions import UNACKNOWLEDGED_MAX


class Session:
    """The sequences of one session."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._next = 1
        self._lowest = 1  # unanswered
        self._answered: set[int] = set()  # above the lowest

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more writes may be unanswered at the same time."""
        return self._next + count - self._lowest <= UNACKNOWLEDGED_MAX

    def begin_writes(self, count: int) -> tuple[range, int]:
        """Return the sequences of ``count`` new writes, and the lowest unanswered one."""
        sequences = range(self._next, self._next + count)
        self._next += count
        return sequences, self._lowest

    def end_writes(self, sequences: range) -> None:
        """Record that the results of these writes are no longer needed."""
        self._answered.update(sequences)
        while self._lowest in self._answered:
            self._answered.remove(self._lowest)
            self._lowest += 1
