"""Batching: the time at which queued operations are proposed."""

import pytest

from protocol.gateway.batching import (
    LARGE_OPERATIONS,
    PIPELINE_SECONDS,
    RETURN_SECONDS_MAX,
    RETURN_SECONDS_MIN,
    BatchQueue,
    write_cost,
)
from protocol.gateway.pending import Call, Slot
from protocol.load import REVOKED_LOAD
from protocol.state.commands import (
    Insert,
    RemovePrefix,
    RevokeLease,
    StateCommand,
    Transact,
    Write,
)
from protocol.state.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX


def slot(client: bytes, deadline: float = 100.0) -> Slot:
    return Slot(Call((client,), 1, deadline, 10, [None], 1), 0)


def write(value: bytes = b"") -> Write:
    return Write(1, 1, 1, Insert("key", value))


def queue_of(*clients: bytes) -> BatchQueue[Write]:
    queue = BatchQueue(write_cost)
    for client in clients:
        queue.add(slot(client), write())
    return queue


def test_a_lone_client_never_waits() -> None:
    queue = queue_of(b"a")
    now = 1.0
    for _ in range(3):
        taken = queue.take_batch(now)
        assert len(taken) == 1
        now += 0.001
        queue.batch_ended([taken[0][0]], now)
        queue.add(slot(b"a"), write())
        assert queue.next_deadline(now) == now


def test_the_next_batch_waits_for_the_previous_one() -> None:
    queue = queue_of(b"a")
    queue.take_batch(1.0)
    queue.add(slot(b"b"), write())
    queue.add(slot(b"c"), write())
    assert queue.take_batch(1.001) == []
    queue.batch_ended([slot(b"d")], 1.002)
    assert queue.take_batch(1.002) == []
    queue.add(slot(b"d"), write())
    assert len(queue.take_batch(1.002)) == 3


def test_a_batch_waits_only_briefly_for_clients_of_the_previous_one() -> None:
    queue = queue_of(b"a", b"b")
    queue.take_batch(1.0)
    queue.batch_ended([slot(b"a"), slot(b"b")], 1.001)
    queue.add(slot(b"a"), write())
    assert queue.take_batch(1.001) == []
    assert queue.next_deadline(1.001) == 1.001 + RETURN_SECONDS_MIN
    assert len(queue.take_batch(1.001 + RETURN_SECONDS_MIN)) == 1


def test_the_wait_grows_with_the_duration_of_the_previous_batch_up_to_a_bound() -> None:
    for took, moment in ((0.004, 0.002), (1.0, RETURN_SECONDS_MAX)):
        queue = queue_of(b"a")
        queue.take_batch(1.0)
        queue.batch_ended([slot(b"a"), slot(b"b")], 1.0 + took)
        queue.add(slot(b"a"), write())
        assert queue.next_deadline(1.0 + took) == pytest.approx(1.0 + took + moment)


def test_a_slow_batch_does_not_hold_up_the_next_one() -> None:
    queue = queue_of(b"a")
    queue.take_batch(1.0)
    queue.add(slot(b"b"), write())
    assert queue.next_deadline(1.001) == 1.0 + PIPELINE_SECONDS
    assert len(queue.take_batch(1.0 + PIPELINE_SECONDS)) == 1


def test_a_large_batch_goes_beside_one_other_and_no_more() -> None:
    queue = queue_of(b"a")
    queue.take_batch(1.0)
    for sent in (LARGE_OPERATIONS, 0):
        for _ in range(LARGE_OPERATIONS - 1):
            queue.add(slot(b"b"), write())
        assert queue.take_batch(1.001) == []
        queue.add(slot(b"b"), write())
        assert len(queue.take_batch(1.001)) == sent


def test_a_large_batch_does_not_wait_for_the_clients_of_the_previous_one() -> None:
    queue = queue_of(b"a", b"b")
    queue.take_batch(1.0)
    queue.batch_ended([slot(b"a"), slot(b"b")], 1.001)
    for _ in range(LARGE_OPERATIONS):
        queue.add(slot(b"a"), write())
    assert len(queue.take_batch(1.001)) == LARGE_OPERATIONS


