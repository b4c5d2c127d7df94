"""Endings of calls: the outcome, or the error that tells whether a write may have been done."""

from collections.abc import Iterable

from protocol.client.calls import Ending
from protocol.client.routing import Route
from protocol.messages.client import Failed, Outcome
from protocol.state.commands import SessionExpired
from protocol.state.user_commands import Denied
from skiff.errors import (
    ClientClosed,
    ClientConnectFailed,
    InvalidRequest,
    NoNodeReached,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    SkiffError,
)
from skiff.outcomes import denial_of, raise_failure


def outcome_of(ending: Ending, route: Route, *, closed: bool) -> Outcome:
    """Return the outcome of a call; ``closed`` tells whether the client was closed meanwhile.

    Raises:
        SkiffError: the call has no outcome, or a node refused it.
    """
    outcome = ending.outcome
    if outcome is None:
        raise _why_none(ending, route, closed=closed)
    if isinstance(outcome, Failed):
        raise_failure(outcome, maybe_done=ending.maybe_done)
    if isinstance(outcome, Denied):
        raise denial_of(outcome, maybe_done=ending.maybe_done and ending.write is None)
    if isinstance(outcome, SessionExpired):
        raise OutcomeUnknown("the session expired, so that a retry could not be recognised")
    return outcome


def outcomes_of(
    endings: Iterable[Ending], route: Route, *, closed: bool
) -> list[Outcome | SkiffError]:
    """Return the outcome of each call, or the error that ``outcome_of`` raises."""
    outcomes: list[Outcome | SkiffError] = []
    for ending in endings:
        try:
            outcomes.append(outcome_of(ending, route, closed=closed))
        except SkiffError as error:
            outcomes.append(error)
    return outcomes


def unencodable(reason: object) -> InvalidRequest:
    """Return the error of a request that MessagePack cannot carry."""
    return InvalidRequest(f"the request cannot be encoded, and was not sent: {reason}")


def _why_none(ending: Ending, route: Route, *, closed: bool) -> SkiffError:
    if closed:
        return _closed(ending)
    return NotSent(f"not sent: {ending.not_sent}") if ending.not_sent else _timed_out(ending, route)


def _closed(ending: Ending) -> SkiffError:
    if ending.not_sent:
        known = "this operation was not sent"
    else:
        known = "the write may have been done" if ending.maybe_done else "this call wrote nothing"
    return ClientClosed(f"the client was closed; {known}")


def _timed_out(ending: Ending, route: Route) -> SkiffError:
    attempts, known = ending.attempts, route.described
    if ending.maybe_done:
        return OutcomeUnknown(f"no certain outcome before the deadline; asked {known}")
    if attempts.denials and not attempts.reached:
        return PermissionDenied(attempts.denied_by)
    if not attempts.reached and attempts.obstacle:
        return ClientConnectFailed(attempts.obstacle)
    if not attempts.reached:
        why = f": {attempts.suspicion}" if attempts.suspicion else ""
        return NoNodeReached(f"no node could be reached at {known}{why}")
    return RequestTimeout(f"no answer before the deadline; asked {known}")
