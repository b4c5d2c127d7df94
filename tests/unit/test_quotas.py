"""Quotas: one user leaves room for the others, and gets back what it no longer uses."""

import pytest

from protocol.gateway.pending import CALL_BYTES_MAX, CALL_OPERATIONS_MAX, CALLS_MAX
from protocol.gateway.quotas import USERS_NOTED_MAX, Quotas
from protocol.gateway.shares import SHARE
from protocol.messages.client import Failed, FailureCode

ANN, BEN = b"ann", b"ben"


def retry_after_ms(outcome: Failed | None) -> int:
    assert outcome is not None
    assert outcome.code is FailureCode.OVERLOADED
    return outcome.retry_after_ms


@pytest.mark.parametrize(
    ("calls", "operations", "size"),
    [
        (CALLS_MAX // SHARE, 1, 1),
        (10, CALL_OPERATIONS_MAX // SHARE // 10, 1),
        (16, 1, CALL_BYTES_MAX // SHARE // 16),
    ],
    ids=["calls", "operations", "bytes"],
)
def test_a_user_with_half_of_a_limit_pending_is_refused_and_others_are_not(
    calls: int, operations: int, size: int
) -> None:
    quotas = Quotas()
    for _ in range(calls):
        assert quotas.begin(ANN, operations, size, 0.0) is None
    assert retry_after_ms(quotas.begin(ANN, operations, size, 0.0)) > 0
    assert quotas.begin(BEN, operations, size, 0.0) is None
    for _ in range(2):  # the refused one, too
        quotas.end(ANN, operations, size)
    assert quotas.begin(ANN, operations, size, 0.0) is None


def test_a_user_may_send_its_operations_of_a_second_at_once_and_then_at_its_pace() -> None:
    quotas = Quotas(operations_per_second=8)
    assert all(quotas.begin(ANN, 1, 1, 5.0) is None for _ in range(8))
    assert retry_after_ms(quotas.begin(ANN, 1, 1, 5.0)) == 125
    assert quotas.begin(BEN, 8, 1, 5.0) is None
    assert quotas.begin(ANN, 1, 1, 5.125) is None
    assert retry_after_ms(quotas.begin(ANN, 1, 1, 5.125)) == 125
    assert all(quotas.begin(ANN, 1, 1, 99.0) is None for _ in range(8)), "no more than a burst"
    assert retry_after_ms(quotas.begin(ANN, 1, 1, 99.0)) == 125


def test_a_request_of_more_than_a_second_is_served_and_paid_for_afterwards() -> None:
    quotas = Quotas(operations_per_second=8)
    assert quotas.begin(ANN, 80, 1, 0.0) is None
    assert retry_after_ms(quotas.begin(ANN, 1, 1, 1.0)) == 8125
    assert quotas.begin(ANN, 1, 1, 9.125) is None


@pytest.mark.parametrize("rate", [0, 1000])
def test_the_number_of_users_that_are_remembered_is_bounded(rate: int) -> None:
    quotas = Quotas(rate)
    quotas.begin(ANN, 1, 1, 0.0)
    for number in range(USERS_NOTED_MAX + 10):
        user = number.to_bytes(4, "big")
        quotas.begin(user, 1, 1, 0.0)
        quotas.end(user, 1, 1)
    assert len(quotas._usages) <= USERS_NOTED_MAX
    quotas.end(ANN, 1, 1)
