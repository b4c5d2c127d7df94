"""Session of a client: its number, and the numbers that make its writes recognisable."""

import threading


class Session:
    """Numbers writes, and knows below which all have been answered. Safe to share by threads."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()
        self._next = 1
        self._unanswered: set[int] = set()

    def begin_write(self) -> tuple[int, int]:
        """Return the sequence of a new write, and the lowest one that is not answered yet."""
        with self._lock:
            sequence = self._next
            self._next += 1
            self._unanswered.add(sequence)
            return sequence, min(self._unanswered)

    def end_write(self, sequence: int) -> None:
        """Note that nobody will ask for this write's result again."""
        with self._lock:
            self._unanswered.discard(sequence)
