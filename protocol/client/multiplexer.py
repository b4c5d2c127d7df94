"""Multiplexer: concurrent requests that share the frames of one connection.

Requests that are added before frames are taken leave together, which makes many small operations
nearly as cheap as a few; those that fill a frame should not wait for more. A reply is shared out by
position. Times are seconds of a steady clock.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import msgspec

from protocol.client.steps import Answered, Ask, Lost, timeout_ms
from protocol.encoding import UNENCODABLE, encode
from protocol.load import REMOVING, entry_load_of, load_of
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Failed,
    FailureCode,
    Operation,
    Outcome,
    Reply,
    Request,
)
from protocol.security.handshakes import Trouble
from protocol.state.commands import Inserted, Write, grows
from protocol.state.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX

NO_REQUEST = 0  # id of the reply to a frame that a node cannot decode
DEADLINE_STEPS = 50  # per second; requests with deadlines in one step share a frame
# Queued requests that are worth a frame before their turn of the loop ends: the node serves them
# while the client goes on. Smaller frames would cost a cluster more than they save.
FULL_FRAME_REQUESTS = 128


class Waiting(ABC):
    """A request that waits for its result; a driver says how the result is handed over."""

    __slots__ = ("ask", "is_sent", "on_end")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.is_sent = False  # and has no reply yet
        self.on_end: Callable[[], None] | None = None  # called when it is no longer sent

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the call has ended, as by cancellation."""

    @abstractmethod
    def resolve(self, result: Answered | Lost) -> None:
        """Hand over the result, unless the call has ended."""

    @abstractmethod
    def fail(self, reason: str) -> None:
        """Fail the call because the node broke the protocol, unless the call has ended."""

    @abstractmethod
    def reject(self, reason: str) -> None:
        """Fail the call because its request cannot be sent, unless the call has ended."""


class Frame(msgspec.Struct):
    """Requests that leave together."""

    calls: int  # number of requests
    request: Request  # of all their operations
    encoded: bytes
    deadline: float  # the earliest one of the requests


