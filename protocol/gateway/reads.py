"""Reads: the reads of one gateway, from their operations to their outcomes.

A read is confirmed by a quorum, by the leader's lease, or not at all: then this node's storage
serves it as it is. Each confirmed read shows that the state was current when it was sent, so that
reads of a limited staleness need no confirmation for a while.
"""

from collections.abc import Callable

from protocol.deadlines import NEVER
from protocol.gateway.outbox import GatewayOutbox
from protocol.gateway.pending import (
    LOST_SECONDS,
    RETRY_SECONDS,
    Answer,
    PendingRequest,
    PendingRequests,
    RawOutcomes,
    Slot,
)
from protocol.gateway.read_queues import ReadPath, ReadQueues, operations_of, read_message
from protocol.gateway.reply_budget import ReplyBudget
from protocol.messages.client import (
    ANY_STALENESS,
    Get,
    LeaseRead,
    ReadChanges,
    ReadOperation,
    ReadSnapshot,
    RightsRead,
    Scan,
)
from protocol.messages.gateway import ReadFailed, ReadsConfirmed, ReadsDone
from protocol.messages.rights import CheckRight


class Reads:
    """The queued and pending reads. Times are seconds of a steady clock."""

    def __init__(
        self,
        pending: PendingRequests,
        budget: ReplyBudget,
        answer: Callable[[Slot, Answer], None],
    ) -> None:
        self.queues = ReadQueues()
        self._pending = pending
        self._budget = budget
        self._answer = answer
        self._current_at = -NEVER  # when the newest confirmed read was sent

    def add(self, slot: Slot, operation: ReadOperation, now: float) -> None:
        """Queue a read."""
        self.queues.add(slot, operation, self._path(operation, slot.call.user, now))

    def flush(self, now: float, outbox: GatewayOutbox) -> None:
        """Send the batches that are due."""
        refuses = None if self._budget.is_untouched else self._refuse
        for (path, are_pages), taken in self.queues.take_batches(now, refuses):
            message = read_message(self._pending.next_number(), taken, path)
            slots = [slot for slot, _ in taken]
            self._pending.add(message, slots, now, now + LOST_SECONDS, are_pages=are_pages)
            outbox.send(message)

    def on_done(self, message: ReadsDone, now: float) -> None:
        """Answer the reads that storage has served, or keep their outcomes until confirmed."""
        pending = self._pending.get(message.number)
        if pending is None:
            return
        if message.confirmed or pending.confirmed:
            self._answer_all(pending, message.outcomes, message.behind, now)
        elif not self._pending.keep_outcomes(pending, message.outcomes):
            pending.retry_at = now + RETRY_SECONDS

    def on_confirmed(self, message: ReadsConfirmed, now: float) -> None:
        """Answer the reads that storage has served ahead."""
        for number in message.numbers:
            pending = self._pending.get(number)
            if pending is not None:
                pending.confirmed = True
                if pending.outcomes is not None:
                    self._answer_all(pending, pending.outcomes, (), now)

    def on_failed(self, message: ReadFailed, now: float) -> None:
        """Send a read again after a while: no leader confirmed it."""
        pending = self._pending.get(message.number)
        if pending is not None:
            pending.refused += 1
            pending.retry_at = now + RETRY_SECONDS
            self._pending.drop_outcomes(pending)

    # ---

    def _path(self, operation: ReadOperation, user: bytes, now: float) -> ReadPath:
        if type(operation) is Get and not operation.max_staleness_ms:  # the most frequent case
            return ReadPath.LEASED if operation.leader_lease else ReadPath.CONFIRMED
        if not user and _is_immutable(operation):
            return ReadPath.LOCAL
        if isinstance(operation, ReadSnapshot | ReadChanges | LeaseRead | RightsRead):
            return ReadPath.CONFIRMED
        if operation.max_staleness_ms and self._is_current(operation.max_staleness_ms, now):
            return ReadPath.LOCAL
        return ReadPath.LEASED if operation.leader_lease else ReadPath.CONFIRMED

    def _is_current(self, max_staleness_ms: int, now: float) -> bool:
        oldest = now - max_staleness_ms / 1000
        return max_staleness_ms == ANY_STALENESS or self._current_at >= oldest

    def _refuse(self, slot: Slot) -> bool:
        """Answer a read whose outcome would exceed the reply budget; return whether it does."""
        refusal = self._budget.refusal_of_read(slot.call)
        if refusal is not None:
            self._answer(slot, refusal)
        return refusal is not None

    def _answer_all(
        self,
        pending: PendingRequest,
        outcomes: RawOutcomes,
        behind: tuple[int, ...],
        now: float,
    ) -> None:
        """Answer the operations that storage has read, and queue the rest again."""
        self._pending.pop(pending.number)
        path = self.queues.batch_ended(pending, now)
        if path is ReadPath.CONFIRMED:
            self._current_at = max(self._current_at, pending.sent_at)
            behind = ()  # final: the revision is in the future, or the right is missing
        for place, outcome in enumerate(outcomes):
            slot = pending.slots[place]
            if not slot.is_answered and place not in behind:
                refusal = self._budget.admit(slot.call, len(outcome))
                self._answer(slot, outcome if refusal is None else refusal)
        if behind or len(outcomes) < len(pending.slots):
            self._queue_again(pending, len(outcomes), behind, now)

    def _queue_again(
        self, pending: PendingRequest, count: int, behind: tuple[int, ...], now: float
    ) -> None:
        """Queue the operations after the first ``count``, and those behind to be confirmed.

        A revision that the client has seen is committed, so that a confirmed read sees it.
        """
        for place, operation in enumerate(operations_of(pending)):
            slot = pending.slots[place]
            if place in behind and not slot.is_answered:
                self.queues.add(slot, operation, ReadPath.CONFIRMED)
            elif place >= count and not slot.is_answered:
                self.add(slot, operation, now)


def _is_immutable(operation: ReadOperation) -> bool:
    """Whether every later state gives the same outcome, but for the rights of a user."""
    match operation:
        case ReadChanges() | CheckRight():
            return True  # changes are committed, and nothing denies a check without restrictions
        case Scan(revision=revision):
            return revision > 0  # the view does not change
        case _:
            return False
