"""Read queues: batches of the reads of each path, where quick reads do not wait for pages."""

from collections.abc import Callable, Iterator
from enum import Enum

from protocol.gateway.batching import BatchQueue, read_cost
from protocol.gateway.pending import PendingRequest, Slot
from protocol.load import PAGES
from protocol.messages.client import KeepAlive, ReadBatch, ReadOperation
from protocol.messages.replicator import Read
from protocol.messages.storage import ReadAt
from protocol.wire import decode_read_batch, encode

BATCHES_MAX = 32  # in flight, of each path: more would only queue at storage
PAGE_BATCHES_MAX = 2  # likewise, of pages, for any of which storage takes up to some 10 ms

Batch = list[tuple[Slot, ReadOperation]]
Lane = tuple["ReadPath", bool]  # path, and whether its reads are pages


class ReadPath(Enum):
    """How a read is confirmed."""

    CONFIRMED = "by a round of heartbeats"
    LEASED = "by the leader's lease"
    LOCAL = "not at all"


class ReadQueues:
    """The queued reads of one gateway."""

    def __init__(self) -> None:
        self._queues: dict[Lane, BatchQueue[ReadOperation]] = {
            (path, are_pages): BatchQueue(read_cost, PAGE_BATCHES_MAX if are_pages else BATCHES_MAX)
            for path in ReadPath
            for are_pages in (False, True)
        }

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, slot: Slot, operation: ReadOperation, path: ReadPath) -> None:
        """Queue a read."""
        self._queues[path, type(operation) in PAGES].add(slot, operation)

    def take_batches(
        self, now: float, refuses: Callable[[Slot], bool] | None = None
    ) -> Iterator[tuple[Lane, Batch]]:
        """Yield the batches that are due now, each with its lane.

        ``refuses`` may answer a slot itself and return True; its read is then left out.
        """
        for lane, queue in self._queues.items():
            while taken := queue.take_batch(now, refuses):
                yield lane, taken

    def batch_ended(self, pending: PendingRequest, now: float) -> ReadPath:
        """Record that a batch was answered or abandoned; return its path."""
        path = _path_of(pending)
        self._queues[path, pending.are_pages].batch_ended(pending.slots, now)
        return path

    def take_late(self, now: float) -> list[Slot]:
        """Remove and return the slots whose deadline passed before they were sent."""
        return [slot for queue in self._queues.values() for slot in queue.take_late(now)]

    def take_all(self) -> list[Slot]:
        """Remove and return all queued slots."""
        return [slot for queue in self._queues.values() for slot in queue.take_all()]

    def next_deadline(self, now: float) -> float:
        """Return when the next batch is due if no event occurs before."""
        return min([queue.next_deadline(now) for queue in self._queues.values()])


def read_message(number: int, batch: Batch, path: ReadPath) -> Read | ReadAt:
    """Return the message that has a batch served: to the log replicator, or to storage."""
    users = tuple([slot.call.user for slot, _ in batch])
    operations = ReadBatch(
        tuple([operation for _, operation in batch]), users if any(users) else ()
    )
    payload = encode(operations)
    if path is ReadPath.LOCAL:
        return ReadAt(number, 0, payload, confirmed=True)
    leases = [lease for _, each in batch if isinstance(each, KeepAlive) for lease in each.leases]
    by_lease = path is ReadPath.LEASED
    return Read(number, payload, by_lease, operations.is_pure, tuple(leases))


def operations_of(pending: PendingRequest) -> tuple[ReadOperation, ...]:
    """Return the operations of a batch."""
    assert isinstance(pending.message, Read | ReadAt)
    return decode_read_batch(pending.message.payload).operations


def _path_of(pending: PendingRequest) -> ReadPath:
    if isinstance(pending.message, ReadAt):
        return ReadPath.LOCAL
    assert isinstance(pending.message, Read)
    return ReadPath.LEASED if pending.message.leader_lease else ReadPath.CONFIRMED
