"""Pending requests: which client waits for which outcome, and what was sent to obtain it."""

import msgspec
from msgspec.structs import replace

from protocol.messages.client import Outcome
from protocol.messages.replicator import AskStatus, Propose, Read, RemoveMember

CALLS_MAX = 20_000
CALL_OPERATIONS_MAX = 100_000  # in all of them
CALL_BYTES_MAX = 128 << 20
UNCONFIRMED_BYTES_MAX = 32 << 20  # of what was read ahead, at one gateway

Answer = Outcome | msgspec.Raw
ErrandMessage = Propose | Read | RemoveMember | AskStatus


class Call(msgspec.Struct):
    """A request frame: it is answered when each of its operations has an outcome."""

    client: tuple[bytes, ...]  # the frames that lead a reply back
    id: int
    deadline: float
    size: int  # bytes of the request, which it holds until it is answered
    outcomes: list[Answer | None]
    missing: int
    outcome_bytes: int = 0  # of what was read for it
    overflows: bool = False  # something did not fit, so that nothing more is read for it

    def answer(self, position: int, outcome: Answer) -> bool:
        """Note an outcome; return whether it was the last one missing."""
        if self.outcomes[position] is not None:
            return False
        self.outcomes[position] = outcome
        self.missing -= 1
        return self.missing == 0


class Calls(msgspec.Struct):
    """How much one gateway has taken in and not answered yet."""

    count: int = 0
    operations: int = 0
    bytes: int = 0

    @property
    def are_too_many(self) -> bool:
        """Whether no further request is to be taken in."""
        return (
            self.count > CALLS_MAX
            or self.operations > CALL_OPERATIONS_MAX
            or self.bytes > CALL_BYTES_MAX
        )

    def begin(self, call: Call) -> None:
        """Count a call until it ends."""
        self.count += 1
        self.operations += len(call.outcomes)
        self.bytes += call.size

    def end(self, call: Call) -> None:
        """Count a call no more."""
        self.count -= 1
        self.operations -= len(call.outcomes)
        self.bytes -= call.size


class Slot(msgspec.Struct, frozen=True):
    """The place in a call that waits for one operation's outcome."""

    call: Call
    position: int

    @property
    def is_answered(self) -> bool:
        """Whether the operation has its outcome, as it has when its deadline has passed."""
        return self.call.outcomes[self.position] is not None


class Errand(msgspec.Struct):
    """What was sent to the log replicator under one number, and who waits for it.

    It is sent again until it is done or nobody waits any more: what is done twice is recognised.
    """

    number: int
    message: ErrandMessage
    slots: list[Slot]
    retry_at: float
    sent: int = 1
    refused: int = 0
    outcomes: tuple[msgspec.Raw, ...] | None = None  # of the present attempt to read
    confirmed: bool = False  # and whether clients may be told them

    @property
    def certainly_not_done(self) -> bool:
        """Whether every attempt so far was refused by a node that knew that it changed nothing."""
        return self.sent == self.refused

    @property
    def maybe_done_before(self) -> bool:
        """Whether any attempt but the last may have been done."""
        return self.sent - self.refused > 1

    def renew(self, read: Read, number: int) -> None:
        """Begin another attempt to read, for which nothing counts that the former one brought."""
        self.number = number
        self.message = replace(read, number=number)
        self.confirmed = False


class Errands:
    """The errands of one gateway, by number."""

    def __init__(self, number: int) -> None:
        """Number errands from the one after ``number`` on."""
        self._number = number
        self._errands: dict[int, Errand] = {}
        self._unconfirmed_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._errands)

    def __contains__(self, number: int) -> bool:
        return number in self._errands

    def next_number(self) -> int:
        """Return a number that was not used before."""
        self._number += 1
        return self._number

    def add(self, message: ErrandMessage, slots: list[Slot], retry_at: float) -> None:
        """Note what is sent for these slots."""
        self._errands[message.number] = Errand(message.number, message, slots, retry_at)

    def get(self, number: int) -> Errand | None:
        """Return the errand of a number, if it is still under way."""
        return self._errands.get(number)

    def pop(self, number: int) -> Errand | None:
        """End the errand of a number, if it is still under way."""
        errand = self._errands.pop(number, None)
        if errand is not None:
            self.drop_outcomes(errand)
        return errand

    def all(self) -> list[Errand]:
        """Return all errands under way, oldest first; they may be ended meanwhile."""
        return list(self._errands.values())

    def begin_attempt(self, errand: Errand) -> ErrandMessage:
        """Return the message to send once more; each attempt to read has a number of its own."""
        if isinstance(errand.message, Read):
            self.pop(errand.number)
            errand.renew(errand.message, self.next_number())
            self._errands[errand.number] = errand
        errand.sent += 1
        return errand.message

    def keep_outcomes(self, errand: Errand, outcomes: tuple[msgspec.Raw, ...]) -> bool:
        """Keep what was read until it is confirmed; return False where too much is kept."""
        size = sum(map(len, outcomes))
        if self._unconfirmed_bytes + size > UNCONFIRMED_BYTES_MAX:
            return False
        self._unconfirmed_bytes += size
        errand.outcomes = outcomes
        return True

    def drop_outcomes(self, errand: Errand) -> None:
        """Forget what was read for an errand."""
        if errand.outcomes is not None:
            self._unconfirmed_bytes -= sum(map(len, errand.outcomes))
            errand.outcomes = None
