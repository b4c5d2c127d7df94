"""Driver: performs the steps of a client's call in virtual time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic

from protocol.client.attempts import PAUSE_SECONDS
from protocol.client.steps import (
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
from tests.simulation.call_judge import CallJudge
from tests.simulation.lone_requests import Cancel
from tests.simulation.roll_call import RollCall

if TYPE_CHECKING:
    from tests.simulation.client import Thread


class Driver(Generic[ReturnT]):
    """One call in progress."""

    def __init__(
        self, thread: "Thread", steps: Steps[ReturnT], done: Callable[[ReturnT], None]
    ) -> None:
        self._thread = thread
        self._events = thread.setting.events
        self._steps = steps
        self._done = done
        self._has_asked = False
        self._cancel_ask: Cancel = _nothing  # ends the pending request
        self.is_over = False
        self._judge = CallJudge()

    def begin(self) -> None:
        """Take the first step."""
        self._advance(None)

    def cancel(self) -> None:
        """End the call as the cancellation of its task does."""
        self.is_over = True
        self._cancel_ask()
        self._steps.close()

    def _advance(self, result: Result) -> None:
        if self.is_over:
            return
        try:
            step = self._steps.send(result)
        except StopIteration as stop:
            self.is_over = True
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
        self._thread.setting.totals.retries += self._has_asked
        self._has_asked = True
        self._judge.asks(ask.operations)

        def ended(result: Answered | Lost) -> None:
            if isinstance(result, Answered):
                self._events.note(self._thread.name, "hears", result)
                self._thread.heard_from = ask.endpoint
                self._judge.hears(ask.operations, result.outcomes)
            self._advance(result)

        self._cancel_ask = self._thread.client.requests.ask(self._thread.name, ask, ended)


def _nothing() -> None:
    """Do nothing."""
