"""Outcomes: the error that a refusal stands for names what was refused, and why."""

import pytest

from protocol.state.commands import Inapplicable, Obstacle
from skiff.errors import NotInteger, TooManyLeases
from skiff.outcomes import applied


def test_the_error_begins_with_the_key_that_is_at_fault() -> None:
    with pytest.raises(NotInteger, match=r"^'name' does not hold a 64-bit integer; nothing was"):
        applied(Inapplicable(Obstacle.NOT_INTEGER, "name"))


def test_the_error_for_too_many_leases_names_no_key() -> None:
    with pytest.raises(TooManyLeases, match=r"^the cluster has 100000 leases already; nothing was"):
        applied(Inapplicable(Obstacle.TOO_MANY_LEASES))
