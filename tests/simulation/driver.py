"""Driver: performs the steps of a client's call in virtual time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic

from protocol.client.attempts import PAUSE_SECONDS
from protocol.client.steps import (
    GRACE_SECONDS,
    Answered,
    Ask,
    AwaitOthers,
    Lost,
    Pause,
    Result,
    ReturnT,
    Steps,
    TakeCensus,
)
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Reply, Request
from tests.simulation.call_judge import CallJudge
from tests.simulation.roll_call import RollCall

if TYPE_CHECKING:
    from tests.simulation.client import Thread

REFUSED_DELAY = 0.001


class Driver(Generic[ReturnT]):
    """One call in progress."""

    def __init__(
        self, thread: "Thread", steps: Steps[ReturnT], done: Callable[[ReturnT], None]
    ) -> None:
        self._thread = thread
        self._events = thread.setting.events
        self._steps = steps
        self._done = done
        self._asked = 0  # requests so far; replies count only for the latest
        self._judge = CallJudge()

    def begin(self) -> None:
        """Take the first step."""
        self._advance(None)

    def _advance(self, result: Result) -> None:
        try:
            step = self._steps.send(result)
        except StopIteration as stop:
            self._done(stop.value)
            return
        match step:
            case Ask():
                self._ask(step)
            case Pause(seconds=seconds):
                self._events.after(seconds, self._advance, None)
            case AwaitOthers(seconds=seconds):
                self._events.after(min(seconds, PAUSE_SECONDS), self._advance, None)
            case TakeCensus():
                RollCall(self._thread, step, self._advance).begin()

    def _ask(self, ask: Ask) -> None:
        self._thread.setting.totals.retries += self._asked > 0
        self._asked += 1
        number, count = self._asked, len(ask.operations)
        timeout_ms = int((ask.deadline - self._events.now) * 1000)
        request = Request(CLIENT_PROTOCOL_VERSION, number, timeout_ms, ask.operations)
        self._judge.asks(ask.operations)

        def answered(reply: Reply) -> None:
            assert len(reply.outcomes) == count, "as many outcomes as operations"
            if number == self._asked:
                self._events.note(self._thread.name, "hears", reply)
                self._judge.hears(ask.operations, reply.outcomes)
            self._end_ask(number, Answered(reply.outcomes))

        def lost() -> None:
            self._end_ask(number, Lost(sent=True))

        if self._thread.ask(ask.endpoint, request, answered, lost):
            self._events.at(ask.deadline + GRACE_SECONDS, lost)
        else:
            self._events.after(REFUSED_DELAY, self._end_ask, number, Lost(sent=False))

    def _end_ask(self, number: int, result: Result) -> None:
        if number == self._asked:
            self._asked += 1  # later replies are ignored
            self._advance(result)
