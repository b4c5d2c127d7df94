"""Levels of operations: what a client sends to a node of an older version."""

from typing import Any

import pytest

from protocol.client.calls import Calls, Ending
from protocol.client.levels import level_of_operation
from protocol.client.link import Link
from protocol.client.routing import Route
from protocol.client.session import Session
from protocol.client.steps import Answered, Ask
from protocol.membership import Member, Membership
from protocol.messages.client import (
    Failed,
    FailureCode,
    Get,
    GetMany,
    Hello,
    KeepAlive,
    ListKeys,
    ListLeases,
    Operation,
    Outcome,
    Scan,
    Welcome,
)
from protocol.ranges import LEVEL_MIN
from protocol.state.commands import Found, Increment, Insert, Inserted, Missing, Write
from protocol.state.levels import STATE_LEVEL

ENDPOINT, DEADLINE = "tcp://127.0.0.1:9400", 10.0
FOUND = Found(3, 1, 1, 1, b"\x01")
NEWER = [
    GetMany(("a",)),
    Scan(b"s" * 16, "a/", 10),
    ListKeys("a/", 10, reverse=True),
    Get("a", max_staleness_ms=5),
    Get("a", min_revision=7),
    KeepAlive((1,)),
    ListLeases(10),
]


def welcome(level: int) -> Welcome:
    """Return the greeting of a lone node."""
    membership = Membership((Member(b"n" * 16, "127.0.0.1:9400", True, level),))
    return Welcome(b"c" * 16, b"n" * 16, "tcp://127.0.0.1:9401", membership=membership, level=level)


class Lone:
    """A client of one node, and the operations that were sent to it."""

    def __init__(self, level: int) -> None:
        route = Route([ENDPOINT], follow_leader=False)
        self.calls, self.link = Calls(route, lambda: 0.0), Link(route)
        self.sent: list[tuple[Operation, ...]] = []
        self._level = level

    def call(self, operation: Operation, answer: Outcome) -> Ending:
        """Perform an operation, which the node would answer so."""
        steps = self.calls.call(self.link, operation, DEADLINE)
        result: Answered | None = None
        try:
            while True:
                ask = steps.send(result)
                assert isinstance(ask, Ask)
                self.sent.append(ask.operations)
                greetings = [isinstance(each, Hello) for each in ask.operations]
                outcomes = [welcome(self._level) if each else answer for each in greetings]
                result = Answered(tuple(outcomes))
        except StopIteration as stop:
            ending: Ending = stop.value
            return ending


@pytest.mark.parametrize("operation", NEWER, ids=repr)
def test_nothing_that_an_older_node_cannot_read_is_sent_to_it(operation: Operation) -> None:
    lone = Lone(LEVEL_MIN)
    outcome = lone.call(operation, FOUND).outcome
    assert isinstance(outcome, Failed)
    assert outcome.code is FailureCode.UNSUPPORTED
    assert "127.0.0.1:9400 runs an older version" in outcome.message
    assert lone.sent == [(Hello(),)]


@pytest.mark.parametrize("operation", NEWER, ids=repr)
def test_a_node_of_this_level_is_greeted_before_it_is_asked(operation: Operation) -> None:
    lone = Lone(STATE_LEVEL)
    assert lone.call(operation, FOUND).outcome == FOUND
    assert lone.sent == [(Hello(),), (operation,)]


@pytest.mark.parametrize("operation", [Get("a"), Get("a", leader_lease=True), ListKeys("a/", 10)])
def test_an_older_operation_is_sent_with_the_greeting(operation: Operation) -> None:
    lone = Lone(LEVEL_MIN)
    assert lone.call(operation, Missing(2)).outcome == Missing(2)
    assert lone.sent == [(Hello(), operation)]


def test_an_operation_needs_the_level_of_its_command() -> None:
    assert level_of_operation(Write(1, 1, 1, Insert("a", b""))) == LEVEL_MIN
    assert level_of_operation(Write(1, 1, 1, Increment("a"))) == 2


def test_the_older_writes_of_a_pipeline_are_performed() -> None:
    lone = Lone(LEVEL_MIN)
    lone.call(Get("a"), Missing(0))
    commands: Any = [Insert("a", b""), Increment("n"), Insert("b", b"")]
    lone.calls.session = Session(1)
    steps = lone.calls.pipeline(lone.link, commands, DEADLINE)
    ask = next(steps)
    assert isinstance(ask, Ask)
    assert [each.command for each in ask.operations if isinstance(each, Write)] == [
        Insert("a", b""),
        Insert("b", b""),
    ]
    with pytest.raises(StopIteration) as stop:
        steps.send(Answered((Inserted(1), Inserted(2))))
    first, second, third = (each.outcome for each in stop.value.value)
    assert (first, third) == (Inserted(1), Inserted(2))
    assert isinstance(second, Failed)
    assert second.code is FailureCode.UNSUPPORTED
