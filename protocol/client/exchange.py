"""Exchange: operations that are asked together, of one node after another, until the deadline.

Retrying is harmless: a write is recognised by its session and sequence wherever it arrives, and
everything else may be done twice.
"""

from collections.abc import Callable, Sequence

import msgspec

from protocol.client.attempts import Attempts
from protocol.client.link import Link
from protocol.client.routing import Route
from protocol.client.steps import (
    Answered,
    Ask,
    AwaitOthers,
    Counted,
    Lost,
    Pause,
    Steps,
    TakeCensus,
)
from protocol.messages.client import Failed, FailureCode, Hello, Operation, Outcome, Welcome

OTHERS_SECONDS = 0.2  # between two looks at what another call of this client was to find out

ABANDONING = {
    FailureCode.NOT_MEMBER,
    FailureCode.STALLED,
    FailureCode.NOT_APPLIED,  # it could not do it in its share of the time
    FailureCode.UNKNOWN,
}
PAUSING = {
    FailureCode.NOT_MEMBER,
    FailureCode.STALLED,
    FailureCode.OVERLOADED,
    FailureCode.STORAGE_FULL,
}
RETRIED = ABANDONING | PAUSING | {FailureCode.NO_STANDBY}


class StrangeCluster(Exception):
    """The node that answered is not known to belong to the client's cluster: disregard it."""


class Asked(msgspec.Struct):
    """One operation of an exchange."""

    operation: Operation
    writes: bool = False  # whether it changes what belongs to the caller
    outcome: Outcome | None = None  # None while there is none, and at the deadline
    refusal: Failed | None = None  # the last one that was retried
    maybe_done: bool = False  # whether some attempt got no certain answer


