"""Calls: the operations of one client, each tried until its deadline.

Each generator yields steps (``steps.Step``), is sent their results, and returns an ``Ending``.
"""

from collections.abc import Callable, Sequence

import msgspec

from protocol.client.attempts import ATTEMPT_SECONDS, PAUSE_SECONDS, Attempts
from protocol.client.exchange import OTHERS_SECONDS, Asked, Exchange, is_settled
from protocol.client.high_water import HighWaterMark
from protocol.client.levels import are_readable
from protocol.client.link import Link
from protocol.client.pipeline import Pipelined, runs
from protocol.client.routing import Route
from protocol.client.session import Session
from protocol.client.steps import Ask, AwaitOthers, Pause, Steps
from protocol.messages.client import Done, Failed, FailureCode, Get, Operation, Outcome, RemoveNode
from protocol.state.commands import Command, OpenSession, SessionExpired, SessionOpened, Write

AFTER_UNKNOWN = "the outcome of an earlier write of the pipeline is unknown"
AFTER_DEADLINE = "the deadline passed while earlier operations of the pipeline were performed"
OPENING_SECONDS = 1.0  # in which one call opens a session on behalf of all


class Ending(msgspec.Struct, frozen=True):
    """The end of a call."""

    outcome: Outcome | None  # None at the deadline
    attempts: Attempts
    maybe_done: bool = False  # whether a write may have been applied without an answer
    write: Write | None = None  # as sent, if the operation was a write
    not_sent: str = ""  # why an operation of a pipeline was not sent; empty if it was


