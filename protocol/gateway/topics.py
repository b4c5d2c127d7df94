"""Topics: the different topics of some connections, and the memory that they take.

ZeroMQ keeps all topics in a trie that takes about 40 bytes of memory for each byte of a topic, once
for all subscribers.
"""

from collections import Counter

TOPIC_OVERHEAD_BYTES = 16  # added to the length of each topic


class Topics:
    """Topics by how often each was added."""

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()
        self.bytes = 0  # of the different ones

    def __bool__(self) -> bool:
        return bool(self._counts)

    def count(self, topic: bytes) -> int:
        """Return how often a topic is there."""
        return self._counts[topic]

    def add(self, topic: bytes) -> bool:
        """Add a topic; return whether it is new."""
        self._counts[topic] += 1
        is_new = self._counts[topic] == 1
        self.bytes += weight(topic) if is_new else 0
        return is_new

    def remove(self, topic: bytes) -> bool:
        """Remove a topic that is there once; return whether it was the last time."""
        self._counts[topic] -= 1
        if self._counts[topic]:
            return False
        del self._counts[topic]
        self.bytes -= weight(topic)
        return True


def weight(topic: bytes) -> int:
    """Return the bytes that count for a topic."""
    return len(topic) + TOPIC_OVERHEAD_BYTES
