"""Transactions: checks decide, operations are performed in order, and all or none of them count."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.state import transactions
from protocol.state.commands import (
    Check,
    Event,
    Fence,
    Found,
    Inapplicable,
    Increment,
    Incremented,
    Insert,
    Inserted,
    Lookup,
    Missing,
    NoLease,
    Obstacle,
    PrefixRemoved,
    Remove,
    Removed,
    RemovePrefix,
    Transact,
    Transacted,
    TransactionOperation,
)
from protocol.state.key_leases import KeyLeases
from protocol.state.key_value import KeyValue, decode_stored_value
from tests.harness.memory_table import MemoryTable

INTEGER_MAX = (1 << 63) - 1


def number(value: int) -> bytes:
    return msgspec.msgpack.encode(value)


class Store:
    """A key-value table and the changes made to it."""

    def __init__(self) -> None:
        self.values = MemoryTable()
        leases = KeyLeases(MemoryTable(), MemoryTable())
        self.key_value = KeyValue(self.values, MemoryTable(), leases)
        self.events: list[Event] = []

    def transact(
        self,
        *then: TransactionOperation,
        checks: Sequence[Check] = (),
        otherwise: Sequence[TransactionOperation] = (),
    ) -> Transacted | Inapplicable | NoLease:
        command = Transact(tuple(checks), then, tuple(otherwise))
        return transactions.transact(self.key_value, command, self.events)

    def increment(self, key: str, by: int = 1) -> object:
        return transactions.perform_alone(self.key_value, Increment(key, by), self.events)

    def remove_prefix(self, prefix: str) -> object:
        return transactions.perform_alone(self.key_value, RemovePrefix(prefix), self.events)

    def keys(self) -> dict[str, bytes]:
        return {key.decode(): decode_stored_value(row).value for key, row in self.values.items()}


@pytest.fixture
def store() -> Store:
    """A store with two keys: a at revision 1 and b at revision 2."""
    made = Store()
    made.key_value.insert(Insert("a", b"1"), made.events)
    made.key_value.insert(Insert("b", b"2"), made.events)
    made.events.clear()
    return made


def test_all_writes_have_one_revision_and_their_events_have_positions(store: Store) -> None:
    result = store.transact(Insert("c", b"3"), Remove("a"), Insert("b", b"4"))
    assert result == Transacted(True, 3, (Inserted(3), Removed(True, 3), Inserted(3)))
    assert store.key_value.revision == 3
    assert store.events == [
        Event(3, "c", b"3", 0, 0),
        Event(3, "a", None, 1, 1, b"1"),
        Event(3, "b", b"4", 2, 2, b"2"),
    ]
    assert store.keys() == {"b": b"4", "c": b"3"}


@pytest.mark.parametrize(
    ("fence", "holds"),
    [(Fence("a", 1), True), (Fence("a", 2), False), (Fence("b", 1), False), (Fence("c", 3), False)],
)
def test_a_fence_is_checked_before_anything_is_done(
    store: Store, fence: Fence, holds: bool
) -> None:
    store.key_value.insert(Insert("a", b"rewritten"), store.events)
    store.events.clear()
    command = Transact((Check("new", exists=True),), (), (Insert("new", b"1"),), (fence,))
    result = transactions.transact(store.key_value, command, store.events)
    if holds:
        assert result == Transacted(False, 4, (Inserted(4),))
    else:
        assert result == Inapplicable(Obstacle.FENCED, fence.key)
    assert store.keys().get("new") == (b"1" if holds else None)
    assert bool(store.events) is holds


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (Check("a"), True),
        (Check("a", exists=True), True),
        (Check("a", exists=False), False),
        (Check("new", exists=False), True),
        (Check("a", revision=1), True),
        (Check("a", revision=2), False),
        (Check("new", revision=0), True),
        (Check("a", create_revision=1, version=1, value=b"1"), True),
        (Check("a", version=2), False),
        (Check("a", value=b"2"), False),
        (Check("new", value=b""), False),
        (Check("new", version=0, create_revision=0), True),
    ],
)
def test_a_check_compares_a_key_before_the_transaction(
    store: Store, check: Check, holds: bool
) -> None:
    result = store.transact(
        Insert("a", b"then"), checks=[check], otherwise=[Insert("a", b"otherwise")]
    )
    assert isinstance(result, Transacted)
    assert result.succeeded is holds
    assert store.keys()["a"] == (b"then" if holds else b"otherwise")


def test_a_failed_check_without_other_operations_changes_nothing(store: Store) -> None:
    result = store.transact(Remove("a"), checks=[Check("a", exists=False)])
    assert result == Transacted(False, 2, ())
    assert (store.key_value.revision, store.events) == (2, [])


def test_reads_see_the_writes_before_them(store: Store) -> None:
    result = store.transact(Lookup("a"), Insert("a", b"9"), Lookup("a"), Remove("b"), Lookup("b"))
    assert isinstance(result, Transacted)
    assert result.results == (
        Found(3, 1, 1, 1, b"1"),
        Inserted(3),
        Found(3, 1, 3, 2, b"9"),
        Removed(True, 3),
        Missing(3),
    )


def test_a_transaction_without_a_change_has_the_present_revision(store: Store) -> None:
    result = store.transact(Lookup("a"), Lookup("new"), Remove("new"), RemovePrefix("none/"))
    assert result == Transacted(
        True,
        2,
        (Found(2, 1, 1, 1, b"1"), Missing(2), Removed(False, 2), PrefixRemoved(0, 2)),
    )
    assert store.events == []


def test_an_operation_that_cannot_be_performed_undoes_all(store: Store) -> None:
    store.key_value.insert(Insert("text", b"\xa1x"), store.events)
    before, events = store.keys(), list(store.events)
    result = store.transact(Insert("c", b"3"), Remove("a"), Increment("text"))
    assert result == Inapplicable(Obstacle.NOT_INTEGER, "text")
    assert (store.keys(), store.events, store.key_value.revision) == (before, events, 3)


@pytest.mark.parametrize(
    ("value", "by", "expected"),
    [
        (None, 5, 5),
        (7, -10, -3),
        (INTEGER_MAX, 0, INTEGER_MAX),
        (INTEGER_MAX, 1, Obstacle.OUT_OF_RANGE),
        (-INTEGER_MAX, -2, Obstacle.OUT_OF_RANGE),
        (1 << 63, 0, Obstacle.OUT_OF_RANGE),
        (1 << 63, -1, INTEGER_MAX),  # as older builds apply it
        (True, 1, Obstacle.NOT_INTEGER),
        (1.5, 1, Obstacle.NOT_INTEGER),
        ("text", 1, Obstacle.NOT_INTEGER),
        ([1], 1, Obstacle.NOT_INTEGER),
    ],
)
def test_an_increment_adds_within_64_bits_to_integers_only(
    store: Store, value: object, by: int, expected: int | Obstacle
) -> None:
    if value is not None:
        store.key_value.insert(Insert("n", msgspec.msgpack.encode(value)), store.events)
    before = store.keys()
    result = store.increment("n", by)
    if isinstance(expected, Obstacle):
        assert result == Inapplicable(expected, "n")
        assert store.keys() == before
    else:
        assert isinstance(result, Incremented)
        assert (result.value, result.revision) == (expected, store.key_value.revision)
        assert store.keys()["n"] == number(expected)


def test_a_value_that_is_no_messagepack_cannot_be_incremented(store: Store) -> None:
    store.key_value.insert(Insert("n", b"\xc1"), store.events)
    assert store.increment("n") == Inapplicable(Obstacle.NOT_INTEGER, "n")


def test_a_prefix_is_removed_at_one_revision(store: Store) -> None:
    for key in ("d/1", "d/2", "dd"):
        store.key_value.insert(Insert(key, b""), store.events)
    store.events.clear()
    assert store.remove_prefix("d/") == PrefixRemoved(2, 6)
    assert store.events == [Event(6, "d/1", None, 3, 0, b""), Event(6, "d/2", None, 4, 1, b"")]
    assert sorted(store.keys()) == ["a", "b", "dd"]
    assert store.remove_prefix("") == PrefixRemoved(3, 7)
    assert store.keys() == {}


def test_more_keys_than_one_change_may_remove_are_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "REMOVED_MAX", 1)
    assert store.remove_prefix("/") == Inapplicable(Obstacle.TOO_MANY_KEYS, "/")
    result = store.transact(RemovePrefix("a"), RemovePrefix("b"))
    assert result == Inapplicable(Obstacle.TOO_MANY_KEYS, "b")
    assert sorted(store.keys()) == ["a", "b"]


def test_the_values_that_a_transaction_reads_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "READ_BYTES_MAX", 2)
    store.key_value.insert(Insert("c", b"3"), store.events)
    assert isinstance(store.transact(Lookup("a"), Lookup("b")), Transacted)
    result = store.transact(Insert("a", b"9"), Lookup("a"), Lookup("b"), Lookup("c"))
    assert result == Inapplicable(Obstacle.TOO_LARGE, "c")
    assert store.keys()["a"] == b"1"


keys = st.sampled_from(["a", "a/b", "a/c", "b", "é"])
operations = st.one_of(
    st.builds(Insert, keys, st.integers(-5, 5).map(number) | st.just(b"x")),
    st.builds(Remove, keys),
    st.builds(Increment, keys, st.integers(-3, 3)),
    st.builds(RemovePrefix, st.sampled_from(["", "a", "a/", "z"])),
    st.builds(Lookup, keys),
)
checks = st.builds(Check, keys, exists=st.none() | st.booleans())


@given(
    st.lists(st.tuples(st.lists(checks, max_size=2), st.lists(operations, max_size=5)), max_size=8)
)
def test_any_sequence_of_transactions_matches_a_dict(
    sequence: list[tuple[list[Check], list[TransactionOperation]]],
) -> None:
    store, model = Store(), dict[str, bytes]()
    for conditions, then in sequence:
        before = store.key_value.revision
        result = store.transact(*then, checks=conditions)
        holds = all(each.exists in (None, each.key in model) for each in conditions)
        wanted = _performed(dict(model), then) if holds else dict(model)
        if wanted is None:
            assert isinstance(result, Inapplicable)
            assert store.key_value.revision == before
        else:
            assert isinstance(result, Transacted)
            assert result.succeeded is holds
            model = wanted
        assert store.keys() == model
        assert store.key_value.state_bytes == sum(
            len(key.encode()) + len(value) for key, value in model.items()
        )
    places = [(event.revision, event.position) for event in store.events]
    assert places == sorted(set(places))


def _performed(
    model: dict[str, bytes], then: list[TransactionOperation]
) -> dict[str, bytes] | None:
    """Return the keys after the operations, or None if one cannot be performed."""
    for operation in then:
        match operation:
            case Insert(key=key, value=value):
                model[key] = value
            case Remove(key=key):
                model.pop(key, None)
            case Increment(key=key, by=by):
                stored = msgspec.msgpack.decode(model.get(key, number(0)))
                if not isinstance(stored, int):
                    return None
                model[key] = number(stored + by)
            case RemovePrefix(prefix=prefix):
                model = {key: each for key, each in model.items() if not key.startswith(prefix)}
            case Lookup():
                pass
    return model