class Calls:
    """The calls of one client: its route, its session, its clock in seconds."""

    def __init__(
        self,
        route: Route,
        clock: Callable[[], float],
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.route = route
        self.session: Session | None = None
        self.high_water = HighWaterMark()
        self._opening: Attempts | None = None  # of the call that opens a session for all
        self._opening_since = 0.0
        self._clock = clock
        self._attempt_seconds = attempt_seconds

    def call(
        self, link: Link, operation: Operation, deadline: float, *, writes: bool = False
    ) -> Steps[Ending]:
        """Perform an idempotent operation; ``writes``: whether it changes anything."""
        (ending,) = yield from self._call_all(link, [operation], deadline, writes=writes)
        return ending

    def write(self, link: Link, command: Command, deadline: float) -> Steps[Ending]:
        """Apply a command exactly once, in the client's session or, if that expired, a new one."""
        (ending,) = yield from self._write_all(link, [command], deadline)
        return ending

    def pipeline(
        self, link: Link, operations: Sequence[Pipelined], deadline: float
    ) -> Steps[list[Ending]]:
        """Perform operations in order, in as few requests as possible, each write exactly once.

        A failed operation does not prevent later ones, with two exceptions: an insert that is
        refused for lack of room has the writes after it in its request refused, too; after writes
        whose outcome is unknown, nothing more is sent, because they might yet take effect.
        """
        endings: list[Ending] = []
        for run in runs(operations):
            gets = [each for each in run if isinstance(each, Get)]
            if gets:
                ended = yield from self._call_all(link, gets, deadline)
            else:
                commands = [each for each in run if not isinstance(each, Get)]
                ended = yield from self._write_all(link, commands, deadline)
            endings += ended
            is_over = self._clock() >= deadline  # as also when the client is closed
            if is_over or any(map(_is_uncertain, ended)):
                why = AFTER_DEADLINE if is_over else AFTER_UNKNOWN
                unsent = Ending(None, ended[-1].attempts, not_sent=why)
                return endings + [unsent] * (len(operations) - len(endings))
        return endings

    # --- idempotent operations

    def _call_all(
        self, link: Link, operations: Sequence[Operation], deadline: float, *, writes: bool = False
    ) -> Steps[list[Ending]]:
        attempts = self._attempts(deadline)
        required = tuple([self.high_water.require(each) for each in operations])
        first = None
        if ask := self._ask_at_once(link, required, attempts):
            first = yield ask
            if is_settled(first):
                return self._endings(attempts, first.outcomes, [None] * len(required))
        asked = [Asked(each, writes) for each in required]
        yield from self._exchange(link, attempts).run(asked, ask, first)
        for each in asked:
            self.high_water.note(each.outcome)
        return [Ending(_final(each), attempts, each.writes and each.maybe_done) for each in asked]

    def _ask_at_once(
        self, link: Link, operations: tuple[Operation, ...], attempts: Attempts
    ) -> Ask | None:
        """Return the request if its node is chosen and greeted, the most frequent case."""
        now = self._clock()
        if now < attempts.deadline and link.is_ready(now) and are_readable(operations, link.level):
            return Ask(link.endpoint, operations, attempts.next_deadline(now))
        return None

    # --- writes, applied exactly once

    def _write_all(
        self, link: Link, commands: Sequence[Command], deadline: float
    ) -> Steps[list[Ending]]:
        endings = yield from self._write_once(link, commands, deadline)
        # A write that may have been applied is not repeated: a new session cannot recognize it.
        while left := _certainly_not_done(endings):
            again = yield from self._write_once(link, [commands[each] for each in left], deadline)
            for place, ending in zip(left, again, strict=True):
                endings[place] = ending
        return endings

    def _write_once(
        self, link: Link, commands: Sequence[Command], deadline: float
    ) -> Steps[list[Ending]]:
        """Write in the client's session, or open one; forget it if it has expired."""
        session = self.session
        if session is None or not session.has_room(len(commands)):
            opening = yield from self._await_session(link, len(commands), deadline)
            if opening is not None:
                return [opening] * len(commands)
            session = self.session
            assert session is not None
        endings = yield from self._write_in(session, link, commands, deadline)
        has_expired = SessionExpired in [type(each.outcome) for each in endings]
        if has_expired and self.session is session:
            self.session = None
        return endings

    def _write_in(
        self, session: Session, link: Link, commands: Sequence[Command], deadline: float
    ) -> Steps[list[Ending]]:
        attempts = self._attempts(deadline)
        sequences, number = session.next_writes(len(commands)), session.number
        first = None
        try:
            acknowledged = session.begin_writes(sequences)
            writes = tuple(
                [
                    Write(number, sequence, acknowledged, command)
                    for sequence, command in zip(sequences, commands, strict=True)
                ]
            )
            if ask := self._ask_at_once(link, writes, attempts):
                first = yield ask
                if is_settled(first):
                    return self._endings(attempts, first.outcomes, writes)
            asked = [Asked(write, writes=True) for write in writes]
            yield from self._exchange(link, attempts).run(asked, ask, first)
        finally:
            if session.next >= sequences.stop:  # else an interrupt came before they were begun
                session.end_writes(sequences)
        for each in asked:
            self.high_water.note(each.outcome)
        return [
            Ending(each.outcome, attempts, each.maybe_done, write)
            for each, write in zip(asked, writes, strict=True)
        ]

    # --- the session

    def _await_session(self, link: Link, count: int, deadline: float) -> Steps[Ending | None]:
        """Wait for a session with room for ``count`` writes; return the ending if there is none.

        One call opens the session for all: thousands of sessions would evict those of other
        clients. A session that one write has long blocked is replaced: an interrupt may have left
        that write without an end. Calls in progress keep the session that they have begun in.
        """
        attempts = self._attempts(deadline)
        while (now := self._clock()) < deadline:
            if self._opening is not None and now - self._opening_since <= OPENING_SECONDS:
                attempts = self._opening
                yield AwaitOthers(min(OTHERS_SECONDS, deadline - now))
            elif self.session is None:
                ending = yield from self._open_session(link, deadline)
                if self.session is None:
                    return ending
            elif self.session.has_room(count):
                return None
            elif self.session.is_blocked(now):
                self.session = None
            else:
                attempts.reached = True
                yield Pause(min(PAUSE_SECONDS, deadline - now))
        return Ending(None, attempts)

    def _open_session(self, link: Link, deadline: float) -> Steps[Ending]:
        attempts = self._opening = self._attempts(deadline)
        self._opening_since = self._clock()
        asked = Asked(Write(0, 0, 0, OpenSession()))  # a duplicate leaves an unused session
        try:
            yield from self._exchange(link, attempts).run([asked])
        finally:
            if self._opening is attempts:
                self._opening = None
        if isinstance(asked.outcome, SessionOpened):
            self.session = self.session or Session(asked.outcome.session)
        return Ending(asked.outcome, attempts)

    # ---

    def _endings(
        self, attempts: Attempts, outcomes: Sequence[Outcome], writes: Sequence[Write | None]
    ) -> list[Ending]:
        """Return the endings of operations that were performed at the first attempt."""
        for outcome in outcomes:
            self.high_water.note(outcome)
        return [
            Ending(outcome, attempts, False, write)
            for outcome, write in zip(outcomes, writes, strict=True)
        ]

    def _attempts(self, deadline: float) -> Attempts:
        return Attempts(deadline, self._attempt_seconds)

    def _exchange(self, link: Link, attempts: Attempts) -> Exchange:
        return Exchange(self.route, link, attempts, self._clock)


def _is_uncertain(ending: Ending) -> bool:
    """Whether a write may have been applied, or may yet be."""
    outcome = ending.outcome
    if isinstance(outcome, Failed):
        return ending.maybe_done or outcome.code is FailureCode.UNKNOWN
    return ending.maybe_done and isinstance(outcome, SessionExpired | None)


def _certainly_not_done(endings: Sequence[Ending]) -> list[int]:
    """Return the places of the writes whose session had expired before any attempt."""
    return [
        place
        for place, ending in enumerate(endings)
        if isinstance(ending.outcome, SessionExpired) and not ending.maybe_done
    ]


def _final(asked: Asked) -> Outcome | None:
    """Return the outcome; ``UNKNOWN_NODE`` on a retry means that an earlier attempt removed it."""
    outcome = asked.outcome
    if (
        asked.maybe_done
        and isinstance(asked.operation, RemoveNode)
        and isinstance(outcome, Failed)
        and outcome.code is FailureCode.UNKNOWN_NODE
    ):
        return Done()
    return outcome
