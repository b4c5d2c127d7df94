"""Calls: one operation at a time, tried at one node after another until its deadline.

Retrying is harmless: a write is recognised by its session and sequence wherever it arrives, and
everything else may be done twice. Each generator yields a step, is sent the step's result, and
returns how the call ended; it is driven alike by sockets and by the simulator.
"""

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

import msgspec

from protocol.client.attempts import ATTEMPT_SECONDS, PAUSE_SECONDS, Attempts
from protocol.client.link import Link
from protocol.client.routing import Route
from protocol.client.session import Session
from protocol.commands import Command, OpenSession, SessionExpired, SessionOpened, Write
from protocol.messages.client import (
    Done,
    Failed,
    FailureCode,
    Hello,
    Operation,
    Outcome,
    RemoveNode,
    Welcome,
)

GRACE_SECONDS = 0.2  # for the node's own reply at the deadline, which knows more than silence


class Ask(msgspec.Struct, frozen=True):
    """The step of sending operations to a node in one request. The result is what came back."""

    endpoint: str
    operations: tuple[Operation, ...]
    deadline: float  # for the node; its reply may take GRACE_SECONDS longer


class TakeCensus(msgspec.Struct, frozen=True):
    """The step of asking all given addresses which cluster they belong to."""

    greeted: str  # endpoint of the node that has answered already
    welcome: Welcome  # its answer
    deadline: float


class Pause(msgspec.Struct, frozen=True):
    """The step of waiting before the next attempt."""

    seconds: float


class Answered(msgspec.Struct, frozen=True):
    """A reply: as many outcomes as there were operations."""

    outcomes: tuple[Outcome, ...]


class Lost(msgspec.Struct, frozen=True):
    """No reply: the connection was lost, or none came in time."""

    sent: bool  # whether the node may have acted
    obstacle: str = ""  # why no connection could be opened at all, where it is known


class Counted(msgspec.Struct, frozen=True):
    """The end of a census."""

    cluster: bytes  # empty where the addresses do not tell
    obstacle: str = ""  # why they do not


class Ending(msgspec.Struct, frozen=True):
    """The end of a call."""

    outcome: Outcome | None  # None at the deadline
    attempts: Attempts
    write: Write | None = None  # that was sent, if any was


Step: TypeAlias = Ask | TakeCensus | Pause
Result: TypeAlias = Answered | Lost | Counted | None
ReturnT = TypeVar("ReturnT")
Steps: TypeAlias = Generator[Step, Result, ReturnT]


