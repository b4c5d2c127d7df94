"""The messages with entries that are on their way to one follower, oldest first."""

from collections import deque

IN_FLIGHT_MESSAGES_MAX = 64  # a follower that answers slowly is sent no more than this,
IN_FLIGHT_BYTES_MAX = 8 << 20  # nor more than this, so that heartbeats do not wait behind it


class InFlight:
    """What a follower has been sent and has not answered for."""

    def __init__(self) -> None:
        self._messages: deque[tuple[int, int]] = deque()  # last index and size of each
        self._size = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be sent for now."""
        return len(self._messages) >= IN_FLIGHT_MESSAGES_MAX or self._size >= IN_FLIGHT_BYTES_MAX

    def add(self, last_index: int, size: int) -> None:
        """Note a message that ends with this entry, and how many bytes it carries."""
        self._messages.append((last_index, size))
        self._size += size

    def answered(self, index: int) -> None:
        """Forget the messages whose entries the follower holds, all up to an index."""
        while self._messages and self._messages[0][0] <= index:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Take the oldest message for lost."""
        _, size = self._messages.popleft()
        self._size -= size

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._size = 0