def test_a_batch_is_limited_in_writes_and_bytes() -> None:
    many = queue_of(*[b"a"] * (BATCH_OPERATIONS_MAX + 1))
    assert len(many.take_batch(1.0)) == BATCH_OPERATIONS_MAX
    large = BatchQueue(write_cost)
    for _ in range(3):
        large.add(slot(b"a"), write(b"x" * (BATCH_BYTES_MAX // 2 + 1)))
    assert len(large.take_batch(1.0)) == 1


def test_a_request_is_not_split_unless_it_exceeds_a_batch() -> None:
    queue = queue_of(*[b"a"] * 10)
    call = Call((b"b",), 1, 100.0, 10, [None] * BATCH_OPERATIONS_MAX, BATCH_OPERATIONS_MAX)
    for position in range(BATCH_OPERATIONS_MAX):
        queue.add(Slot(call, position), write())
    queue.add(slot(b"c"), write())
    assert len(queue.take_batch(1.0)) == 10
    taken = queue.take_batch(2.0)
    assert len(taken) == BATCH_OPERATIONS_MAX
    assert all(each.call is call for each, _ in taken)
    assert len(queue.take_batch(3.0)) == 1
    large = BatchQueue(write_cost)
    for position in range(3):
        large.add(Slot(call, position), write(b"x" * (BATCH_BYTES_MAX // 2 + 1)))
    assert len(large.take_batch(1.0)) == 1


def test_a_write_past_its_deadline_is_never_proposed() -> None:
    queue = queue_of(b"a")
    queue.take_batch(1.0)
    late = slot(b"b", deadline=1.001)
    queue.add(late, write())
    queue.add(slot(b"c"), write())
    assert queue.take_late(1.001) == [late]
    assert len(queue) == 1


def test_users_take_turns_where_more_is_queued_than_a_batch_holds() -> None:
    queue = BatchQueue(write_cost)
    half = BATCH_OPERATIONS_MAX // 2
    calls = [Call((b"a",), number, 100.0, 10, [None] * half, half) for number in range(6)]
    for call in calls:
        call.payer = b"ann"
        for position in range(half):
            queue.add(Slot(call, position), write())
    for client in (b"b", b"c"):
        other = slot(client)
        other.call.payer = client
        queue.add(other, write())
    first, second = queue.take_batch(1.0), queue.take_batch(2.0)
    clients = [each.call.client[0] for each, _ in first]
    assert clients[half - 1 : half + 2] == [b"a", b"b", b"c"]
    assert {each.call.id for each, _ in second} == {1, 2}
    assert len(queue) == 3 * half


@pytest.mark.parametrize(
    ("command", "in_a_batch"),
    [
        (RemovePrefix("a/"), 1),
        (Transact((), (Insert("b", b""), RemovePrefix("a/"))), 1),
        (Transact((), (), (RemovePrefix("a/"),)), 1),
        (RevokeLease(1), BATCH_OPERATIONS_MAX // REVOKED_LOAD),
    ],
)
def test_removals_of_unnamed_keys_share_no_entry_with_many(
    command: StateCommand, in_a_batch: int
) -> None:
    queue = BatchQueue(write_cost)
    for _ in range(2 * in_a_batch):
        queue.add(slot(b"a"), Write(1, 1, 1, command))
    assert len(queue.take_batch(1.0)) == in_a_batch
    assert len(queue.take_batch(2.0)) == in_a_batch


def test_a_request_that_fits_is_not_split_for_the_keys_that_it_removes() -> None:
    queue = BatchQueue(write_cost)
    call = slot(b"a").call
    for position in range(3):
        queue.add(Slot(call, position), Write(1, 1, 1, RemovePrefix(f"{position}/")))
    queue.add(slot(b"b"), write())
    assert len(queue.take_batch(1.0)) == 3


def test_a_transaction_takes_the_room_of_its_operations() -> None:
    queue = BatchQueue(write_cost)
    inserts = tuple([Insert(f"key{number}", b"") for number in range(BATCH_OPERATIONS_MAX // 2)])
    for _ in range(3):
        queue.add(slot(b"a"), Write(1, 1, 1, Transact((), inserts)))
    assert len(queue.take_batch(1.0)) == 2
    assert len(queue.take_batch(2.0)) == 1
