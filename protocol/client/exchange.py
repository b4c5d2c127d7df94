"""Exchange: sends operations to one node after another until each has an outcome.

Retries are harmless: every node recognizes a write by its session and sequence, and all other
operations are idempotent.
"""

from collections.abc import Callable, Sequence
from typing import TypeGuard

import msgspec

from protocol.client.attempts import Attempts
from protocol.client.levels import are_readable, unsupported
from protocol.client.link import Link
from protocol.client.routing import Route, address_of
from protocol.client.steps import (
    Answered,
    Ask,
    AwaitOthers,
    Counted,
    Lost,
    Pause,
    Result,
    Steps,
    TakeCensus,
)
from protocol.messages.client import Failed, FailureCode, Hello, Operation, Outcome, Welcome
from protocol.ranges import LEVEL_MIN

OTHERS_SECONDS = 0.2  # between checks for the result of another call

ABANDONING = {
    FailureCode.NOT_MEMBER,
    FailureCode.STALLED,
    FailureCode.NOT_APPLIED,  # no result within this attempt's deadline
    FailureCode.UNKNOWN,
}
PAUSING = {
    FailureCode.NOT_MEMBER,
    FailureCode.STALLED,
    FailureCode.OVERLOADED,
    FailureCode.STORAGE_FULL,
}
RETRIED = ABANDONING | PAUSING | {FailureCode.NO_STANDBY}


class ForeignCluster(Exception):
    """The node does not belong to the client's cluster, or that is undecided."""


class Asked(msgspec.Struct):
    """One operation of an exchange."""

    operation: Operation
    writes: bool = False  # whether an unknown outcome matters to the caller
    outcome: Outcome | None = None  # None while there is none, or at the deadline
    refusal: Failed | None = None  # the last one that was retried
    maybe_done: bool = False  # whether an unanswered attempt may have taken effect


def is_settled(result: Result) -> TypeGuard[Answered]:
    """Whether a request has a reply in which no operation has failed."""
    if not isinstance(result, Answered):
        return False
    for outcome in result.outcomes:  # noqa: SIM110 - a call of any() costs more than most replies
        if isinstance(outcome, Failed):
            return False
    return True


