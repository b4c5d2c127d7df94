"""Batching: when queued operations are sent as a batch, and how large a batch may be.

A batch costs the cluster about the same whether it carries one operation or a hundred. The next
batch therefore waits for the previous one, and then briefly for the clients just answered: most of
them send their next operation at once. A single client never waits.
"""

from collections.abc import Callable
from typing import Generic, TypeVar, assert_never

from protocol.deadlines import NEVER
from protocol.gateway.pending import Slot
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

GET_BYTES, LIST_BYTES, LEASE_BYTES = (
    4 << 10,
    128 << 10,
    256,
)  # assumed sizes; most outcomes are smaller
RETURN_SHARE = 0.5  # of a batch's duration: how long to wait for its clients' next operations,
RETURN_SECONDS_MIN, RETURN_SECONDS_MAX = 0.001, 0.003  # within these bounds
PIPELINE_SECONDS = 0.005  # on slow links, the next batch does not wait longer than this


OperationT = TypeVar("OperationT")


class BatchQueue(Generic[OperationT]):
    """Queued operations of one kind at one gateway."""

    def __init__(self, size_of: Callable[[OperationT], int], in_flight_max: float = NEVER) -> None:
        """Allow ``in_flight_max`` concurrent batches; ``size_of`` returns an operation's bytes."""
        self._size_of = size_of
        self._in_flight_max = in_flight_max
        self._waiting: list[tuple[Slot, OperationT]] = []
        self._in_flight = 0
        self._sent_at = -NEVER
        self._returning: set[bytes] = set()
        self._return_until = -NEVER

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, operation: OperationT) -> None:
        """Queue an operation."""
        self._waiting.append((slot, operation))
        self._returning.discard(slot.call.client[0])

    def take_batch(
        self, now: float, refuses: Callable[[Slot], bool] | None = None
    ) -> list[tuple[Slot, OperationT]]:
        """Return the batch that is due now; empty if none is.

        ``refuses`` may answer a slot itself and return True; that operation is then left out. It
        counts towards the batch limit, so a call may return few operations while more are queued.
        """
        if not self._waiting or now < self._due(now):
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
        late = [slot for slot, _ in self._waiting if slot.call.deadline <= now]
        if late:
            self._waiting = [each for each in self._waiting if each[0].call.deadline > now]
        return late

    def take_all(self) -> list[Slot]:
        """Remove and return all queued slots."""
        taken, self._waiting = self._waiting, []
        return [slot for slot, _ in taken]

    def next_deadline(self, now: float) -> float:
        """Return when the next batch is due if no event occurs before."""
        return self._due(now) if self._waiting else NEVER

    def _due(self, now: float) -> float:
        if self._in_flight >= self._in_flight_max:
            return NEVER
        if self._in_flight:
            return self._sent_at + PIPELINE_SECONDS
        return self._return_until if self._returning else now

    def _take(self, refuses: Callable[[Slot], bool] | None) -> list[tuple[Slot, OperationT]]:
        """Take as many queued operations as fit into one batch, but at least one.

        A request that fits into one batch is not split, so that its writes are applied in order.
        """
        taken: list[tuple[Slot, OperationT]] = []
        looked_at = size = 0
        for each in self._waiting[:BATCH_OPERATIONS_MAX]:
            if refuses is None or not refuses(each[0]):
                size += self._size_of(each[1])
                if taken and size > BATCH_BYTES_MAX:
                    break
                taken.append(each)
            looked_at += 1
        left_over = self._divided(looked_at) if refuses is None else 0
        self._waiting = self._waiting[looked_at - left_over :]
        return taken[: len(taken) - left_over]

    def _divided(self, end: int) -> int:
        """Return how many operations before ``end`` belong to a request that continues after it."""
        if end == len(self._waiting):
            return 0
        call, begin = self._waiting[end][0].call, end
        while begin and self._waiting[begin - 1][0].call is call:
            begin -= 1
        return end - begin if begin else 0  # a request larger than a batch has to be split


def write_size(write: Write) -> int:
    """Return a write's size in bytes."""
    return command_size(write.command)


def read_size(operation: ReadOperation) -> int:
    """Return the assumed size of a read's outcome, in bytes: one turn serves a whole batch."""
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
