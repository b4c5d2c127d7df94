"""Batching: when queued operations are sent as a batch, and how large a batch may be.

A batch costs the cluster about the same whether it carries one operation or a hundred. The next
batch therefore waits for the previous one, and then briefly for the clients just answered: most of
them send their next operation at once. A single client never waits. A large batch waits for neither
while at most one is in flight: the next one is received while that one is written. Where more is
queued than a batch holds, users take turns, a request each.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar, assert_never

from protocol.deadlines import NEVER
from protocol.gateway.pending import Slot
from protocol.load import entry_load_of
from protocol.messages.client import (
    Get,
    GetMany,
    KeepAlive,
    ListKeys,
    ListLeases,
    ListPrefixes,
    ReadChanges,
    ReadOperation,
    ReadSnapshot,
    Scan,
)
from protocol.messages.rights import CheckRight, ListUsers, WhoAmI
from protocol.state.commands import Write, command_size
from protocol.state.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX

GET_BYTES, LIST_BYTES, LEASE_BYTES = 4 << 10, 256 << 10, 256  # assumed; most are smaller
RETURN_SHARE = 0.5  # of a batch's duration: how long to wait for its clients' next operations,
RETURN_SECONDS_MIN, RETURN_SECONDS_MAX = 0.001, 0.003  # within these bounds
PIPELINE_SECONDS = 0.005  # on slow links, the next batch does not wait longer than this
LARGE_OPERATIONS = 100  # load of a batch that would gain little from more
LARGE_IN_FLIGHT_MAX = 2  # batches, of which the last one did not wait

OperationT = TypeVar("OperationT")
Cost = tuple[int, int]  # bytes, and load as in ``protocol.load``
Queued = deque[tuple[Slot, OperationT]]


class BatchQueue(Generic[OperationT]):
    """Queued operations of one kind at one gateway."""

    def __init__(self, cost_of: Callable[[OperationT], Cost], in_flight_max: float = NEVER) -> None:
        """Allow ``in_flight_max`` concurrent batches, each of bounded cost."""
        self._cost_of = cost_of
        self._in_flight_max = in_flight_max
        # By user, who are in the order of their turns.
        self._waiting: OrderedDict[bytes, Queued[OperationT]] = OrderedDict()
        self._count = self._size = self._load = 0  # of all queued operations
        self._in_flight = 0
        self._sent_at = -NEVER
        self._returning: set[bytes] = set()
        self._return_until = -NEVER

    def __len__(self) -> int:
        return self._count

    def add(self, slot: Slot, operation: OperationT) -> None:
        """Queue an operation."""
        waiting = self._waiting.get(slot.call.payer)
        if waiting is None:
            waiting = self._waiting[slot.call.payer] = deque()
        waiting.append((slot, operation))
        size, load = self._cost_of(operation)
        self._count += 1
        self._size += size
        self._load += load
        self._returning.discard(slot.call.client[0])

    def take_batch(
        self, now: float, refuses: Callable[[Slot], bool] | None = None
    ) -> list[tuple[Slot, OperationT]]:
        """Return the batch that is due now; empty if none is.

        ``refuses`` may answer a slot itself and return True; that operation is then left out. It
        counts towards the batch limit, so a call may return few operations while more are queued.
        """
        if not self._count or now < self._due(now):
            return []
        taken = self._take(refuses)
        if taken:
            self.batch_began(now)
        return taken

    def batch_began(self, now: float) -> None:
        """Record that a batch was sent."""
        self._in_flight += 1
        self._sent_at = now

    def batch_ended(self, slots: list[Slot], now: float) -> None:
        """Record that a batch was answered or abandoned."""
        self._in_flight -= 1
        self._returning = {slot.call.client[0] for slot in slots}
        share = RETURN_SHARE * (now - self._sent_at)
        self._return_until = now + min(max(share, RETURN_SECONDS_MIN), RETURN_SECONDS_MAX)

    def take_late(self, now: float) -> list[Slot]:
        """Remove and return the slots whose deadline passed before they were sent."""
        return self._remove(lambda slot: slot.call.deadline <= now)

    def take_all(self) -> list[Slot]:
        """Remove and return all queued slots."""
        return self._remove(lambda _: True)

    def next_deadline(self, now: float) -> float:
        """Return when the next batch is due if no event occurs before."""
        return self._due(now) if self._count else NEVER

    def _due(self, now: float) -> float:
        if self._in_flight >= self._in_flight_max:
            return NEVER
        if self._load >= LARGE_OPERATIONS and self._in_flight < LARGE_IN_FLIGHT_MAX:
            return now
        if self._in_flight:
            return self._sent_at + PIPELINE_SECONDS
        return self._return_until if self._returning else now

    def _take(self, refuses: Callable[[Slot], bool] | None) -> list[tuple[Slot, OperationT]]:
        """Take as many queued requests as fit into one batch, but at least one operation.

        A request that fits into one batch is not split, so that its writes are applied in order.
        """
        if refuses is None and not _is_too_much(self._size, self._load):
            return self._take_everything()
        taken: list[tuple[Slot, OperationT]] = []
        size = load = 0
        while self._waiting:
            user, waiting = next(iter(self._waiting.items()))
            part, part_size, part_load = self._first_part(waiting)
            size, load = size + part_size, load + part_load
            if taken and _is_too_much(size, load):
                break
            self._size -= part_size
            self._load -= part_load
            self._end_turn(user, waiting, len(part))
            taken += [each for each in part if refuses is None or not refuses(each[0])]
        return taken

    def _take_everything(self) -> list[tuple[Slot, OperationT]]:
        taken = [each for waiting in self._waiting.values() for each in waiting]
        self._waiting.clear()
        self._count = self._size = self._load = 0
        return taken

    def _first_part(
        self, waiting: Queued[OperationT]
    ) -> tuple[list[tuple[Slot, OperationT]], int, int]:
        """Return a user's first request, or as much of it as fits into a batch; bytes and load."""
        call = waiting[0][0].call
        fits = call.load <= BATCH_OPERATIONS_MAX  # as its client counts it
        part: list[tuple[Slot, OperationT]] = []
        size = load = 0
        for each in waiting:
            if each[0].call is not call:
                break
            more, operations = self._cost_of(each[1])
            if part and _is_too_much(size + more, 0 if fits else load + operations):
                break
            part.append(each)
            size, load = size + more, load + operations
        return part, size, load

    def _end_turn(self, user: bytes, waiting: Queued[OperationT], count: int) -> None:
        """Drop the first operations of a user, whose next turn comes after the others'."""
        for _ in range(count):
            waiting.popleft()
        self._count -= count
        if waiting:
            self._waiting.move_to_end(user)
        else:
            del self._waiting[user]

    def _remove(self, is_over: Callable[[Slot], bool]) -> list[Slot]:
        if not any(is_over(slot) for waiting in self._waiting.values() for slot, _ in waiting):
            return []
        taken = self._take_everything()
        for slot, operation in taken:
            if not is_over(slot):
                self.add(slot, operation)
        return [slot for slot, _ in taken if is_over(slot)]


def _is_too_much(size: int, load: int) -> bool:
    return size > BATCH_BYTES_MAX or load > BATCH_OPERATIONS_MAX


def write_cost(write: Write) -> Cost:
    """Return what a write takes of a batch."""
    return command_size(write.command), entry_load_of(write.command)


def read_cost(operation: ReadOperation) -> Cost:
    """Return what a read takes of a batch, which one turn of storage serves."""
    return _read_size(operation), 1


def _read_size(operation: ReadOperation) -> int:
    """Return the assumed size of a read's outcome, in bytes."""
    match operation:
        case Get():
            return GET_BYTES
        case GetMany(keys=keys):
            return GET_BYTES * len(keys)
        case KeepAlive(leases=leases):
            return LEASE_BYTES * len(leases)
        case ListKeys() | ListPrefixes() | ListLeases() | Scan() | ReadChanges() | ListUsers():
            return LIST_BYTES
        case WhoAmI() | CheckRight():
            return GET_BYTES
        case ReadSnapshot():
            return BATCH_BYTES_MAX
        case unknown:
            assert_never(unknown)
