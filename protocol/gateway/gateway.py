"""The gateway core: clients' requests are gathered, sent on, sent again, answered once.

The gateway alone remembers which client waits for what. Times are seconds of any steady clock.
"""

from collections.abc import Callable
from typing import Any, assert_never

import msgspec

from protocol.commands import SessionExpired, Write
from protocol.config import NodeConfig
from protocol.deadlines import NEVER
from protocol.gateway.admin import TOO_MANY, AdminRequests
from protocol.gateway.batching import BatchQueue, write_size
from protocol.gateway.outbox import GatewayOutbox
from protocol.gateway.pending import Answer, Call, Calls, Errand, ErrandMessage, Errands, Slot
from protocol.gateway.proposals import proposal, split
from protocol.gateway.read_queues import ReadQueues, read_message, unread_part
from protocol.gateway.replies import (
    EXPIRED_MEANWHILE,
    NOT_CONFIRMED,
    NOT_MEMBER,
    NOT_PROPOSED,
    STALLED,
    STALLED_MEANWHILE,
    STORAGE_FULL,
    node_status,
    refused,
    timed_out,
    unsupported,
    welcome,
)
from protocol.gateway.reply_budget import NOT_READ, ReplyBudget
from protocol.gateway.validation import InvalidOperation, validate
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    AddNode,
    Done,
    Failed,
    FailureCode,
    Get,
    Hello,
    ListKeys,
    ListPrefixes,
    Operation,
    ReadSnapshot,
    RemoveNode,
    Request,
    Status,
    TransferLeadership,
)
from protocol.messages.gateway import (
    BatchApplied,
    ChangesLost,
    GatewayMessage,
    Leadership,
    Opened,
    ReadFailed,
    ReadsConfirmed,
    ReadsDone,
    Refused,
    StatusReport,
)
from protocol.messages.replicator import AskStatus, Propose, Read, RemoveMember
from protocol.refusal import Refusal

SWEEP_SECONDS = 0.01  # how exactly deadlines and retries are kept while something waits
RETRY_SECONDS = 0.05  # after a refusal: an election takes a few of these
LOST_SECONDS = 1.0  # without a word: a message between two nodes was lost
TIMEOUT_MS_MAX = 3_600_000
INCARNATION_SHIFT = 32


