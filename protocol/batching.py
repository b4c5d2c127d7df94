"""When the writes that have arrived are proposed, and how many of them as one batch.

A batch costs a cluster about the same whether it carries one write or a hundred. So the next
one waits for the one before, and a moment for those clients that it has just answered: most of
them come back at once with their next write. A client that is alone never waits.
"""

from protocol.calls import Slot
from protocol.commands import Insert, Write

BATCH_BYTES_MAX = 1 << 20
BATCH_WRITES_MAX = 1000
RETURN_SHARE = 0.5  # of the time that a batch took: so long its clients may take to come back,
RETURN_SECONDS_MIN, RETURN_SECONDS_MAX = 0.001, 0.003  # within these bounds
PIPELINE_SECONDS = 0.005  # a batch that takes longer, as over long distances, holds none up

NEVER = float("inf")

Waiting = tuple[Slot, Write]


class WriteQueue:
    """The writes of one gateway that are not proposed yet."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._in_flight = 0
        self._proposed_at = -NEVER
        self._returning: set[bytes] = set()
        self._return_until = -NEVER

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, write: Write) -> None:
        """Queue a write."""
        self._waiting.append((slot, write))
        self._returning.discard(slot.call.client[0])

    def take_batch(self, now: float) -> list[Waiting]:
        """Return what is to be proposed now as one batch, if anything is."""
        if not self._waiting or now < self._due(now):
            return []
        count = self._count()
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._in_flight += 1
        self._proposed_at = now
        return taken

    def batch_ended(self, slots: list[Slot], now: float) -> None:
        """Note that a batch was answered, or given up."""
        self._in_flight -= 1
        self._returning = {slot.call.client[0] for slot in slots}
        share = RETURN_SHARE * (now - self._proposed_at)
        self._return_until = now + min(max(share, RETURN_SECONDS_MIN), RETURN_SECONDS_MAX)

    def take_late(self, now: float) -> list[Slot]:
        """Return those whose deadline passed before they were proposed."""
        late = [slot for slot, _ in self._waiting if slot.call.deadline <= now]
        if late:
            self._waiting = [each for each in self._waiting if each[0].call.deadline > now]
        return late

    def take_all(self) -> list[Slot]:
        """Return all that wait: they will not be proposed."""
        taken, self._waiting = self._waiting, []
        return [slot for slot, _ in taken]

    def next_deadline(self, now: float) -> float:
        """Return when ``take_batch`` would return something though nothing has happened."""
        return self._due(now) if self._waiting else NEVER

    def _due(self, now: float) -> float:
        if self._in_flight:
            return self._proposed_at + PIPELINE_SECONDS
        return self._return_until if self._returning else now

    def _count(self) -> int:
        """Return how many of the waiting writes fit into one batch: at least one."""
        size = 0
        for count, (_, write) in enumerate(self._waiting[:BATCH_WRITES_MAX]):
            if isinstance(write.command, Insert):
                size += len(write.command.value)
            if count and size > BATCH_BYTES_MAX:
                return count
        return min(len(self._waiting), BATCH_WRITES_MAX)
