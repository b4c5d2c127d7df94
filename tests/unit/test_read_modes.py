"""Read modes: which path a gateway takes for a read, and what a node that is behind does."""

import msgspec
import pytest

from protocol.gateway.pending import LOST_SECONDS
from protocol.messages.client import (
    ANY_STALENESS,
    Failed,
    FailureCode,
    Get,
    GetMany,
    ListKeys,
    ListPrefixes,
    ReadOperation,
    Scan,
)
from protocol.messages.gateway import ReadsDone
from protocol.messages.replicator import Read
from protocol.messages.storage import ReadAt
from protocol.wire import decode_read_batch, encode
from tests.unit.test_gateway import Desk, leadership, missing

STALE = Get("key", max_staleness_ms=ANY_STALENESS)
WITHIN_A_SECOND = Get("key", max_staleness_ms=1000)
BEHIND = msgspec.Raw(encode(Failed(FailureCode.INVALID, "behind")))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def operations(message: Read | ReadAt) -> tuple[ReadOperation, ...]:
    return decode_read_batch(message.payload).operations


def confirm(desk: Desk) -> None:
    """Serve the last read that was sent to be confirmed."""
    desk.step(ReadsDone(desk.last(Read).number, (missing(1),), confirmed=True))
    desk.wait(0.004)  # the client might have sent another one


@pytest.mark.parametrize(
    "operation",
    [
        STALE,
        GetMany(("a", "b"), max_staleness_ms=ANY_STALENESS),
        ListKeys("", 1, max_staleness_ms=ANY_STALENESS),
        ListPrefixes("", 1, max_staleness_ms=ANY_STALENESS),
        Scan(b"s" * 16, "", 1, max_staleness_ms=ANY_STALENESS),
        Scan(b"s" * 16, "", 1, revision=7),
    ],
)
def test_a_stale_read_and_a_later_page_are_served_by_storage_alone(
    desk: Desk, operation: ReadOperation
) -> None:
    desk.step(leadership(leader=None))
    desk.ask(operation)
    read = desk.last(ReadAt)
    assert (read.index, read.confirmed, operations(read)) == (0, True, (operation,))
    assert desk.count(Read) == 0
    desk.step(ReadsDone(read.number, (missing(5),), confirmed=True))
    assert desk.answers == [missing(5)]


def test_a_read_of_limited_staleness_is_confirmed_if_no_read_was(desk: Desk) -> None:
    desk.ask(WITHIN_A_SECOND)
    assert (desk.count(Read), desk.count(ReadAt)) == (1, 0)


def test_a_confirmed_read_shows_for_a_while_that_the_state_is_current(desk: Desk) -> None:
    desk.ask(Get("other"))
    began = desk.now
    confirm(desk)
    desk.wait(began + 1.0 - desk.now)
    desk.ask(WITHIN_A_SECOND)
    assert (desk.count(Read), desk.count(ReadAt)) == (1, 1)
    desk.step(ReadsDone(desk.last(ReadAt).number, (missing(1),), confirmed=True))
    desk.wait(0.01)
    desk.ask(WITHIN_A_SECOND)
    assert (desk.count(Read), desk.count(ReadAt)) == (2, 1), "the local read confirmed nothing"


def test_the_state_is_current_as_of_the_sending_of_a_read_not_of_its_confirmation(
    desk: Desk,
) -> None:
    desk.ask(Get("other"))
    desk.wait(0.9)
    confirm(desk)
    desk.wait(0.2)
    desk.ask(WITHIN_A_SECOND)
    assert (desk.count(Read), desk.count(ReadAt)) == (2, 0)


def test_a_lease_read_does_not_show_that_the_state_is_current(desk: Desk) -> None:
    desk.ask(Get("other", leader_lease=True))
    confirm(desk)
    desk.ask(WITHIN_A_SECOND)
    assert (desk.count(Read), desk.count(ReadAt)) == (2, 0)


@pytest.mark.parametrize(
    "operation",
    [
        Get("key", max_staleness_ms=ANY_STALENESS, min_revision=9),
        Get("key", leader_lease=True, min_revision=9),
    ],
)
def test_a_read_for_which_the_state_is_behind_is_confirmed_then(desk: Desk, operation: Get) -> None:
    other = Get("other", operation.leader_lease, operation.max_staleness_ms)
    desk.ask(operation, other)
    first = desk.last(Read) if operation.leader_lease else desk.last(ReadAt)
    desk.step(ReadsDone(first.number, (BEHIND, missing(5)), confirmed=True, behind=(0,)))
    desk.wait(0.01)
    assert desk.answers == []
    second = desk.last(Read)
    assert (second.leader_lease, operations(second)) == (False, (operation,))
    desk.step(ReadsDone(second.number, (missing(9),), confirmed=True))
    assert desk.answers == [missing(9), missing(5)]


def test_a_revision_that_the_leader_does_not_know_is_an_error(desk: Desk) -> None:
    desk.ask(Get("key", min_revision=9))
    desk.step(ReadsDone(desk.last(Read).number, (BEHIND,), confirmed=True, behind=(0,)))
    assert desk.answers == [BEHIND]


def test_a_local_read_that_gets_no_answer_is_sent_again(desk: Desk) -> None:
    desk.ask(STALE)
    first = desk.last(ReadAt)
    desk.wait(LOST_SECONDS + 0.1)
    again = desk.last(ReadAt)
    assert (again.payload, again.number == first.number) == (first.payload, False)
    desk.step(ReadsDone(first.number, (missing(1),), confirmed=True))
    assert desk.answers == []
    desk.step(ReadsDone(again.number, (missing(2),), confirmed=True))
    assert desk.answers == [missing(2)]


def test_the_rest_of_a_batch_that_is_partly_served_keeps_its_path(desk: Desk) -> None:
    desk.ask(STALE, Get("second", max_staleness_ms=ANY_STALENESS))
    desk.step(ReadsDone(desk.last(ReadAt).number, (missing(1),), confirmed=True))
    desk.wait(0.01)
    (left,) = operations(desk.last(ReadAt))
    assert (left.key, desk.count(Read)) == ("second", 0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "operation",
    [
        Get("key", max_staleness_ms=-1),
        Get("key", min_revision=-1),
        Get("key", min_revision=1 << 63),
        GetMany(("a", "")),
        GetMany(tuple(map(str, range(1001)))),
        Scan(b"short", "", 1),
        Scan(b"s" * 16, "", 0),
        Scan(b"s" * 16, "a\0", 1),
        Scan(b"s" * 16, "", 1, "\0"),
        Scan(b"s" * 16, "", 1, revision=-1),
    ],
)
def test_an_invalid_read_is_refused(desk: Desk, operation: ReadOperation) -> None:
    desk.ask(operation)
    assert desk.failure().code is FailureCode.INVALID
    assert (desk.count(Read), desk.count(ReadAt)) == (0, 0)