class Gateway:
    """All requests that the clients of one node wait for."""

    def __init__(self, opened: Opened, config: NodeConfig) -> None:
        self._opened = opened
        self._config = config
        self._leadership: Leadership | None = None
        self._outbox = GatewayOutbox()
        self._writes: BatchQueue[Write] = BatchQueue(write_size)
        self._reads = ReadQueues()
        self._queues = (self._writes, self._reads)
        # No number is used again in another life of the node: late answers must find nobody.
        self._errands = Errands(opened.incarnation << INCARNATION_SHIFT)
        self._admin = AdminRequests()
        self.reply_budget = ReplyBudget()
        self._sweep_at = NEVER
        self._calls = Calls()
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            BatchApplied: self._on_batch_applied,
            ReadsDone: self._on_reads_done,
            ReadsConfirmed: self._on_reads_confirmed,
            Refused: self._on_refused,
            ReadFailed: self._on_read_failed,
            Leadership: self._on_leadership,
            StatusReport: self._on_status_report,
            ChangesLost: lambda _, now: self._send_all_again(now),  # their results were not sent
        }

    def receive(self, client: tuple[bytes, ...], request: Request, size: int, now: float) -> None:
        """Take a client's request of so many bytes."""
        count = len(request.operations)
        timeout = min(max(request.timeout_ms, 0), TIMEOUT_MS_MAX) / 1000
        call = Call(client, request.id, now + timeout, size, [None] * count, count)
        self._calls.begin(call)
        refusal = self._why_not(request, client[0])
        if not count:
            self._finish(call)
        for position, operation in enumerate(request.operations):
            slot = Slot(call, position)
            if refusal is not None:
                self._answer(slot, refusal)
            else:
                self._begin(slot, operation, now)

    def hear(self, message: GatewayMessage, now: float) -> None:
        """Take a message of the node's other actors."""
        handler = self._handlers.get(type(message))
        if handler is not None:  # what has none is for the publisher
            handler(message, now)

    def flush(self, now: float) -> GatewayOutbox:
        """End the turn: send on what was gathered, and return all that is to be sent."""
        if self._sweep_at <= now:
            self._sweep(now)
        self._send_writes(now)
        if self._reads:
            self._send_reads(now)
        if self._sweep_at == NEVER and (
            self._errands or self._writes or self._reads or self._admin
        ):
            self._sweep_at = now + SWEEP_SECONDS
        outbox, self._outbox = self._outbox, GatewayOutbox()
        return outbox

    def next_deadline(self, now: float) -> float:
        """Return when ``flush`` should be called though nothing has arrived."""
        return min(self._sweep_at, *[queue.next_deadline(now) for queue in self._queues])

    # --- taking requests

    def _why_not(self, request: Request, connection: bytes) -> Failed | None:
        if request.version != CLIENT_PROTOCOL_VERSION:
            return unsupported(request.version)
        if self._calls.are_too_many:
            return Failed(FailureCode.OVERLOADED, "too many requests wait at this node")
        budget = self.reply_budget
        return None if budget.is_untouched or budget.has_room(connection) else NOT_READ

    def _begin(self, slot: Slot, operation: Operation, now: float) -> None:
        try:
            validate(operation, self._config.value_bytes_max)
        except InvalidOperation as error:
            self._answer(slot, Failed(FailureCode.INVALID, str(error)))
            return
        match operation:
            case Hello():
                self._answer(slot, welcome(self._opened, self._config, self._leadership))
            case _ if self._leadership is not None and self._leadership.stalled:
                self._answer(slot, STALLED)
            case Status():
                question = AskStatus(self._errands.next_number())
                self._send_errand(question, [slot], slot.call.deadline)
            case _ if self._leadership is not None and self._leadership.removed:
                self._answer(slot, NOT_MEMBER)
            case _:
                self._gather(slot, operation, now)

    def _gather(self, slot: Slot, operation: Operation, now: float) -> None:
        """Keep an operation for the end of the turn, when it is sent on together with others."""
        match operation:
            case Write():
                self._writes.add(slot, operation)
            case Get() | ListKeys() | ListPrefixes() | ReadSnapshot():
                self._reads.add(slot, operation)
            case RemoveNode() | AddNode() | TransferLeadership() if self._admin.are_too_many:
                self._answer(slot, TOO_MANY)
            case RemoveNode(node=node, force=force):
                self._admin.removals += 1
                message = RemoveMember(self._errands.next_number(), node, force)
                self._send_errand(message, [slot], now + LOST_SECONDS)
            case AddNode() | TransferLeadership():
                self._admin.add(slot, operation)
            case Hello() | Status():
                raise AssertionError("answered before")
            case unknown:
                assert_never(unknown)

    def _refuse_read(self, slot: Slot) -> bool:
        """Answer a read that would be made in vain; return whether it would."""
        refusal = self.reply_budget.refusal_of_read(slot.call)
        if refusal is not None:
            self._answer(slot, refusal)
        return refusal is not None

    # --- sending on

    def _send_errand(self, message: ErrandMessage, slots: list[Slot], retry_at: float) -> None:
        self._errands.add(message, slots, retry_at)
        self._outbox.replicator.append(message)

    def _send_writes(self, now: float) -> None:
        while taken := self._writes.take_batch(now):
            self._propose(taken, now)

    def _propose(self, taken: list[tuple[Slot, Write]], now: float) -> None:
        message = proposal(self._opened, self._errands.next_number(), taken)
        self._send_errand(message, [slot for slot, _ in taken], now + LOST_SECONDS)

    def _send_reads(self, now: float) -> None:
        refuses = None if self.reply_budget.is_untouched else self._refuse_read
        for leased, taken in self._reads.take_batches(now, refuses):
            message = read_message(self._errands.next_number(), taken, leased=leased)
            self._send_errand(message, [slot for slot, _ in taken], now + LOST_SECONDS)

    def _end_errand(self, number: int, now: float) -> Errand | None:
        """Forget an errand; after a batch, the next one may go out."""
        errand = self._errands.pop(number)
        match errand:
            case Errand(message=Propose(), slots=slots):
                self._writes.batch_ended(slots, now)
            case Errand(message=RemoveMember()):
                self._admin.removals -= 1
            case Errand(message=Read(lease=leased), slots=slots):
                self._reads.batch_ended(leased, slots, now)
        return errand

    def _send_again(self, errand: Errand, now: float) -> None:
        errand.retry_at = now + LOST_SECONDS
        self._outbox.replicator.append(self._errands.begin_attempt(errand))

    def _send_all_again(self, now: float) -> None:
        """Ask for everything once more; what was done already is recognised."""
        for errand in self._errands.all():
            if not isinstance(errand.message, AskStatus):
                self._send_again(errand, now)

    # --- hearing back

    def _on_leadership(self, message: Leadership, now: float) -> None:
        before, self._leadership = self._leadership, message
        if message.stalled:
            self._fail_all(STALLED, now)
            self._fail_begun(now)
        elif message.removed:
            self._confirm_own_removal(now)
            self._fail_all(NOT_MEMBER, now)
        elif message.leader is not None and (
            before is None or (before.term, before.leader) != (message.term, message.leader)
        ):
            self._send_all_again(now)  # what an earlier leader was told may be lost

    def _confirm_own_removal(self, now: float) -> None:
        """Answer whoever wanted this node removed: it learns of that from peers, not from a log."""
        for errand in self._errands.all():
            message = errand.message
            if isinstance(message, RemoveMember) and message.node == self._opened.node:
                self._answer_all(errand, Done(), now)

    def _on_refused(self, message: Refused, now: float) -> None:
        errand = self._errands.get(message.number)
        if errand is None:
            return
        errand.refused += 1
        match message.refusal:
            case Refusal.OVERLOADED | Refusal.UNKNOWN_MEMBER if errand.certainly_not_done:
                self._answer_all(errand, refused(message), now)
            case Refusal.STORAGE_FULL if errand.certainly_not_done:
                self._refuse_growth(errand, now)
            case Refusal.UNKNOWN_MEMBER:
                self._answer_all(errand, Done(), now)  # an earlier attempt has removed it
            case Refusal.LAST_VOTER | Refusal.INVALID | Refusal.QUORUM_AT_RISK:
                self._answer_all(errand, refused(message), now)
            case _:
                errand.retry_at = now + RETRY_SECONDS

    def _refuse_growth(self, errand: Errand, now: float) -> None:
        """Refuse what a batch would add, and propose the rest by itself."""
        self._end_errand(errand.number, now)
        full, others = split(errand)
        for slot in full:
            self._answer(slot, STORAGE_FULL)
        if others:
            self._writes.batch_began(now)
            self._propose(others, now)

    def _on_read_failed(self, message: ReadFailed, now: float) -> None:
        errand = self._errands.get(message.number)
        if errand is not None:
            errand.refused += 1
            errand.retry_at = now + RETRY_SECONDS
            self._errands.drop_outcomes(errand)

    def _on_batch_applied(self, message: BatchApplied, now: float) -> None:
        errand = self._end_errand(message.number, now)
        if errand is None:
            return  # answered before: it was proposed twice
        if isinstance(errand.message, RemoveMember):
            self._answer(errand.slots[0], Done())
        for slot, result in zip(errand.slots, message.results, strict=False):
            is_doubtful = errand.maybe_done_before and isinstance(result, SessionExpired)
            self._answer(slot, EXPIRED_MEANWHILE if is_doubtful else result)

    def _on_reads_done(self, message: ReadsDone, now: float) -> None:
        errand = self._errands.get(message.number)
        if errand is None:
            return
        if message.confirmed or errand.confirmed:
            self._answer_reads(errand, message.outcomes, now)
        elif not self._errands.keep_outcomes(errand, message.outcomes):
            errand.retry_at = now + RETRY_SECONDS

    def _on_reads_confirmed(self, message: ReadsConfirmed, now: float) -> None:
        for number in message.numbers:
            errand = self._errands.get(number)
            if errand is not None:
                errand.confirmed = True
                if errand.outcomes is not None:
                    self._answer_reads(errand, errand.outcomes, now)

    def _answer_reads(self, errand: Errand, outcomes: tuple[msgspec.Raw, ...], now: float) -> None:
        """Answer what storage has read, and ask again for the rest."""
        self._end_errand(errand.number, now)
        for slot, outcome in zip(errand.slots, outcomes, strict=False):
            if not slot.is_answered:
                refusal = self.reply_budget.admit(slot.call, len(outcome))
                self._answer(slot, outcome if refusal is None else refusal)
        for slot, operation in unread_part(errand, len(outcomes)):
            self._reads.add(slot, operation)

    def _on_status_report(self, message: StatusReport, _: float) -> None:
        errand = self._errands.pop(message.number)
        if errand is not None:
            answer = node_status(self._opened, self._config, self._leadership, message)
            self._answer(errand.slots[0], answer)

    # --- deadlines

    def _sweep(self, now: float) -> None:
        """Fail what is past its deadline, and send again what was refused or lost."""
        self._sweep_at = NEVER
        for errand in self._errands.all():
            expired = [slot for slot in errand.slots if slot.call.deadline <= now]
            is_over = len(expired) == len(errand.slots)
            for slot in expired:
                self._answer(slot, timed_out(errand, is_over=is_over))
            if is_over:
                self._end_errand(errand.number, now)
            elif errand.retry_at <= now:
                self._send_again(errand, now)
        for slot in self._writes.take_late(now):
            self._answer(slot, NOT_PROPOSED)
        for slot in self._reads.take_late(now):
            self._answer(slot, NOT_CONFIRMED)
        for slot, outcome in self._admin.take_answers(self._leadership, now):
            self._answer(slot, outcome)
        self._outbox.replicator.extend(self._admin.take_due(now))

    # --- answering

    def _answer(self, slot: Slot, outcome: Answer) -> None:
        if slot.call.answer(slot.position, outcome):
            self._finish(slot.call)

    def _finish(self, call: Call) -> None:
        self._calls.end(call)
        self.reply_budget.end_call(call)
        self._outbox.replies.append(call)

    def _answer_all(self, errand: Errand, outcome: Answer, now: float) -> None:
        """End an errand with the same answer for all who wait for it."""
        self._end_errand(errand.number, now)
        for slot in errand.slots:
            self._answer(slot, outcome)

    def _fail_all(self, outcome: Failed, now: float) -> None:
        """Answer what this node certainly has not begun and never will."""
        for errand in self._errands.all():
            if errand.certainly_not_done:
                self._answer_all(errand, outcome, now)
        for queue in self._queues:
            for slot in queue.take_all():
                self._answer(slot, outcome)

    def _fail_begun(self, now: float) -> None:
        """Answer what waits for storage: a read changes nothing, all else may yet be done."""
        for errand in self._errands.all():
            changes = isinstance(errand.message, Propose | RemoveMember)
            self._answer_all(errand, STALLED_MEANWHILE if changes else STALLED, now)
        for slot in self._admin.take_all():
            self._answer(slot, STALLED_MEANWHILE)
