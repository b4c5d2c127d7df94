"""Session: the numbers by which a cluster recognises a client's writes, however often they arrive.

After Raft §8 and the dissertation §6.3: each write carries its session, its sequence, and the
lowest sequence that the client still waits for.
"""


class Session:
    """The sequences of one session."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._next = 1
        self._lowest = 1  # that is not answered
        self._answered: set[int] = set()  # above the lowest

    def begin_write(self) -> tuple[int, int]:
        """Return the sequence of a new write, and the lowest one that is not answered yet."""
        sequence = self._next
        self._next += 1
        return sequence, self._lowest

    def end_write(self, sequence: int) -> None:
        """Note that a write's result will not be asked for again."""
        self._answered.add(sequence)
        while self._lowest in self._answered:
            self._answered.remove(self._lowest)
            self._lowest += 1
