"""A client's request while it is being answered, and the batches that its operations travel in."""

import msgspec
from msgspec.structs import replace

from protocol.client_messages import Outcome
from protocol.node_messages import AskStatus, Propose, Read, RemoveMember

Answer = Outcome | msgspec.Raw


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
    message: Propose | Read | RemoveMember | AskStatus
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
