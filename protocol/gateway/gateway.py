"""Gateway core: batches clients' operations, re-sends them and answers each request once.

Only the gateway knows which client a result belongs to. Times are seconds of a steady clock.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from protocol.audit import is_audited
from protocol.config import NodeConfig
from protocol.deadlines import NEVER
from protocol.gateway.acceptance import Acceptance
from protocol.gateway.admin import TOO_MANY, AdminRequests
from protocol.gateway.audit_notes import keep_audited, keep_names, notes_of
from protocol.gateway.batching import BatchQueue, write_cost
from protocol.gateway.former_keys import FormerKeys
from protocol.gateway.member_notes import notes_of_members
from protocol.gateway.outbox import GatewayOutbox
from protocol.gateway.pending import (
    LOST_SECONDS,
    RETRY_SECONDS,
    Answer,
    Call,
    GatewayRequest,
    PendingRequest,
    PendingRequests,
    Slot,
)
from protocol.gateway.permits import Permits
from protocol.gateway.proposals import proposal, reason_of, split
from protocol.gateway.reads import Reads
from protocol.gateway.replies import (
    EXPIRED_MEANWHILE,
    NOT_CONFIRMED,
    NOT_MEMBER,
    NOT_PROPOSED,
    STALLED,
    STALLED_MEANWHILE,
    node_status,
    refused,
    timed_out,
    welcome,
)
from protocol.gateway.reply_budget import ReplyBudget
from protocol.gateway.shares import payer_of
from protocol.gateway.validation import validate
from protocol.load import load_of
from protocol.messages.client import (
    AddNode,
    Done,
    Failed,
    FailureCode,
    Hello,
    Operation,
    RemoveNode,
    Request,
    Status,
    TransferLeadership,
)
from protocol.messages.gateway import (
    BatchApplied,
    ChangesLost,
    GatewayMessage,
    HandshakesRefused,
    Leadership,
    Opened,
    ReadFailed,
    ReadsConfirmed,
    ReadsDone,
    Refused,
    RightsUpdate,
    StatusReport,
)
from protocol.messages.replicator import AskStatus, Propose, Read, RemoveMember
from protocol.messages.storage import ReadAt
from protocol.refusal import Refusal
from protocol.state.batches import InvalidOperation
from protocol.state.commands import SessionExpired, Write
from protocol.state.rights import UNKNOWN, Rights
from protocol.state.user_commands import Denied

SWEEP_SECONDS = 0.01  # resolution of deadlines and retries
TIMEOUT_MS_MAX = 3_600_000
INCARNATION_SHIFT = 32


class Gateway:
    """The unanswered requests of one node's clients."""

    def __init__(self, opened: Opened, config: NodeConfig) -> None:
        self._opened = opened
        self._config = config
        self._leadership: Leadership | None = None
        self._outbox = GatewayOutbox()
        self._writes: BatchQueue[Write] = BatchQueue(write_cost)
        # The incarnation makes numbers unique across restarts: late results must not match.
        self._pending = PendingRequests(opened.incarnation << INCARNATION_SHIFT)
        self._admin = AdminRequests()
        self.reply_budget = ReplyBudget()
        self._permits = Permits(self._answer)
        self._reads = Reads(self._pending, self.reply_budget, self._permits.answer_read)
        self.rights = Rights()
        self.former_keys = FormerKeys()
        self._queues = (self._writes, self._reads.queues)
        self._sweep_at = NEVER
        self._acceptance = Acceptance(self.reply_budget, config.user_operations_max)
        self.refused_handshakes = 0  # at the ports for clients
        self._refused_to_peers = 0
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            BatchApplied: self._on_batch_applied,
            ReadsDone: self._reads.on_done,
            ReadsConfirmed: self._reads.on_confirmed,
            Refused: self._on_refused,
            ReadFailed: self._reads.on_failed,
            Leadership: self._on_leadership,
            StatusReport: self._on_status_report,
            HandshakesRefused: self._on_handshakes_refused,
            RightsUpdate: self._on_rights,
            ChangesLost: lambda _, now: self._send_all_again(now),  # results were lost, too
        }

    def receive(
        self, client: tuple[bytes, ...], request: Request, size: int, now: float, user: bytes = b""
    ) -> int:
        """Accept a request from the client that these frames route to; return its load.

        ``size`` is in bytes; ``user`` is the public key of its connection, empty for no limits.
        """
        count, load = len(request.operations), load_of(request.operations)
        deadline = now + min(max(request.timeout_ms, 0), TIMEOUT_MS_MAX) / 1000
        payer = payer_of(user, self.rights, client[0])
        call = Call(client, request.id, deadline, size, [None] * count, count, load, user, payer)
        keep_names(call, request.operations)
        refusal = self._acceptance.begin(call, request, now) or self._denial_of(call, request)
        if refusal is not None:
            call.outcomes, call.missing = [refusal] * count, 0
        if not call.missing:
            self._finish(call)
            return load
        for position, operation in enumerate(request.operations):
            self._begin(Slot(call, position), operation, now)
        return load

    def step(self, message: GatewayMessage, now: float) -> None:
        """Process a message from another actor of this node."""
        handler = self._handlers.get(type(message))
        if handler is not None:  # others concern only the publisher
            handler(message, now)

    def flush(self, now: float) -> GatewayOutbox:
        """End the turn: form batches of the new operations, and return all messages to send."""
        if self._sweep_at <= now:
            self._sweep(now)
        for slot, operation in self._permits.take_cleared():
            self._gather(slot, operation, now)
        self._send_writes(now)
        if self._reads.queues:
            self._reads.flush(now, self._outbox)
        is_busy = self._pending or self._writes or self._reads.queues or self._admin
        if is_busy and self._sweep_at == NEVER:
            self._sweep_at = now + SWEEP_SECONDS
        outbox, self._outbox = self._outbox, GatewayOutbox()
        return outbox

    def next_deadline(self, now: float) -> float:
        """Return when ``flush`` is due if nothing arrives before."""
        return min(self._sweep_at, *[queue.next_deadline(now) for queue in self._queues])

    @property
    def user_keys(self) -> frozenset[bytes]:
        """The public keys of all users, as far as this node has applied the log."""
        return self.rights.keys

    # --- requests

    def _denial_of(self, call: Call, request: Request) -> Denied | None:
        """Return that a request is of a user that was removed; note its audited operations."""
        if call.user not in self.former_keys:
            return None
        keep_audited(call, request.operations)
        return UNKNOWN

    def _begin(self, slot: Slot, operation: Operation, now: float) -> None:
        try:
            validate(operation, self._config)
        except InvalidOperation as error:
            self._answer(slot, Failed(FailureCode.INVALID, str(error)))
            return
        if is_audited(operation):
            slot.audit(operation)
        match operation:
            case Hello():
                self._answer(slot, welcome(self._opened, self._config, self._leadership))
            case _ if self._leadership is not None and self._leadership.stalled:
                self._answer(slot, STALLED)
            case Status():
                request = AskStatus(self._pending.next_number())
                self._send_request(request, [slot], now, slot.call.deadline)
            case _ if self._leadership is not None and self._leadership.removed:
                self._answer(slot, NOT_MEMBER)
            case _ if slot.call.user:
                self._gather(slot, self._permits.first_of(slot, operation), now)
            case _:
                self._gather(slot, operation, now)

    def _gather(self, slot: Slot, operation: Operation, now: float) -> None:
        """Queue an operation, to be batched at the end of the turn."""
        match operation:
            case Write(user=user):
                own = slot.call.user
                self._writes.add(slot, operation if user == own else replace(operation, user=own))
            case Hello() | Status():
                raise AssertionError("answered before")
            case RemoveNode() | AddNode() | TransferLeadership() if self._admin.are_too_many:
                self._answer(slot, TOO_MANY)
            case RemoveNode(node=node, force=force):
                self._admin.removals += 1
                message = RemoveMember(self._pending.next_number(), node, force)
                self._send_request(message, [slot], now, now + LOST_SECONDS)
            case AddNode() | TransferLeadership():
                self._admin.add(slot, operation)
            case _:
                self._reads.add(slot, operation, now)

    # --- messages to the log replicator

    def _send_request(
        self, message: GatewayRequest, slots: list[Slot], now: float, retry_at: float
    ) -> None:
        self._pending.add(message, slots, now, retry_at)
        self._outbox.send(message)

    def _send_writes(self, now: float) -> None:
        while taken := self._writes.take_batch(now):
            self._propose(taken, now)

    def _propose(self, taken: list[tuple[Slot, Write]], now: float) -> None:
        message = proposal(self._opened, self._pending.next_number(), taken)
        self._send_request(message, [slot for slot, _ in taken], now, now + LOST_SECONDS)

    def _end_request(self, number: int, now: float) -> PendingRequest | None:
        """Remove a pending request; the end of a batch may release the next one."""
        pending = self._pending.pop(number)
        match pending:
            case PendingRequest(message=Propose(), slots=slots):
                self._writes.batch_ended(slots, now)
            case PendingRequest(message=RemoveMember()):
                self._admin.removals -= 1
            case PendingRequest(message=Read() | ReadAt()):
                self._reads.queues.batch_ended(pending, now)
        return pending

    def _send_again(self, pending: PendingRequest, now: float) -> None:
        self._outbox.send(self._pending.begin_attempt(pending, now))

    def _send_all_again(self, now: float) -> None:
        """Re-send all pending requests; duplicates are harmless."""
        for pending in self._pending.all():
            if not isinstance(pending.message, AskStatus):
                self._send_again(pending, now)

    # --- results

    def _on_leadership(self, message: Leadership, now: float) -> None:
        before, self._leadership = self._leadership, message
        if before is not None:
            self._outbox.audit += notes_of_members(before.membership, message.membership)
        if message.stalled:
            self._fail_all(STALLED, now)
            self._fail_begun(now)
        elif message.removed:
            self._confirm_own_removal(now)
            self._fail_all(NOT_MEMBER, now)
        elif message.leader is not None and (
            before is None or (before.term, before.leader) != (message.term, message.leader)
        ):
            self._send_all_again(now)  # the earlier leader may have lost them

    def _on_rights(self, message: RightsUpdate, _: float) -> None:
        before, self.rights = self.rights, Rights(message.users, message.roles)
        self.former_keys.learn(before.keys, self.rights.keys)

    def _confirm_own_removal(self, now: float) -> None:
        """Answer removals of this node: it learns of its removal from peers, not from its log."""
        for pending in self._pending.all():
            message = pending.message
            if isinstance(message, RemoveMember) and message.node == self._opened.node:
                self._answer_all(pending, Done(), now)

    def _on_refused(self, message: Refused, now: float) -> None:
        pending = self._pending.get(message.number)
        if pending is None:
            return
        pending.refused += 1
        message = reason_of(message, pending, self._leadership)
        match message.refusal:
            case Refusal.OVERLOADED | Refusal.UNKNOWN_MEMBER if pending.certainly_not_done:
                self._answer_all(pending, refused(message), now)
            case Refusal.STORAGE_FULL if pending.certainly_not_done:
                self._refuse_part(pending, message, now)
            case Refusal.OLD_MEMBER if pending.certainly_not_done:
                self._refuse_part(pending, message, now)
            case Refusal.UNKNOWN_MEMBER:
                self._answer_all(pending, Done(), now)  # an earlier attempt has removed it
            case Refusal.LAST_VOTER | Refusal.INVALID | Refusal.QUORUM_AT_RISK:
                self._answer_all(pending, refused(message), now)
            case _:
                pending.retry_at = now + RETRY_SECONDS

    def _refuse_part(self, pending: PendingRequest, message: Refused, now: float) -> None:
        """Refuse some writes of a batch, and propose the others again."""
        self._end_request(pending.number, now)
        slots, others = split(pending, message.refusal)
        for slot in slots:
            self._answer(slot, refused(message))
        if others:
            self._writes.batch_began(now)
            self._propose(others, now)

    def _on_batch_applied(self, message: BatchApplied, now: float) -> None:
        pending = self._end_request(message.number, now)
        if pending is None:
            return
        if isinstance(pending.message, RemoveMember):
            self._answer(pending.slots[0], Done())
            return
        for slot, result in zip(pending.slots, message.results, strict=True):
            is_doubtful = pending.maybe_done_before and isinstance(result, SessionExpired)
            self._answer(slot, EXPIRED_MEANWHILE if is_doubtful else result)

    def _on_status_report(self, message: StatusReport, _: float) -> None:
        pending = self._pending.pop(message.number)
        if pending is not None:
            count = self.refused_handshakes + self._refused_to_peers
            answer = node_status(self._opened, self._config, self._leadership, message, count)
            self._answer(pending.slots[0], answer)

    def _on_handshakes_refused(self, message: HandshakesRefused, _: float) -> None:
        self._refused_to_peers = message.count

    # --- deadlines

    def _sweep(self, now: float) -> None:
        """Fail expired operations, and re-send requests that were refused or lost."""
        self._sweep_at = NEVER
        for pending in self._pending.all():
            expired = [slot for slot in pending.slots if slot.call.deadline <= now]
            is_over = len(expired) == len(pending.slots)
            for slot in expired:
                self._answer(slot, timed_out(pending, is_over=is_over))
            if is_over:
                self._end_request(pending.number, now)
            elif pending.retry_at <= now:
                self._send_again(pending, now)
        for slot in self._writes.take_late(now):
            self._answer(slot, NOT_PROPOSED)
        for slot in self._reads.queues.take_late(now):
            self._answer(slot, NOT_CONFIRMED)
        for slot, outcome in self._admin.take_answers(self._leadership, now):
            self._answer(slot, outcome)
        self._outbox.replicator.extend(self._admin.take_due(now))

    # --- replies

    def _answer(self, slot: Slot, outcome: Answer) -> None:
        if slot.call.answer(slot.position, outcome):
            self._finish(slot.call)

    def _finish(self, call: Call) -> None:
        self._acceptance.end(call)
        self.reply_budget.end_call(call)
        if call.user or call.audited:
            self._outbox.audit += notes_of(call, self.rights)
        self._outbox.replies.append(call)

    def _answer_all(self, pending: PendingRequest, outcome: Answer, now: float) -> None:
        """Remove a pending request and answer all its slots alike."""
        self._end_request(pending.number, now)
        for slot in pending.slots:
            self._answer(slot, outcome)

    def _fail_all(self, outcome: Failed, now: float) -> None:
        """Fail every operation that certainly has not taken effect."""
        for pending in self._pending.all():
            if pending.certainly_not_done:
                self._answer_all(pending, outcome, now)
        for queue in self._queues:
            for slot in queue.take_all():
                self._answer(slot, outcome)

    def _fail_begun(self, now: float) -> None:
        """Fail the rest: reads have changed nothing, but other requests may yet take effect."""
        for pending in self._pending.all():
            changes = isinstance(pending.message, Propose | RemoveMember)
            self._answer_all(pending, STALLED_MEANWHILE if changes else STALLED, now)
        for slot in self._admin.take_all():
            self._answer(slot, STALLED_MEANWHILE)