class Multiplexer:
    """The requests of one connection, from their calls to their results."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._unsent: list[Waiting] = []
        self._unsent_alone: list[Waiting] = []  # each in a frame of its own
        self._sent: dict[int, list[Waiting]] = {}  # by request number
        self._is_full = False  # whether the node has refused an insert for lack of space

    def add(self, waiting: Waiting) -> None:
        """Queue a request for the next frame."""
        self._unsent.append(waiting)

    @property
    def has_unsent(self) -> bool:
        """Whether requests are queued."""
        return bool(self._unsent or self._unsent_alone)

    @property
    def has_full_frame(self) -> bool:
        """Whether the queued requests should leave at once."""
        return len(self._unsent) >= FULL_FRAME_REQUESTS

    # --- sending

    def flush(self, now: float, send: Callable[[Frame], bool]) -> bool:
        """Send the queued requests; return False if the connection is lost.

        ``send`` sends a frame; it returns False if the connection is lost.
        """
        frames = self.take_frames(now)
        for position, frame in enumerate(frames):
            if not send(frame):
                for unsent in frames[position:]:
                    self.refuse(unsent.request.id)
                return False
        return True

    def take_frames(self, now: float) -> list[Frame]:
        """Return the queued requests in frames, which count as sent from now on."""
        frames: list[Frame] = []
        for group in self._take_groups():
            self._divide(group, now, frames)
        return frames

    def _take_groups(self) -> Iterable[list[Waiting]]:
        """Return the queued requests, except cancelled ones, in groups that may share a frame."""
        unsent, self._unsent = self._unsent, []
        alone, self._unsent_alone = self._unsent_alone, []
        by_deadline: dict[int, list[Waiting]] = {}
        for waiting in unsent:
            if not waiting.is_over:
                if self._is_full and _grows(waiting):  # a refusal includes later writes of a frame
                    alone.append(waiting)
                    continue
                step = int(min(waiting.ask.deadline, 1e12) * DEADLINE_STEPS)
                by_deadline.setdefault(step, []).append(waiting)
        return [*by_deadline.values(), *([each] for each in alone if not each.is_over)]

    def _divide(self, group: list[Waiting], now: float, frames: list[Frame]) -> None:
        """Append a group as one frame, or as several if it exceeds one log entry."""
        operations = tuple(itertools.chain(*[waiting.ask.operations for waiting in group]))
        deadline = min([waiting.ask.deadline for waiting in group])
        number, timeout = next(self._numbers), timeout_ms(deadline, now)
        request = Request(CLIENT_PROTOCOL_VERSION, number, timeout, operations)
        try:
            encoded = encode(request)
        except UNENCODABLE as error:  # which must not concern the others of the group
            if len(group) > 1:
                self._halve(group, now, frames)
            else:
                group[0].reject(str(error))
            return
        is_large = len(encoded) > BATCH_BYTES_MAX or _load(operations) > BATCH_OPERATIONS_MAX
        if is_large and len(group) > 1:
            self._halve(group, now, frames)
            return
        self._sent[number] = group
        for waiting in group:
            waiting.is_sent = True
        frames.append(Frame(len(group), request, encoded, deadline))

    def _halve(self, group: list[Waiting], now: float, frames: list[Frame]) -> None:
        half = len(group) // 2
        self._divide(group[:half], now, frames)
        self._divide(group[half:], now, frames)

    # --- results

    def take_reply(self, reply: Reply) -> None:
        """Share out a reply; one that comes after the deadline is dropped."""
        group = self._end(reply.id)
        count = sum([len(waiting.ask.operations) for waiting in group])
        if len(reply.outcomes) == count:
            self._share_out(reply.outcomes, group)
            return
        for waiting in group:
            waiting.fail(f"answered {count} operations with {len(reply.outcomes)}")

    def _share_out(self, outcomes: tuple[Outcome, ...], group: list[Waiting]) -> None:
        failures = {each.code for each in outcomes if isinstance(each, Failed)}
        if FailureCode.STORAGE_FULL in failures:
            self._is_full = True
        elif self._is_full and any(isinstance(each, Inserted) for each in outcomes):
            self._is_full = False
        begin = 0
        for waiting in group:
            end = begin + len(waiting.ask.operations)
            own = outcomes[begin:end]
            begin = end
            if len(group) > 1 and FailureCode.TOO_LARGE in failures and any(map(_is_large, own)):
                self._unsent_alone.append(waiting)  # it did not fit into the shared reply
            else:
                waiting.resolve(Answered(own))

    def expire(self, number: int) -> None:
        """Give up on a frame without a reply, shortly after its deadline."""
        for waiting in self._end(number):
            waiting.resolve(Lost(sent=True))

    def refuse(self, number: int) -> None:
        """Take back a frame that could not be sent."""
        for waiting in self._end(number):
            waiting.resolve(Lost(sent=False))

    def lose(self, trouble: Trouble | None = None) -> None:
        """End all requests: the connection is lost, because of ``trouble`` if given."""
        for number in list(self._sent):
            self.expire(number)
        unsent = self._unsent + self._unsent_alone
        self._unsent, self._unsent_alone = [], []
        for waiting in unsent:
            waiting.resolve(Lost(sent=False, trouble=trouble))

    def fail(self, reason: str) -> None:
        """Fail all sent requests: the node broke the protocol, and none knows its reply."""
        for number in list(self._sent):
            for waiting in self._end(number):
                waiting.fail(reason)

    def _end(self, number: int) -> list[Waiting]:
        """Stop waiting for a frame's reply; return its requests, none if that was done before."""
        group = self._sent.pop(number, [])
        for waiting in group:
            waiting.is_sent = False
            if waiting.on_end is not None:
                waiting.on_end()
        return group


def _load(operations: Sequence[Operation]) -> int:
    """Return the load of a frame, which a node puts into one log entry."""
    removing = [
        entry_load_of(each.command)
        for each in operations
        if type(each) is Write and type(each.command) in REMOVING
    ]
    return max(load_of(operations), sum(removing))


def _grows(waiting: Waiting) -> bool:
    """Whether any of the operations may need space."""
    return any(isinstance(each, Write) and grows(each.command) for each in waiting.ask.operations)


def _is_large(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.code is FailureCode.TOO_LARGE
