"""ReplyBudget: the bytes that may wait for one connection, and for all."""

import pytest

from protocol.gateway.pending import Call
from protocol.gateway.reply_budget import (
    CONNECTION_BYTES_MAX,
    COUNTED_BYTES,
    NOT_READ,
    REPLY_BYTES_MAX,
    SMALL_BYTES,
    TOO_LARGE,
    TOTAL_BYTES_MAX,
    UNREAD_SECONDS_MAX,
    ReplyBudget,
)
from protocol.gateway.shares import SHARE
from protocol.messages.client import Failed

MIB = 1 << 20


def call(connection: bytes = b"a", operations: int = 100, payer: bytes = b"") -> Call:
    return Call((connection,), 1, 10.0, 100, [None] * operations, operations, payer=payer)


def admit_all(budget: ReplyBudget, asked: Call, size: int) -> list[Failed | None]:
    return [budget.admit(asked, size) for _ in asked.outcomes]


def test_a_reply_admits_outcomes_up_to_its_limit_and_refuses_the_rest() -> None:
    budget, asked = ReplyBudget(), call()
    refusals = admit_all(budget, asked, MIB)
    fitting = REPLY_BYTES_MAX // MIB
    assert refusals == [None] * fitting + [TOO_LARGE] * (len(refusals) - fitting)
    assert budget.refusal_of_read(asked) is TOO_LARGE
    assert budget.refusal_of_read(call(b"b")) is None


def test_a_connection_with_unread_replies_gets_no_more_while_others_do() -> None:
    budget = ReplyBudget()
    size = CONNECTION_BYTES_MAX + 1
    assert budget.begin_reply(b"a", size, 0.0) == size
    assert not budget.has_room(b"a")
    assert budget.admit(call(b"a"), MIB) is NOT_READ
    assert budget.admit(call(b"b"), MIB) is None
    assert budget.begin_reply(b"a", 100, 0.5) == 0, "it may be about to read"
    assert budget.begin_reply(b"a", 100, 0.1 + UNREAD_SECONDS_MAX) is None
    assert budget.begin_reply(b"b", 100, 0.1 + UNREAD_SECONDS_MAX) == 0
    budget.end_reply(b"a", size, 2.0)
    assert budget.has_room(b"a")
    assert budget.begin_reply(b"a", 100, 2.0) == 0


def test_the_unread_replies_of_a_slow_client_are_limited() -> None:
    budget = ReplyBudget()
    waiting = 0
    for second in range(100):
        for _ in range(2):
            waiting += budget.begin_reply(b"a", MIB, float(second)) or 0
        budget.end_reply(b"a", MIB, float(second))
        waiting -= MIB
    assert CONNECTION_BYTES_MAX < waiting <= 2 * CONNECTION_BYTES_MAX + MIB


def test_all_connections_together_hold_no_more_than_the_total() -> None:
    budget = ReplyBudget()
    held = 0
    for number in range(1000):
        asked = call(number.to_bytes(2, "big"))
        held += sum(MIB for refusal in admit_all(budget, asked, MIB) if refusal is None)
    assert held == TOTAL_BYTES_MAX
    fresh = call(b"fresh")
    assert budget.admit(fresh, MIB) is NOT_READ
    assert budget.admit(fresh, 100) is None, "small outcomes pass for a client that reads"


def test_a_user_with_many_connections_holds_no_more_than_its_share() -> None:
    budget = ReplyBudget()
    calls = [call(number.to_bytes(2, "big"), payer=b"ann") for number in range(100)]
    held = sum(MIB for asked in calls for each in admit_all(budget, asked, MIB) if each is None)
    assert held == TOTAL_BYTES_MAX // SHARE
    assert budget.admit(call(b"one more", payer=b"ann"), MIB) is NOT_READ
    assert NOT_READ.retry_after_ms > 0
    assert budget.admit(call(b"small", payer=b"ann"), 100) is None
    assert not any(admit_all(budget, call(b"other", 10, b"ben"), MIB))
    for asked in calls:
        budget.end_call(asked)
    assert budget.admit(call(b"one more", payer=b"ann"), MIB) is None


def test_unread_replies_count_for_the_user_of_their_connection() -> None:
    budget = ReplyBudget()
    size = CONNECTION_BYTES_MAX
    names = [b"%d" % number for number in range(TOTAL_BYTES_MAX // SHARE // size)]
    for connection in names:
        assert budget.begin_reply(connection, size, 0.0, b"ann") == size
    assert not budget.has_room(b"fresh", MIB, b"ann")
    assert budget.has_room(b"fresh", MIB, b"ben")
    for connection in names:
        budget.end_reply(connection, size, 1.0)
    assert budget.has_room(b"fresh", MIB, b"ann")
    assert not budget._held
    assert not budget._payers


def test_the_budget_of_a_call_is_freed_when_the_call_ends() -> None:
    budget, asked = ReplyBudget(), call()
    admit_all(budget, asked, MIB)
    assert not budget.has_room(b"a", MIB)
    budget.end_call(asked)
    assert budget.has_room(b"a", CONNECTION_BYTES_MAX)


@pytest.mark.parametrize("size", [1, 100, SMALL_BYTES - 1])
def test_small_replies_are_counted_together(size: int) -> None:
    budget = ReplyBudget()
    sent = uncounted = 0
    while True:
        counted = budget.begin_reply(b"a", size, 0.0)
        sent += size
        if counted:
            break
        uncounted = sent
    assert counted == sent
    assert uncounted < COUNTED_BYTES <= sent


def test_the_number_of_remembered_connections_is_bounded() -> None:
    budget = ReplyBudget()
    for number in range(100_000):
        assert budget.begin_reply(number.to_bytes(4, "big"), 100, 0.0) == 0
    assert len(budget._uncounted) < 5000