class StrangeCluster(Exception):
    """The node that answered is not known to belong to the client's cluster: disregard it."""


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
        self._clock = clock
        self._attempt_seconds = attempt_seconds

    def call(
        self, link: Link, operation: Operation, deadline: float, *, writes: bool = False
    ) -> Steps[Ending]:
        """Do an operation that may be done twice; ``writes`` if that changes anything."""
        attempts = self._attempts(deadline, writes=writes)
        outcome = yield from self._exchange(link, operation, attempts)
        if attempts.maybe_done and _finds_it_done(operation, outcome):
            outcome = Done()
        return Ending(outcome, attempts)

    def write(self, link: Link, command: Command, deadline: float) -> Steps[Ending]:
        """Apply a command exactly once, in the client's session or, if that expired, a new one."""
        while True:
            session = self.session
            if session is None:
                opening = yield from self.open_session(link, deadline)
                session = self.session
                if session is None:
                    return opening
            ending = yield from self._write(link, session, command, deadline)
            if not isinstance(ending.outcome, SessionExpired):
                return ending
            if self.session is session:
                self.session = None
            if ending.attempts.maybe_done:
                return ending  # no retry in another session would be recognised

    def _write(
        self, link: Link, session: Session, command: Command, deadline: float
    ) -> Steps[Ending]:
        attempts = self._attempts(deadline, writes=True)
        sequence, acknowledged = session.begin_write()
        write = Write(session.number, sequence, acknowledged, command)
        try:
            outcome = yield from self._exchange(link, write, attempts)
        finally:
            session.end_write(sequence)
        return Ending(outcome, attempts, write)

    def open_session(self, link: Link, deadline: float) -> Steps[Ending]:
        """Open the client's session, before its first write or together with it."""
        # A session that nobody uses changes nothing of the caller's.
        attempts = self._attempts(deadline, writes=False)
        outcome = yield from self._exchange(link, Write(0, 0, 0, OpenSession()), attempts)
        if isinstance(outcome, SessionOpened):
            self.session = self.session or Session(outcome.session)  # of a call side by side
        return Ending(outcome, attempts)

    def _attempts(self, deadline: float, *, writes: bool) -> Attempts:
        return Attempts(deadline, writes=writes, attempt_seconds=self._attempt_seconds)

    # --- attempts

    def _exchange(
        self, link: Link, operation: Operation, attempts: Attempts
    ) -> Steps[Outcome | None]:
        while self._clock() < attempts.deadline:
            outcome = yield from self._attempt(link, operation, attempts)
            if outcome is not None:
                return outcome
        return None

    def _attempt(
        self, link: Link, operation: Operation, attempts: Attempts
    ) -> Steps[Outcome | None]:
        """Ask one node; return None where another attempt may give a better answer."""
        endpoint = link.choose(self._clock())
        try:
            outcome = yield from self._ask(link, endpoint, operation, attempts)
        except StrangeCluster as strange:
            attempts.obstacle = str(strange)
            link.abandon(endpoint, self._clock())
            yield self._pause(attempts)
            return None
        if not isinstance(outcome, Failed):
            return outcome
        return (yield from self._judge(link, endpoint, outcome, attempts))

    def _ask(
        self, link: Link, endpoint: str, operation: Operation, attempts: Attempts
    ) -> Steps[Outcome | None]:
        """Return a node's answer; None where it was only greeted, or did not answer."""
        now = self._clock()
        deadline = attempts.next_deadline(now)
        if not link.owes_greeting(now):
            outcomes = yield from self._send(link, Ask(endpoint, (operation,), deadline), attempts)
            attempts.reached |= bool(outcomes)
            return outcomes[0] if outcomes else None
        # Nothing is written at a node that may turn out to belong to another cluster: it may know
        # a session of the same number.
        alone = attempts.writes and self.route.has_choice and not link.is_greeted
        operations = (Hello(),) if alone else (Hello(), operation)
        outcomes = yield from self._send(link, Ask(endpoint, operations, deadline), attempts)
        if not outcomes:
            return None
        welcome, *others = outcomes
        if isinstance(welcome, Welcome):
            yield from self._learn(endpoint, welcome, deadline)
            if alone and not welcome.cluster:
                raise StrangeCluster(f"{endpoint} belongs to no cluster yet")
        attempts.reached = True
        if not isinstance(welcome, Welcome):
            return welcome
        if welcome.cluster:  # a node of none may come to belong to any
            link.welcome(endpoint, now)
        return others[0] if others else None

    def _send(self, link: Link, ask: Ask, attempts: Attempts) -> Steps[tuple[Outcome, ...]]:
        """Return the outcomes of a request; none if there is no reply."""
        result = yield ask
        if isinstance(result, Answered):
            return result.outcomes
        assert isinstance(result, Lost)
        attempts.obstacle = result.obstacle or attempts.obstacle
        attempts.maybe_done |= result.sent
        attempts.reached |= result.sent
        if not result.obstacle:
            link.abandon(ask.endpoint, self._clock())
        if not result.sent:
            yield self._pause(attempts)
        return ()

    def _learn(self, endpoint: str, welcome: Welcome, deadline: float) -> Steps[None]:
        """Take in what a node says of itself, if it belongs to the client's cluster.

        Raises:
            StrangeCluster: it does not, or that is undecided.
        """
        if welcome.cluster and self.route.needs_census:
            counted = yield TakeCensus(endpoint, welcome, deadline)
            assert isinstance(counted, Counted)
            if not counted.cluster:
                raise StrangeCluster(counted.obstacle)
            self.route.settle(counted.cluster)
        if not self.route.learn(welcome):
            raise StrangeCluster(
                f"{endpoint} belongs to another cluster, {welcome.cluster.hex()}, "
                f"than the one this client has spoken to, {self.route.cluster.hex()}"
            )

    def _judge(
        self, link: Link, endpoint: str, failed: Failed, attempts: Attempts
    ) -> Steps[Failed | None]:
        """Return a refusal that is final, or None to try on."""
        match failed.code:
            case FailureCode.NOT_MEMBER | FailureCode.STALLED:
                link.abandon(endpoint, self._clock())
                yield self._pause(attempts)
            case FailureCode.OVERLOADED:
                yield self._pause(attempts)
            case FailureCode.STORAGE_FULL if attempts.awaits_space(self._clock()):
                yield self._pause(attempts)
            case FailureCode.NOT_APPLIED | FailureCode.NO_STANDBY | FailureCode.UNKNOWN:
                pass
            case _:
                return failed
        if attempts.deadline - self._clock() <= PAUSE_SECONDS:
            return failed
        attempts.maybe_done |= failed.code is FailureCode.UNKNOWN
        if failed.code in (FailureCode.NOT_APPLIED, FailureCode.UNKNOWN):
            link.abandon(endpoint, self._clock())  # it could not do it in its share of the time
        return None

    def _pause(self, attempts: Attempts) -> Pause:
        left = max(0.0, attempts.deadline - self._clock())
        return Pause(min(attempts.next_pause(), left))


def _finds_it_done(operation: Operation, outcome: Outcome | None) -> bool:
    """Whether a refusal shows that an earlier attempt has removed the node."""
    return (
        isinstance(operation, RemoveNode)
        and isinstance(outcome, Failed)
        and outcome.code is FailureCode.UNKNOWN_NODE
    )
