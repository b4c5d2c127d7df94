"""One operation on its way: the way of ``skiff.caller``, on virtual time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from protocol.client_messages import (
    CLIENT_PROTOCOL_VERSION,
    Failed,
    FailureCode,
    Hello,
    Operation,
    Reply,
    Request,
    Welcome,
)
from skiff.attempts import PAUSE_SECONDS, PAUSE_SECONDS_MAX
from skiff.caller import GRACE_SECONDS, WELCOME_SECONDS

if TYPE_CHECKING:
    from tests.simulation.client import Thread

ATTEMPTS = 3
REFUSED_DELAY = 0.001


class Outcome:
    """How an exchange ended: with an outcome, if any, and what else may have become of it."""

    def __init__(self, outcome: Any, *, maybe_done: bool) -> None:
        self.outcome = outcome
        self.maybe_done = maybe_done


class Exchange:
    """An operation that is tried at one node after another until its deadline."""

    def __init__(
        self,
        thread: "Thread",
        operation: Operation,
        deadline: float,
        done: Callable[[Outcome], None],
    ) -> None:
        self._thread = thread
        self._setting = thread.setting
        self._events = thread.setting.events
        self._operation = operation
        self._deadline = deadline
        self._done = done
        self._maybe_done = False
        self._pause = PAUSE_SECONDS
        self._attempt = 0
        self._ended = False

    def attempt(self) -> None:
        """Ask one node."""
        now = self._events.now
        if now >= self._deadline:
            self._end(None)
            return
        self._attempt += 1
        self._setting.totals.retries += self._attempt > 1
        attempt, endpoint = self._attempt, self._thread.connect(now)
        share = max(self._setting.options.attempt_delay, (self._deadline - now) / ATTEMPTS)
        until = min(self._deadline, now + share)
        sent = self._thread.ask(
            endpoint,
            self._request(now, until),
            lambda reply: self._answered(attempt, reply),
            lambda: self._lost(attempt),
        )
        if sent:
            self._events.at(until + GRACE_SECONDS, self._lost, attempt)
        else:
            self._events.after(REFUSED_DELAY, self._refused, attempt)

    def _request(self, now: float, until: float) -> Request:
        self._asked_at = now
        greets = now - self._thread.welcomed_at > WELCOME_SECONDS
        self._count = 2 if greets else 1
        operations = (Hello(), self._operation) if greets else (self._operation,)
        timeout_ms = int((until - now) * 1000)
        return Request(CLIENT_PROTOCOL_VERSION, self._attempt, timeout_ms, operations)

    def _is_over(self, attempt: int) -> bool:
        return self._ended or attempt != self._attempt

    def _answered(self, attempt: int, reply: Reply) -> None:
        if self._is_over(attempt):
            return
        assert len(reply.outcomes) == self._count, "as many outcomes as operations"
        self._events.note(self._thread.name, "hears", reply)
        if isinstance(reply.outcomes[0], Welcome):
            self._thread.learn(reply.outcomes[0], self._asked_at)
        outcome = reply.outcomes[-1]
        if isinstance(outcome, Failed):
            self._judge(outcome)
        else:
            self._end(outcome)

    def _lost(self, attempt: int) -> None:
        """Go on elsewhere: the connection is lost, or the node was silent for too long."""
        if self._is_over(attempt):
            return
        self._maybe_done = True
        self._thread.abandon()
        self.attempt()

    def _refused(self, attempt: int) -> None:
        """Go on elsewhere after a pause: nobody listens there."""
        if not self._is_over(attempt):
            self._thread.abandon()
            self._try_later()

    def _judge(self, failed: Failed) -> None:
        match failed.code:
            case FailureCode.NOT_MEMBER | FailureCode.STALLED | FailureCode.NOT_APPLIED:
                self._thread.abandon()
            case FailureCode.UNKNOWN:
                self._maybe_done = True
                self._thread.abandon()
            case FailureCode.OVERLOADED:
                pass
            case FailureCode.STORAGE_FULL:
                self._setting.totals.storage_full += 1
                self._end(failed)
                return
            case _:
                self._end(failed)
                return
        if self._deadline - self._events.now <= PAUSE_SECONDS:
            self._end(failed)
        elif failed.code in (FailureCode.NOT_APPLIED, FailureCode.UNKNOWN):
            self.attempt()
        else:
            self._try_later()

    def _try_later(self) -> None:
        self._events.after(self._pause, self._resume, self._attempt)
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)

    def _resume(self, attempt: int) -> None:
        if not self._is_over(attempt):
            self.attempt()

    def _end(self, outcome: Any) -> None:
        self._ended = True
        failed = outcome is None or isinstance(outcome, Failed)
        self._done(Outcome(None if failed else outcome, maybe_done=self._maybe_done))
