"""Session: the numbers by which a cluster recognises a client's writes, however often they arrive.

After Raft §8 and the dissertation §6.3: each write carries its session, its sequence, and the
lowest sequence that the client still waits for.
"""

from protocol.sessions import UNACKNOWLEDGED_MAX


class Session:
    """The sequences of one session."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._next = 1
        self._lowest = 1  # that is not answered
        self._answered: set[int] = set()  # above the lowest

    def has_room(self, count: int) -> bool:
        """Whether so many more writes may wait for an answer beside those that do."""
        return self._next + count - self._lowest <= UNACKNOWLEDGED_MAX

    def begin_writes(self, count: int) -> tuple[range, int]:
        """Return the sequences of new writes, and the lowest one that is not answered yet."""
        sequences = range(self._next, self._next + count)
        self._next += count
        return sequences, self._lowest

    def end_writes(self, sequences: range) -> None:
        """Note that the results of these writes will not be asked for again."""
        self._answered.update(sequences)
        while self._lowest in self._answered:
            self._answered.remove(self._lowest)
            self._lowest += 1