class Exchange:
    """One exchange over a link."""

    __slots__ = ("_attempts", "_clock", "_link", "_route")

    def __init__(
        self, route: Route, link: Link, attempts: Attempts, clock: Callable[[], float]
    ) -> None:
        self._route = route
        self._link = link
        self._attempts = attempts
        self._clock = clock

    def run(
        self, asked: Sequence[Asked], first: Ask | None = None, result: Result = None
    ) -> Steps[None]:
        """Obtain the outcome of each operation, if possible by the deadline.

        ``first`` is a request that was sent already, and ``result`` its result. Writes take effect
        in their order: a node puts the writes of one request into one log entry and, after refusing
        an insert for lack of room, refuses all later ones of the request.
        """
        link, attempts, pending = self._link, self._attempts, asked
        if first is not None:
            pending = yield from self._take(first, result, pending)
        while pending:
            now = self._clock()
            if now >= attempts.deadline:
                attempts.reached |= link.is_greeted and not attempts.obstacle  # by an earlier call
                return
            if attempts.denials and attempts.are_denied(self._route.all):
                return
            if link.is_being_greeted(now):
                yield AwaitOthers(min(OTHERS_SECONDS, attempts.deadline - now))
                continue
            endpoint = link.choose(now)
            operations = tuple([each.operation for each in pending])
            if link.is_greeted and not are_readable(operations, link.level):
                pending = self._drop_unreadable(endpoint, pending)
                continue
            ask = Ask(endpoint, operations, attempts.next_deadline(now))
            if not link.is_ready(now):
                outcomes = yield from self._ask_and_greet(ask, pending)
                pending = yield from self._judge(endpoint, pending, outcomes)
            else:
                pending = yield from self._take(ask, (yield ask), pending)

    # --- requests

    def _ask_and_greet(self, ask: Ask, pending: Sequence[Asked]) -> Steps[tuple[Outcome, ...]]:
        """Send a request with a greeting; return no outcomes if the node is of another cluster."""
        self._link.begin_greeting(self._clock())
        try:
            return (yield from self._greet(ask, pending))
        except ForeignCluster as foreign:
            self._attempts.obstacle = str(foreign)
            self._route.note_outsider(ask.endpoint)
            self._link.abandon(ask.endpoint, self._clock())
            yield self._pause()
            return ()
        finally:
            self._link.end_greeting()

    def _greet(self, ask: Ask, pending: Sequence[Asked]) -> Steps[tuple[Outcome, ...]]:
        # No write is sent to a node that may belong to another cluster: it may have a session of
        # the same number.
        writes = any(each.writes for each in pending)
        is_comparable = self._route.has_choice or bool(self._route.cluster)
        is_sendable = not (writes and is_comparable) and are_readable(ask.operations, LEVEL_MIN)
        alone = not (is_sendable or self._link.is_greeted)
        operations = (Hello(),) if alone else (Hello(), *ask.operations)
        began = self._clock()
        result = yield Ask(ask.endpoint, operations, ask.deadline)
        if not isinstance(result, Answered):
            return (yield from self._take_loss(result, ask, [] if alone else pending))
        welcome, *others = result.outcomes
        if not isinstance(welcome, Welcome):
            return (welcome,) * len(pending)
        yield from self._learn(ask.endpoint, welcome, ask.deadline)
        if alone and not welcome.cluster:
            raise ForeignCluster(f"{ask.endpoint} belongs to no cluster yet")
        self._attempts.reached = True
        if welcome.cluster:  # a node without one may still join any
            self._link.welcome(ask.endpoint, welcome.node, welcome.level, began)
        return tuple(others)

    def _drop_unreadable(self, endpoint: str, pending: Sequence[Asked]) -> list[Asked]:
        """Fail the operations that the node cannot read; return the others."""
        self._attempts.reached = True
        for each in pending:
            if not are_readable([each.operation], self._link.level):
                each.outcome = unsupported(address_of(endpoint))
        return [each for each in pending if each.outcome is None]

    def _take(self, ask: Ask, result: Result, pending: Sequence[Asked]) -> Steps[list[Asked]]:
        """Process the result of a request; return the operations still without an outcome."""
        if isinstance(result, Answered):
            outcomes = result.outcomes
        else:
            outcomes = yield from self._take_loss(result, ask, pending)
        return (yield from self._judge(ask.endpoint, pending, outcomes))

    def _take_loss(self, result: Result, ask: Ask, pending: Sequence[Asked]) -> Steps[tuple[()]]:
        """Note that a request has no reply; return no outcomes."""
        assert isinstance(result, Lost)
        self._attempts.obstacle = result.obstacle or self._attempts.obstacle
        if result.trouble is not None:
            self._attempts.note_trouble(ask.endpoint, result.trouble)
        self._attempts.reached |= result.sent
        for each in pending:
            each.maybe_done |= result.sent
        if not result.obstacle:
            self._link.abandon(ask.endpoint, self._clock())
        if not result.sent:
            yield self._pause()
        return ()

    def _learn(self, endpoint: str, welcome: Welcome, deadline: float) -> Steps[None]:
        """Learn members and leader from a greeting, if the node belongs to the client's cluster.

        Raises:
            ForeignCluster: the node belongs to another cluster, or that is undecided.
        """
        if welcome.cluster and self._route.needs_census:
            counted = yield TakeCensus(endpoint, welcome, deadline)
            assert isinstance(counted, Counted)
            if not counted.cluster:
                raise ForeignCluster(counted.obstacle)
            self._route.settle(counted.cluster)
        if not self._route.learn(welcome):
            raise ForeignCluster(
                f"{endpoint} belongs to cluster {welcome.cluster.hex()}, "
                f"this client to cluster {self._route.cluster.hex()}"
            )
        member = welcome.membership.get(welcome.node)
        if member is not None:
            self._route.note_member(endpoint, member.address)

    # --- outcomes

    def _judge(
        self, endpoint: str, pending: Sequence[Asked], outcomes: tuple[Outcome, ...]
    ) -> Steps[list[Asked]]:
        """Record the final outcomes; return the operations without one, after a pause if need be.

        There are no outcomes if there is no reply.
        """
        if outcomes:
            self._attempts.reached = True
            for each, outcome in zip(pending, outcomes, strict=True):
                each.outcome = outcome
            if self._judge_failures(endpoint, pending):
                yield self._pause(max(map(_retry_after, pending)))
        return [each for each in pending if each.outcome is None]

    def _judge_failures(self, endpoint: str, pending: Sequence[Asked]) -> bool:
        """Clear failures that are to be retried, and abandon the node if another may do better."""
        for each in pending:
            if isinstance(each.outcome, Failed) and self._may_pass(each.outcome):
                each.refusal, each.outcome = each.outcome, None
                each.maybe_done |= each.refusal.code is FailureCode.UNKNOWN
        _ask_again_alone(pending)
        codes = {each.refusal.code for each in pending if each.outcome is None and each.refusal}
        if FailureCode.NOT_MEMBER in codes:
            self._route.note_outsider(endpoint)
        if codes & ABANDONING:
            self._link.abandon(endpoint, self._clock())
        return bool(codes & PAUSING)

    def _may_pass(self, failed: Failed) -> bool:
        """Whether a failure may be gone at another node, or a little later."""
        now, code = self._clock(), failed.code
        if code not in RETRIED or self._attempts.is_last(now, pauses=code in PAUSING):
            return False
        if now + failed.retry_after_ms / 1000 >= self._attempts.deadline:
            return False
        return code is not FailureCode.STORAGE_FULL or self._attempts.awaits_space(now)

    def _pause(self, least: float = 0.0) -> Pause:
        return Pause(max(least, self._attempts.next_pause(self._clock())))


def _ask_again_alone(pending: Sequence[Asked]) -> None:
    """Retry operations whose outcome did not fit into a reply with others."""
    if any(not _is_too_large(each) for each in pending):
        for each in filter(_is_too_large, pending):
            each.outcome = None


def _retry_after(asked: Asked) -> float:
    """Return the seconds after which a node has said that a refused operation may succeed."""
    is_pending = asked.outcome is None and asked.refusal is not None
    return asked.refusal.retry_after_ms / 1000 if is_pending and asked.refusal else 0.0


def _is_too_large(asked: Asked) -> bool:
    outcome = asked.outcome
    return isinstance(outcome, Failed) and outcome.code is FailureCode.TOO_LARGE
