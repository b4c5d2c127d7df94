"""Read queues: batches of quorum-confirmed reads and of leader-lease reads."""

from collections.abc import Callable, Iterator

from protocol.gateway.batching import BatchQueue, read_size
from protocol.gateway.pending import PendingRequest, Slot
from protocol.messages.client import ReadBatch, ReadOperation, ReadSnapshot
from protocol.messages.replicator import Read
from protocol.wire import decode_read_batch, encode

BATCHES_MAX = 32  # in flight, of each kind: more would only queue at storage

Batch = list[tuple[Slot, ReadOperation]]


class ReadQueues:
    """The queued reads of one gateway."""

    def __init__(self) -> None:
        self._confirmed: BatchQueue[ReadOperation] = BatchQueue(read_size, BATCHES_MAX)
        self._leased: BatchQueue[ReadOperation] = BatchQueue(read_size, BATCHES_MAX)

    def __bool__(self) -> bool:
        return bool(self._confirmed or self._leased)

    def add(self, slot: Slot, operation: ReadOperation) -> None:
        """Queue a read."""
        leased = not isinstance(operation, ReadSnapshot) and operation.leader_lease
        (self._leased if leased else self._confirmed).add(slot, operation)

    def take_batches(
        self, now: float, refuses: Callable[[Slot], bool] | None = None
    ) -> Iterator[tuple[bool, Batch]]:
        """Yield the batches that are due now, each with whether it is a leader-lease read.

        ``refuses`` may answer a slot itself and return True; its read is then left out.
        """
        for leased, queue in ((False, self._confirmed), (True, self._leased)):
            while taken := queue.take_batch(now, refuses):
                yield leased, taken

    def batch_ended(self, leased: bool, slots: list[Slot], now: float) -> None:
        """Record that a batch was answered or abandoned."""
        (self._leased if leased else self._confirmed).batch_ended(slots, now)

    def take_late(self, now: float) -> list[Slot]:
        """Remove and return the slots whose deadline passed before they were sent."""
        return self._confirmed.take_late(now) + self._leased.take_late(now)

    def take_all(self) -> list[Slot]:
        """Remove and return all queued slots."""
        return self._confirmed.take_all() + self._leased.take_all()

    def next_deadline(self, now: float) -> float:
        """Return when the next batch is due if no event occurs before."""
        return min(self._confirmed.next_deadline(now), self._leased.next_deadline(now))


def read_message(number: int, batch: Batch, *, leased: bool) -> Read:
    """Return the message that asks the log replicator to serve a batch."""
    operations = ReadBatch(tuple([operation for _, operation in batch]))
    return Read(number, encode(operations), leased, operations.is_pure)


def unread_part(pending: PendingRequest, count: int) -> Batch:
    """Return the rest of a batch of which storage has read the first ``count`` operations."""
    if count >= len(pending.slots) or not isinstance(pending.message, Read):
        return []
    operations = decode_read_batch(pending.message.payload).operations
    rest = zip(pending.slots[count:], operations[count:], strict=True)
    return [(slot, operation) for slot, operation in rest if not slot.is_answered]
