"""Pending requests: which client waits for which outcome, and what was sent to obtain it."""

import msgspec
from msgspec.structs import replace

from protocol.client_messages import Outcome
from protocol.node_messages import AskStatus, Propose, Read, RemoveMember

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

    def answer(self, position: int, outcome: Answer) -> bool:
        """Note an outcome; return whether it was the last one missing."""
        if self.outcomes[position] is not None:
            return False
        self.outcomes[position] = outcome
        self.missing -= 1
        return self.missing == 0


class Slot(msgspec.Struct, frozen=True):
    """The place in a call that waits for one operation's outcome."""

    call: Call
    position: int


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

    def renew(self, read: Read, number: int) -> None:
        """Begin another attempt to read, for which nothing counts that the former one brought."""
        self.number = number
        self.message = replace(read, number=number)
        self.outcomes, self.confirmed = None, False


class Errands:
    """The errands of one gateway, by number."""

    def __init__(self, number: int) -> None:
        """Number errands from the one after ``number`` on."""
        self._number = number
        self._errands: dict[int, Errand] = {}

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
        return self._errands.pop(number, None)

    def all(self) -> list[Errand]:
        """Return all errands under way, oldest first; they may be ended meanwhile."""
        return list(self._errands.values())

    def begin_attempt(self, errand: Errand) -> ErrandMessage:
        """Return the message to send once more; each attempt to read has a number of its own."""
        if isinstance(errand.message, Read):
            del self._errands[errand.number]
            errand.renew(errand.message, self.next_number())
            self._errands[errand.number] = errand
        errand.sent += 1
        return errand.message