class Exchange:
    """One exchange over the link of a thread or an event loop."""

    def __init__(
        self, route: Route, link: Link, attempts: Attempts, clock: Callable[[], float]
    ) -> None:
        self._route = route
        self._link = link
        self._attempts = attempts
        self._clock = clock

    def run(self, asked: Sequence[Asked]) -> Steps[None]:
        """Give each operation its outcome, as far as there is one by the deadline.

        Writes take effect in the order in which they stand.
        """
        pending = list(asked)
        while pending and self._clock() < self._attempts.deadline:
            if self._link.is_being_greeted(self._clock()):
                yield AwaitOthers(min(OTHERS_SECONDS, self._attempts.deadline - self._clock()))
            else:
                yield from self._attempt(pending)
                pending = [each for each in pending if each.outcome is None]

    def _attempt(self, pending: list[Asked]) -> Steps[None]:
        """Ask one node."""
        endpoint = self._link.choose(self._clock())
        try:
            outcomes = yield from self._ask(endpoint, pending)
        except StrangeCluster as strange:
            self._attempts.obstacle = str(strange)
            self._link.abandon(endpoint, self._clock())
            yield self._pause()
            return
        if outcomes:
            yield from self._judge(endpoint, pending, outcomes)

    # --- asking

    def _ask(self, endpoint: str, pending: list[Asked]) -> Steps[tuple[Outcome, ...]]:
        """Return a node's answers; none where it was only greeted, or did not answer."""
        now = self._clock()
        operations = tuple([each.operation for each in pending])
        deadline = self._attempts.next_deadline(now)
        if self._link.owes_greeting(now):
            return (yield from self._greet(endpoint, pending, operations, deadline))
        outcomes = yield from self._send(Ask(endpoint, operations, deadline), pending)
        self._attempts.reached |= bool(outcomes)
        return outcomes

    def _greet(
        self,
        endpoint: str,
        pending: list[Asked],
        operations: tuple[Operation, ...],
        deadline: float,
    ) -> Steps[tuple[Outcome, ...]]:
        """Ask whom this speaks to and who leads, together with the operations if that is safe."""
        # Nothing is written at a node that may turn out to belong to another cluster: it may know
        # a session of the same number.
        writes = any(each.writes for each in pending)
        alone = writes and self._route.has_choice and not self._link.is_greeted
        began = self._clock()
        self._link.begin_greeting(began)
        try:
            greeting = Ask(endpoint, (Hello(),) if alone else (Hello(), *operations), deadline)
            outcomes = yield from self._send(greeting, [] if alone else pending)
            if not outcomes:
                return ()
            welcome, *others = outcomes
            if isinstance(welcome, Welcome):
                yield from self._learn(endpoint, welcome, deadline)
                if alone and not welcome.cluster:
                    raise StrangeCluster(f"{endpoint} belongs to no cluster yet")
        finally:
            self._link.end_greeting()
        self._attempts.reached = True
        if not isinstance(welcome, Welcome):
            return (welcome,) * len(pending)
        if welcome.cluster:  # a node of none may come to belong to any
            self._link.welcome(endpoint, began)
        return tuple(others)

    def _send(self, ask: Ask, pending: list[Asked]) -> Steps[tuple[Outcome, ...]]:
        """Return the outcomes of a request; none if there is no reply."""
        result = yield ask
        if isinstance(result, Answered):
            return result.outcomes
        assert isinstance(result, Lost)
        self._attempts.obstacle = result.obstacle or self._attempts.obstacle
        self._attempts.reached |= result.sent
        for each in pending:
            each.maybe_done |= result.sent
        if not result.obstacle:
            self._link.abandon(ask.endpoint, self._clock())
        if not result.sent:
            yield self._pause()
        return ()

    def _learn(self, endpoint: str, welcome: Welcome, deadline: float) -> Steps[None]:
        """Take in what a node says of itself, if it belongs to the client's cluster.

        Raises:
            StrangeCluster: it does not, or that is undecided.
        """
        if welcome.cluster and self._route.needs_census:
            counted = yield TakeCensus(endpoint, welcome, deadline)
            assert isinstance(counted, Counted)
            if not counted.cluster:
                raise StrangeCluster(counted.obstacle)
            self._route.settle(counted.cluster)
        if not self._route.learn(welcome):
            raise StrangeCluster(
                f"{endpoint} belongs to another cluster, {welcome.cluster.hex()}, "
                f"than the one this client has spoken to, {self._route.cluster.hex()}"
            )

    # --- judging

    def _judge(
        self, endpoint: str, pending: list[Asked], outcomes: tuple[Outcome, ...]
    ) -> Steps[None]:
        """Take outcomes that are final; leave the node, or wait, where another attempt follows."""
        for each, outcome in zip(pending, outcomes, strict=True):
            if isinstance(outcome, Failed) and self._may_pass(outcome.code):
                each.refusal = outcome
                each.maybe_done |= outcome.code is FailureCode.UNKNOWN
            else:
                each.outcome = outcome
        _ask_again_alone(pending)
        _keep_order(pending)
        codes = {each.refusal.code for each in pending if each.outcome is None and each.refusal}
        if codes & ABANDONING:
            self._link.abandon(endpoint, self._clock())
        if codes & PAUSING:
            yield self._pause()

    def _may_pass(self, code: FailureCode) -> bool:
        """Whether a refusal may be over at another node or a little later."""
        if code not in RETRIED or self._attempts.is_last(self._clock()):
            return False
        return code is not FailureCode.STORAGE_FULL or self._attempts.awaits_space(self._clock())

    def _pause(self) -> Pause:
        return Pause(self._attempts.next_pause(self._clock()))


def _ask_again_alone(pending: list[Asked]) -> None:
    """Ask once more for what did not fit beside the other answers of a reply."""
    if any(not _is_too_large(each) for each in pending):
        for each in filter(_is_too_large, pending):
            each.outcome = None


def _is_too_large(asked: Asked) -> bool:
    outcome = asked.outcome
    return isinstance(outcome, Failed) and outcome.code is FailureCode.TOO_LARGE


def _keep_order(pending: list[Asked]) -> None:
    """Let a refusal be final once a later write is done: a retry would take effect after it."""
    done = False
    for each in reversed(pending):
        if each.outcome is None and done and each.writes:
            each.outcome = each.refusal
        done |= each.writes and each.outcome is not None and not isinstance(each.outcome, Failed)
