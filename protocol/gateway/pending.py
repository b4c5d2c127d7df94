"""Pending requests: clients' calls, and the messages to other actors that serve them."""

import msgspec
from msgspec.structs import replace

from protocol.messages.client import Operation, Outcome
from protocol.messages.replicator import AskStatus, Propose, Read, RemoveMember
from protocol.messages.storage import ReadAt

RETRY_SECONDS = 0.05  # after a refusal: an election takes a few of these
LOST_SECONDS = 1.0  # without a reply, after which a message between nodes counts as lost
CALLS_MAX = 20_000
CALL_OPERATIONS_MAX = 100_000  # in all calls
CALL_BYTES_MAX = 128 << 20
UNCONFIRMED_BYTES_MAX = 32 << 20  # outcomes read before their round was confirmed

Answer = Outcome | msgspec.Raw
RawOutcomes = tuple[msgspec.Raw, ...]  # encoded by storage, sent without decoding
GatewayRequest = Propose | Read | ReadAt | RemoveMember | AskStatus


class Call(msgspec.Struct):
    """A client's request frame, answered once each of its operations has an outcome."""

    client: tuple[bytes, ...]  # connection id and delimiter, the frames that route the reply
    id: int
    deadline: float
    size: int  # bytes of the request frame
    outcomes: list[Answer | None]
    missing: int
    load: int = 1  # number of operations that it stands for
    user: bytes = b""  # public key that the connection was authenticated by; empty: unrestricted
    payer: bytes = b""  # whose quota it counts for: the user's name, or else the connection
    outcome_bytes: int = 0  # read for it so far
    overflows: bool = False  # an outcome did not fit the reply: no more is read for it
    # By position: operations that wait for a check of the user's rights, and those to be audited.
    held: dict[int, Operation] | None = None
    audited: dict[int, Operation] | None = None
    names: tuple[str, ...] = ()  # of a user's operations, as the audit trail has them

    def answer(self, position: int, outcome: Answer) -> bool:
        """Record an outcome; return whether it was the last one missing."""
        if self.outcomes[position] is not None:
            return False
        self.outcomes[position] = outcome
        self.missing -= 1
        return self.missing == 0


class Calls(msgspec.Struct):
    """Totals of the unanswered calls at one gateway."""

    count: int = 0
    operations: int = 0
    bytes: int = 0

    def exceed(self, share: float) -> bool:
        """Whether they exceed a share of any limit."""
        return (
            self.count > share * CALLS_MAX
            or self.operations > share * CALL_OPERATIONS_MAX
            or self.bytes > share * CALL_BYTES_MAX
        )

    def begin(self, call: Call) -> None:
        """Add a call to the totals."""
        self.count += 1
        self.operations += call.load
        self.bytes += call.size

    def end(self, call: Call) -> None:
        """Remove a call from the totals."""
        self.count -= 1
        self.operations -= call.load
        self.bytes -= call.size


class Slot(msgspec.Struct, frozen=True):
    """One operation's position within a call."""

    call: Call
    position: int

    def hold(self, operation: Operation) -> None:
        """Keep an operation until the user's rights are checked."""
        if self.call.held is None:
            self.call.held = {}
        self.call.held[self.position] = operation

    def take_held(self) -> Operation | None:
        """Return the operation that was kept, if one was."""
        return self.call.held.pop(self.position, None) if self.call.held else None

    def audit(self, operation: Operation) -> None:
        """Keep an operation to be recorded with its outcome."""
        if self.call.audited is None:
            self.call.audited = {}
        self.call.audited[self.position] = operation

    @property
    def is_answered(self) -> bool:
        """Whether the operation has an outcome; an expired one has a failure."""
        return self.call.outcomes[self.position] is not None


class PendingRequest(msgspec.Struct):
    """A message to another actor, and the slots that its result answers.

    It is re-sent until it has a result or all slots have expired; duplicates are harmless.
    """

    number: int
    message: GatewayRequest
    slots: list[Slot]
    sent_at: float  # the last attempt
    retry_at: float
    are_pages: bool = False  # whether its reads are pages, which take long
    sent: int = 1
    refused: int = 0
    outcomes: RawOutcomes | None = None  # of the current read attempt
    confirmed: bool = False  # whether clients may receive these outcomes

    @property
    def certainly_not_done(self) -> bool:
        """Whether every attempt so far was refused, so that none can have taken effect."""
        return self.sent == self.refused

    @property
    def maybe_done_before(self) -> bool:
        """Whether an attempt before the last one may have taken effect."""
        return self.sent - self.refused > 1

    def renew(self, read: Read | ReadAt, number: int) -> None:
        """Start a new read attempt; results of the previous one no longer count."""
        self.number = number
        self.message = replace(read, number=number)
        self.confirmed = False


class PendingRequests:
    """The pending requests of one gateway, by number."""

    def __init__(self, number: int) -> None:
        """Number requests from ``number`` + 1 on."""
        self._number = number
        self._pending: dict[int, PendingRequest] = {}
        self._unconfirmed_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __contains__(self, number: int) -> bool:
        return number in self._pending

    def next_number(self) -> int:
        """Return an unused number."""
        self._number += 1
        return self._number

    def add(
        self,
        message: GatewayRequest,
        slots: list[Slot],
        now: float,
        retry_at: float,
        *,
        are_pages: bool = False,
    ) -> None:
        """Record a message that is sent now for these slots."""
        pending = PendingRequest(message.number, message, slots, now, retry_at, are_pages)
        self._pending[message.number] = pending

    def get(self, number: int) -> PendingRequest | None:
        """Return the request with this number, if it is still pending."""
        return self._pending.get(number)

    def pop(self, number: int) -> PendingRequest | None:
        """Remove and return the request with this number, if it is still pending."""
        pending = self._pending.pop(number, None)
        if pending is not None:
            self.drop_outcomes(pending)
        return pending

    def all(self) -> list[PendingRequest]:
        """Return a copy of all requests, oldest first."""
        return list(self._pending.values())

    def begin_attempt(self, pending: PendingRequest, now: float) -> GatewayRequest:
        """Return the message to re-send; each read attempt has a number of its own."""
        pending.sent_at, pending.retry_at = now, now + LOST_SECONDS
        if isinstance(pending.message, Read | ReadAt):
            self.pop(pending.number)
            pending.renew(pending.message, self.next_number())
            self._pending[pending.number] = pending
        pending.sent += 1
        return pending.message

    def keep_outcomes(self, pending: PendingRequest, outcomes: RawOutcomes) -> bool:
        """Keep outcomes until their read is confirmed; return False if too many are kept."""
        size = sum(map(len, outcomes))
        if self._unconfirmed_bytes + size > UNCONFIRMED_BYTES_MAX:
            return False
        self._unconfirmed_bytes += size
        pending.outcomes = outcomes
        return True

    def drop_outcomes(self, pending: PendingRequest) -> None:
        """Drop the outcomes kept for a request."""
        if pending.outcomes is not None:
            self._unconfirmed_bytes -= sum(map(len, pending.outcomes))
            pending.outcomes = None
