"""Calls: pipelines, whose later requests depend on what became of the earlier ones."""

import pytest

from protocol.client.calls import AFTER_UNKNOWN, Calls, Ending
from protocol.client.link import Link
from protocol.client.routing import Route
from protocol.client.session import Session
from protocol.client.steps import Answered, Ask, Lost, Result, Steps
from protocol.messages.client import Get, Hello, Operation, Outcome, Welcome
from protocol.ranges import LEVEL_MAX
from protocol.state.commands import (
    Insert,
    Inserted,
    Missing,
    OpenSession,
    SessionExpired,
    SessionOpened,
    Write,
)
from protocol.state.limits import BATCH_OPERATIONS_MAX

EXPIRED, NEW = 1, 2
SECONDS = 30.0


def answer(operation: Operation) -> Outcome:
    """Return the outcome at a node that has forgotten the client's first session."""
    if isinstance(operation, Hello):
        return Welcome(b"c" * 16, b"n" * 16, "tcp://a:2", level=LEVEL_MAX)
    if isinstance(operation, Get):
        return Missing(1)
    assert isinstance(operation, Write)
    if isinstance(operation.command, OpenSession):
        return SessionOpened(NEW)
    return SessionExpired() if operation.session == EXPIRED else Inserted(5)


def end_of(steps: Steps[list[Ending]]) -> list[Ending]:
    """Drive a call; the reply to its first request of several writes is lost."""
    result: Result = None
    is_lost = False
    try:
        while True:
            step, result = steps.send(result), None
            if isinstance(step, Ask):
                writes = [each for each in step.operations if isinstance(each, Write)]
                result = Answered(tuple(map(answer, step.operations)))
                if len(writes) > 1 and not is_lost:
                    result, is_lost = Lost(sent=True), True
    except StopIteration as stop:
        endings: list[Ending] = stop.value
        return endings


def test_a_pipeline_ends_after_a_lost_reply_although_the_session_has_expired_since() -> None:
    """A write that may have been applied in the expired session is followed by no later one."""
    route = Route(["tcp://a:1"], follow_leader=True)
    calls = Calls(route, lambda: 0.0)
    calls.session = Session(EXPIRED)
    inserts = [Insert(f"key {number}", b"\1") for number in range(BATCH_OPERATIONS_MAX + 1)]
    *first, last = end_of(calls.pipeline(Link(route), inserts, SECONDS))
    assert all(each.maybe_done for each in first)
    assert last.not_sent == AFTER_UNKNOWN


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_call_without_time_for_a_request_knows_the_node_that_was_reached(is_lost: bool) -> None:
    route = Route(["tcp://a:1"], follow_leader=True)
    link, calls = Link(route), Calls(route, lambda: 0.0)
    end_of(calls.pipeline(link, [Get("a")], SECONDS))  # which greets the node
    assert link.is_greeted
    if is_lost:
        link.abandon(link.endpoint, 0.0)
    (ending,) = end_of(calls.pipeline(link, [Get("a")], 0.0))
    assert (ending.outcome, ending.attempts.reached) == (None, not is_lost)
