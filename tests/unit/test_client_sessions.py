"""Sessions of clients: interrupts, as by Ctrl-C, and writes that never end."""

import itertools
from functools import partial

import pytest

from protocol.client.calls import Calls, Ending
from protocol.client.link import Link
from protocol.client.routing import Route
from protocol.client.session import ROOM_SECONDS, Session
from protocol.client.steps import Answered, Ask, Lost, Pause, Step, Steps
from protocol.messages.client import Hello, Operation, Outcome, Welcome
from protocol.ranges import LEVEL_MAX
from protocol.state.commands import Insert, Inserted, OpenSession, SessionOpened, Write
from protocol.state.sessions import UNACKNOWLEDGED_MAX
from tests.harness.interrupts import interrupted, sources

SECONDS = 30.0
INSERT = Insert("key", b"\1")
OLD, NEW = 1, 2
CALLS = sources("protocol/client/calls", "protocol/client/session")


def answer(operation: Operation) -> Outcome:
    if isinstance(operation, Hello):
        return Welcome(b"c" * 16, b"n" * 16, "tcp://a:2", level=LEVEL_MAX)
    assert isinstance(operation, Write)
    return SessionOpened(NEW) if isinstance(operation.command, OpenSession) else Inserted(5)


class Clocked:
    """The calls of a client, a clock, and the writes that were sent."""

    def __init__(self) -> None:
        self.now = 0.0
        self.route = Route(["tcp://a:1"], follow_leader=True)
        self.link = Link(self.route)
        self.calls = Calls(self.route, lambda: self.now)
        self.calls.session = Session(OLD)
        self.sent: list[Write] = []

    def begin(self) -> Steps[Ending]:
        """Return a write that has not been sent yet."""
        return self.calls.write(self.link, INSERT, self.now + SECONDS)

    def perform(self, steps: Steps[Ending], step: Step | None = None) -> Ending:
        """Drive a write to its end, from a step of it."""
        try:
            step = step or next(steps)
            while True:
                step = steps.send(self._result(step))
        except StopIteration as stop:
            ending: Ending = stop.value
            return ending

    def _result(self, step: Step) -> Answered | None:
        if isinstance(step, Ask):
            self.sent += [each for each in step.operations if isinstance(each, Write)]
            return Answered(tuple(map(answer, step.operations)))
        assert isinstance(step, Pause)
        self.now += step.seconds
        return None


@pytest.fixture
def client() -> Clocked:
    client = Clocked()
    client.perform(client.begin())  # which greets the node
    return client


def begun(session: Session, count: int = 1) -> range:
    """Return the sequences of writes that were begun."""
    sequences = session.next_writes(count)
    session.begin_writes(sequences)
    return sequences


def test_an_interrupted_write_takes_no_room_of_its_session(client: Clocked) -> None:
    session = client.calls.session
    assert session is not None
    for place in itertools.count():
        if not interrupted(place, CALLS, lambda: client.perform(client.begin())):
            break
        assert session.has_room(UNACKNOWLEDGED_MAX)
    assert place > 20
    assert session.next > 10


def test_an_interrupt_while_ended_writes_are_counted_gives_up_no_other() -> None:
    for place in itertools.count():
        session = Session(OLD)
        first, second, third, last = [begun(session, 2) for _ in range(4)]
        for ended in (third, first, second):
            session.end_writes(ended)
        is_over = not interrupted(place, CALLS, partial(session.has_room, 1))
        assert begun(session) == range(9, 10)
        assert session.has_room(1)
        assert session.begin_writes(session.next_writes(1)) == last.start
        if is_over:
            break
    assert place > 5


def test_a_session_is_replaced_that_a_write_without_an_end_has_long_blocked(
    client: Clocked,
) -> None:
    blocked = client.calls.session
    assert blocked is not None
    begun(blocked)  # and never ended
    for _ in range(UNACKNOWLEDGED_MAX - 1):
        client.perform(client.begin())
    assert {each.session for each in client.sent} == {OLD}
    assert client.now == 0.0
    assert client.perform(client.begin()).outcome == Inserted(5)
    assert client.sent[-1].session == NEW
    assert ROOM_SECONDS <= client.now < ROOM_SECONDS + 0.1
    assert client.perform(client.begin()).outcome == Inserted(5)


def test_a_write_in_progress_keeps_the_session_that_it_has_begun_in(client: Clocked) -> None:
    slow = client.begin()
    asked = next(slow)
    assert isinstance(asked, Ask)
    for _ in range(UNACKNOWLEDGED_MAX):
        client.perform(client.begin())
    assert client.sent[-1].session == NEW
    client.perform(slow, slow.send(Lost(sent=True)))
    assert client.sent[-1] == asked.operations[0]


def test_a_session_whose_writes_go_on_is_not_replaced() -> None:
    session = Session(OLD)
    taken = [begun(session) for _ in range(UNACKNOWLEDGED_MAX - 1)]
    for second, sequences in enumerate(taken[:100]):
        begun(session)
        assert not session.has_room(1)
        assert not session.is_blocked(second * ROOM_SECONDS)
        session.end_writes(sequences)
