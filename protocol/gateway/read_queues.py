"""Read queues: reads that a majority is to confirm, and reads by lease, each in batches."""

from collections.abc import Callable, Iterator

from protocol.gateway.batching import BatchQueue, read_size
from protocol.gateway.pending import Errand, Slot
from protocol.messages.client import ReadBatch, ReadOperation, ReadSnapshot
from protocol.messages.replicator import Read
from protocol.wire import decode_read_batch, encode

BATCHES_MAX = 32  # of one kind under way: more would only wait for storage

Batch = list[tuple[Slot, ReadOperation]]


class ReadQueues:
    """The reads that one gateway has not sent on yet."""

    def __init__(self) -> None:
        self._confirmed: BatchQueue[ReadOperation] = BatchQueue(read_size, BATCHES_MAX)
        self._leased: BatchQueue[ReadOperation] = BatchQueue(read_size, BATCHES_MAX)

    def __bool__(self) -> bool:
        return bool(self._confirmed or self._leased)

    def add(self, slot: Slot, operation: ReadOperation) -> None:
        """Queue a read."""
        leased = not isinstance(operation, ReadSnapshot) and operation.lease
        (self._leased if leased else self._confirmed).add(slot, operation)

    def take_batches(
        self, now: float, refuses: Callable[[Slot], bool] | None = None
    ) -> Iterator[tuple[bool, Batch]]:
        """Yield what is to be sent on now as one batch each, and whether by lease.

        ``refuses`` answers a slot for which nothing is to be read, and says whether it did.
        """
        for leased, queue in ((False, self._confirmed), (True, self._leased)):
            while taken := queue.take_batch(now, refuses):
                yield leased, taken

    def batch_ended(self, leased: bool, slots: list[Slot], now: float) -> None:
        """Note that a batch was answered, or given up."""
        (self._leased if leased else self._confirmed).batch_ended(slots, now)

    def take_late(self, now: float) -> list[Slot]:
        """Return those whose deadline passed before they were sent on."""
        return self._confirmed.take_late(now) + self._leased.take_late(now)

    def take_all(self) -> list[Slot]:
        """Return all that wait: they will not be sent on."""
        return self._confirmed.take_all() + self._leased.take_all()

    def next_deadline(self, now: float) -> float:
        """Return when ``take_batches`` would yield something though nothing has happened."""
        return min(self._confirmed.next_deadline(now), self._leased.next_deadline(now))


def read_message(number: int, batch: Batch, *, leased: bool) -> Read:
    """Return the message by which the log replicator is asked to serve a batch."""
    operations = ReadBatch(tuple([operation for _, operation in batch]))
    return Read(number, encode(operations), leased, operations.is_pure)


def unread_part(errand: Errand, count: int) -> Batch:
    """Return what storage left unread of a batch when it read so many operations."""
    if count >= len(errand.slots) or not isinstance(errand.message, Read):
        return []
    operations = decode_read_batch(errand.message.payload).operations
    rest = zip(errand.slots[count:], operations[count:], strict=True)
    return [(slot, operation) for slot, operation in rest if not slot.is_answered]
