"""KeyValue: the effect of inserts and removals on keys, revisions and prefix counts."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.keys import parent_of
from protocol.state.commands import Event, Insert, Inserted, Remove, Removed, RevisionMismatch
from protocol.state.key_leases import KeyLeases
from protocol.state.key_value import KeyValue, StoredValue, decode_stored_value
from protocol.state.limits import PREV_BYTES_MAX
from tests.harness.memory_table import MemoryTable


class Store:
    """A table of keys with all its queries."""

    def __init__(self) -> None:
        self.values = MemoryTable()
        self.prefixes = MemoryTable()
        self.events: list[Event] = []
        leases = KeyLeases(MemoryTable(), MemoryTable())
        self.key_value = KeyValue(self.values, self.prefixes, leases)

    def insert(self, key: str, value: bytes = b"x", if_revision: int | None = None) -> object:
        return self.key_value.insert(Insert(key, value, if_revision), self.events)

    def remove(self, key: str, if_revision: int | None = None) -> Removed | RevisionMismatch:
        return self.key_value.remove(Remove(key, if_revision), self.events)

    def stored(self, key: str) -> StoredValue | None:
        record = self.values.get(key.encode())
        return None if record is None else decode_stored_value(record)

    def counts(self) -> dict[str, int]:
        self.key_value.store_counts()
        return {
            path.decode(): msgspec.msgpack.decode(count) for path, count in self.prefixes.items()
        }


@pytest.fixture
def store() -> Store:
    return Store()


def test_the_first_write_creates_a_key(store: Store) -> None:
    assert store.insert("a", b"x") == Inserted(1)
    assert store.stored("a") == StoredValue(1, 1, 1, b"x")
    assert store.events == [Event(1, "a", b"x", 0)]


def test_a_later_write_keeps_the_create_revision(store: Store) -> None:
    store.insert("a", b"x")
    store.insert("b")
    assert store.insert("a", b"y") == Inserted(3)
    assert store.stored("a") == StoredValue(1, 3, 2, b"y")
    assert store.events[-1] == Event(3, "a", b"y", 1, prev_value=b"x")


def test_removing_a_key_has_its_own_revision(store: Store) -> None:
    store.insert("a")
    assert store.remove("a") == Removed(existed=True, revision=2)
    assert store.stored("a") is None
    assert store.events[-1] == Event(2, "a", None, 1, prev_value=b"x")


def test_the_events_of_an_entry_keep_a_bounded_number_of_previous_bytes(store: Store) -> None:
    half = bytes(PREV_BYTES_MAX // 2)
    store.insert("a", half)
    store.insert("b", half + b"x")
    store.insert("c", half)
    store.events.clear()
    for key in ("a", "b", "c", "new"):
        store.insert(key)
    kept = [(each.prev_revision, each.prev_value) for each in store.events]
    assert kept == [(1, half), (2, None), (3, half), (0, None)]
    store.insert("a")
    store.key_value.begin_entry()
    store.insert("a")
    assert [each.prev_value for each in store.events[-2:]] == [None, b"x"]


def test_removing_an_absent_key_changes_nothing(store: Store) -> None:
    store.insert("a")
    assert store.remove("b") == Removed(existed=False, revision=1)
    assert store.key_value.revision == 1
    assert len(store.events) == 1


def test_a_recreated_key_starts_at_version_one(store: Store) -> None:
    store.insert("a")
    store.insert("a")
    store.remove("a")
    store.insert("a", b"z")
    assert store.stored("a") == StoredValue(4, 4, 1, b"z")


def test_an_empty_value_is_a_value(store: Store) -> None:
    store.insert("a", b"")
    assert store.stored("a") == StoredValue(1, 1, 1, b"")
    assert store.remove("a") == Removed(existed=True, revision=2)


@pytest.mark.parametrize("if_revision", [None, 0])
def test_an_absent_key_has_revision_zero(store: Store, if_revision: int | None) -> None:
    assert store.insert("a", b"x", if_revision) == Inserted(1)


@pytest.mark.parametrize("if_revision", [0, 1, 3, -1])
def test_a_revision_mismatch_changes_nothing(store: Store, if_revision: int) -> None:
    store.insert("a", b"x")
    store.insert("a", b"y")
    assert store.insert("a", b"z", if_revision) == RevisionMismatch(2)
    assert store.remove("a", if_revision) == RevisionMismatch(2)
    assert store.stored("a") == StoredValue(1, 2, 2, b"y")
    assert store.key_value.revision == 2
    assert len(store.events) == 2


def test_a_key_at_the_required_revision_is_changed(store: Store) -> None:
    store.insert("a", b"x")
    assert store.insert("a", b"y", if_revision=1) == Inserted(2)
    assert store.remove("a", if_revision=2) == Removed(existed=True, revision=3)


def test_an_absent_key_mismatches_any_revision_but_zero(store: Store) -> None:
    assert store.insert("a", b"x", if_revision=5) == RevisionMismatch(0)
    assert store.remove("a", if_revision=5) == RevisionMismatch(0)
    assert store.remove("a", if_revision=0) == Removed(existed=False, revision=0)
    assert store.counts() == {}


# --- prefixes


def test_a_prefix_counts_the_keys_directly_below_it(store: Store) -> None:
    for key in ("a/b", "a/c", "a/b/d", "e"):
        store.insert(key)
    assert store.counts() == {"a": 2, "a/b": 1}


def test_rewriting_a_key_does_not_count_it_twice(store: Store) -> None:
    store.insert("a/b")
    store.insert("a/b")
    store.insert("a/b", b"x", if_revision=99)
    assert store.counts() == {"a": 1}


def test_a_prefix_vanishes_with_its_last_key(store: Store) -> None:
    store.insert("a/b")
    store.insert("a/c")
    store.remove("a/b")
    assert store.counts() == {"a": 1}
    store.remove("a/b")
    assert store.counts() == {"a": 1}
    store.remove("a/c")
    assert store.counts() == {}


def test_only_a_separator_makes_a_path(store: Store) -> None:
    for key in ("a/b", "a_b", "ab/c", "a"):
        store.insert(key)
    assert store.counts() == {"a": 1, "ab": 1}
    store.remove("a_b")
    assert store.counts() == {"a": 1, "ab": 1}


def test_a_separator_at_an_end_is_part_of_the_key(store: Store) -> None:
    for key in ("/a", "a/", "b//c"):
        store.insert(key)
    assert store.counts() == {"a": 1, "b/": 1}


keys = st.sampled_from(["a", "a/b", "a/b/c", "a/c", "a_b", "/", "a/", "a//b", "é/ü"])
revisions = st.none() | st.integers(0, 6)
commands = st.builds(Insert, keys, st.binary(max_size=2), revisions) | st.builds(
    Remove, keys, revisions
)


@given(st.lists(commands, max_size=30))
def test_any_sequence_of_commands_matches_a_dict_model(sequence: list[Insert | Remove]) -> None:
    store = Store()
    model: dict[str, tuple[int, bytes]] = {}
    revision = 0
    for command in sequence:
        current, _ = model.get(command.key, (0, b""))
        allowed = command.if_revision in (None, current)
        if isinstance(command, Insert):
            result: object = store.key_value.insert(command, store.events)
            if allowed:
                revision += 1
                model[command.key] = (revision, command.value)
        else:
            result = store.key_value.remove(command, store.events)
            if allowed and command.key in model:
                revision += 1
                del model[command.key]
        assert isinstance(result, RevisionMismatch) == (not allowed)
        assert store.key_value.revision == revision
    held = {key: (value.revision, value.value) for key in model if (value := store.stored(key))}
    assert held == model
    assert len(store.values) == len(model)
    assert store.counts() == Counter(parent for key in model if (parent := parent_of(key)))
    assert [event.revision for event in store.events] == list(range(1, revision + 1))
