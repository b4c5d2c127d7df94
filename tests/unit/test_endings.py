"""Endings: the error of a call without an outcome says whether a write may have been done."""

import pytest

from protocol.client.attempts import Attempts
from protocol.client.calls import AFTER_DEADLINE, AFTER_UNKNOWN, Ending
from protocol.client.routing import Route
from protocol.messages.client import Failed, FailureCode
from protocol.state.commands import Inserted, SessionExpired
from skiff.endings import outcome_of, outcomes_of
from skiff.errors import (
    ClientClosed,
    ClientConnectFailed,
    InvalidRequest,
    NoNodeReached,
    NotSent,
    OutcomeUnknown,
    RequestTimeout,
    SkiffError,
)

ROUTE = Route(["tcp://a:1"], follow_leader=False)
INVALID = Failed(FailureCode.INVALID, "no key")


def attempts(*, reached: bool = True, obstacle: str = "") -> Attempts:
    made = Attempts(1.0)
    made.reached, made.obstacle = reached, obstacle
    return made


@pytest.mark.parametrize(
    ("ending", "closed", "error", "text"),
    [
        (Ending(None, attempts()), False, RequestTimeout, "no answer before the deadline"),
        (Ending(None, attempts(), maybe_done=True), False, OutcomeUnknown, "no certain outcome"),
        (Ending(None, attempts(reached=False)), False, NoNodeReached, "at a:1"),
        (
            Ending(None, attempts(reached=False, obstacle="foreign")),
            False,
            ClientConnectFailed,
            "foreign",
        ),
        (Ending(None, attempts(), not_sent=AFTER_DEADLINE), False, NotSent, "the deadline passed"),
        (Ending(None, attempts(), not_sent=AFTER_UNKNOWN), False, NotSent, "is unknown"),
        (Ending(None, attempts(), not_sent=AFTER_DEADLINE), True, ClientClosed, "was not sent"),
        (Ending(None, attempts()), True, ClientClosed, "wrote nothing"),
        (Ending(None, attempts(), maybe_done=True), True, ClientClosed, "may have been done"),
        (Ending(INVALID, attempts()), False, InvalidRequest, "no key"),
        (Ending(INVALID, attempts(), maybe_done=True), False, OutcomeUnknown, "an earlier attempt"),
        (Ending(SessionExpired(), attempts()), False, OutcomeUnknown, "the session expired"),
    ],
)
def test_an_ending_without_an_outcome_raises_its_error(
    ending: Ending, closed: bool, error: type[SkiffError], text: str
) -> None:
    with pytest.raises(SkiffError, match=text) as raised:
        outcome_of(ending, ROUTE, closed=closed)
    assert type(raised.value) is error


def test_the_outcomes_of_a_pipeline_stand_in_their_places() -> None:
    endings = [
        Ending(Inserted(1), attempts()),
        Ending(None, attempts(), maybe_done=True),
        Ending(None, attempts(), not_sent=AFTER_UNKNOWN),
    ]
    done, unknown, unsent = outcomes_of(endings, ROUTE, closed=False)
    assert done == Inserted(1)
    assert isinstance(unknown, OutcomeUnknown)
    assert isinstance(unsent, NotSent)
