"""Endings of calls: the outcome for the caller, or the error that says what may have been done."""

from protocol.client.attempts import Attempts
from protocol.client.calls import Ending
from protocol.client.routing import Route
from protocol.commands import Result, SessionExpired
from protocol.messages.client import Failed, Outcome
from skiff.errors import (
    ClientClosed,
    ClientConnectFailed,
    NoNodeReached,
    OutcomeUnknown,
    RequestTimeout,
    RPCCallFailed,
    SkiffError,
)
from skiff.outcomes import raise_failure


def outcome_of(ending: Ending, route: Route, *, closed: bool) -> Outcome:
    """Return the outcome of a call.

    Raises:
        SkiffError: there is none, or it is a refusal; ``closed`` if the client was closed.
    """
    outcome, attempts = ending.outcome, ending.attempts
    if outcome is None:
        raise _closed(attempts) if closed else _timed_out(attempts, route)
    if isinstance(outcome, Failed):
        raise_failure(outcome, maybe_done=attempts.writes and attempts.maybe_done)
    return outcome


def result_of(ending: Ending, route: Route, *, closed: bool) -> Result:
    """Return the result of a command.

    Raises:
        SkiffError: there is none, or it is a refusal; ``closed`` if the client was closed.
    """
    outcome = outcome_of(ending, route, closed=closed)
    if isinstance(outcome, SessionExpired):
        raise OutcomeUnknown("the session expired before a retry could be recognised")
    if not isinstance(outcome, Result):
        raise RPCCallFailed(f"a write was answered with {outcome!r}")
    return outcome


def _closed(attempts: Attempts) -> SkiffError:
    unknown = attempts.writes and attempts.maybe_done
    known = "the write may have been done" if unknown else "this call wrote nothing"
    return ClientClosed(f"the client was closed; {known}")


def _timed_out(attempts: Attempts, route: Route) -> SkiffError:
    known = route.described
    if attempts.writes and attempts.maybe_done:
        return OutcomeUnknown(f"no certain answer before the deadline; asked {known}")
    if not attempts.reached and attempts.obstacle:
        return ClientConnectFailed(attempts.obstacle)
    if not attempts.reached:
        return NoNodeReached(f"no node could be reached at {known}")
    return RequestTimeout(f"no answer before the deadline; asked {known}")
