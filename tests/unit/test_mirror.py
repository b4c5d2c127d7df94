"""Mirrored keys: whole revisions, beginnings anew and waiters, against a dict."""

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.client.mirror import Mirrored, MirroredKeys
from protocol.encoding import encode
from protocol.state.commands import Event
from skiff import DeserializeFailed
from skiff import Event as SkiffEvent
from skiff.mirroring import MirrorMapping, MirrorState

KEYS = st.sampled_from(["a", "b", "c", "d/e"])
WRITES = st.dictionaries(KEYS, st.none() | st.binary(max_size=2), min_size=1)


def begun(*entries: Event, revision: int = 10) -> MirroredKeys[str]:
    keys: MirroredKeys[str] = MirroredKeys()
    begin(keys, *entries, revision=revision)
    return keys


def begin(keys: MirroredKeys[str], *entries: Event, revision: int) -> list[Event]:
    for entry in entries:
        assert keys.take(entry, 0) == []
    return keys.take(Event(revision, "", None, 0), revision)


def test_the_entries_are_there_at_the_mark_and_not_before() -> None:
    keys: MirroredKeys[str] = MirroredKeys()
    entry = Event(3, "a", b"1", 0)
    assert keys.take(entry, 0) == []
    assert not keys.entries
    assert not keys.is_synced
    assert keys.take(Event(10, "", None, 0), 10) == [entry]
    assert keys.entries == {"a": Mirrored(b"1", 3)}
    assert keys.revision == 10
    assert keys.is_synced


def test_the_changes_of_one_revision_appear_together() -> None:
    keys = begun(Event(3, "a", b"1", 0))
    changes = [Event(11, "a", None, 3, 0), Event(11, "b", b"2", 0, 1)]
    assert keys.take(changes[0], 10) == []
    assert list(keys.entries) == ["a"]
    assert keys.take(changes[1], 11) == changes
    assert keys.entries == {"b": Mirrored(b"2", 11)}


def test_a_revision_whose_last_change_is_of_another_prefix_is_completed_by_a_mark() -> None:
    keys = begun()
    change = Event(11, "a", b"1", 0)
    assert keys.take(change, 10) == []
    assert keys.take(None, 12) == [change]
    assert keys.revision == 12


def test_a_change_that_completes_a_revision_waits_for_the_rest_of_its_own() -> None:
    keys = begun()
    changes = [Event(11, "a", b"1", 0), Event(12, "a", b"2", 11)]
    assert keys.take(changes[0], 10) == []
    assert keys.take(changes[1], 11) == changes[:1]
    assert keys.entries == {"a": Mirrored(b"1", 11)}
    assert keys.take(None, 12) == changes[1:]
    assert keys.entries == {"a": Mirrored(b"2", 12)}


def test_a_beginning_anew_yields_the_differences_as_changes() -> None:
    same, changed, gone = (Event(3, key, b"1", 0) for key in "abc")
    keys = begun(same, changed, gone)
    keys.take(Event(11, "a", b"lost", 3), 10)
    keys.begin_anew()
    assert not keys.is_synced
    assert set(keys.entries) == {"a", "b", "c"}, "the last state stays until then"
    changes = begin(keys, same, Event(20, "b", b"2", 0), Event(21, "d", b"3", 0), revision=30)
    assert changes == [
        Event(30, "c", None, 3),
        Event(20, "b", b"2", 3),
        Event(21, "d", b"3", 0),
    ]
    assert keys.sorted_keys == ["a", "b", "d"]
    assert keys.entries["a"].value == b"1"
    assert keys.revision == 30


def test_waiters_are_due_when_their_revision_is_applied() -> None:
    keys = begun()
    assert not keys.wait(10, "now")
    assert keys.wait(11, "first")
    assert keys.wait(12, "second")
    assert keys.wait(12, "impatient")
    keys.forget("impatient")
    keys.take(None, 11)
    assert keys.take_due() == ["first"]
    keys.take(None, 15)
    assert keys.take_due() == ["second"]
    assert keys.wait(16, "last")
    assert keys.take_waiters() == ["last"]


class Twin:
    """A mirror's core, and the dict that it must equal, fed by the same writes."""

    def __init__(self) -> None:
        self.keys = begun(revision=0)
        self.table: dict[str, Mirrored] = {}
        self.told: dict[str, Mirrored] = {}  # by the changes alone

    def write(self, revision: int, writes: dict[str, bytes | None]) -> list[Event]:
        """Change the dict; return the changes, as a node publishes them."""
        changes = []
        for key, value in writes.items():
            before = self.table.pop(key, None)
            if value is not None:
                self.table[key] = Mirrored(value, revision)
            if before is not None or value is not None:
                changes.append(Event(revision, key, value, before.revision if before else 0))
        return changes

    def lose(self, revision: int) -> None:
        """Begin anew at a revision."""
        self.keys.begin_anew()
        present = [Event(each.revision, key, each.value, 0) for key, each in self.table.items()]
        self.note(begin(self.keys, *present, revision=revision))

    def deliver(self, changes: list[Event], revision: int, *, late: bool) -> None:
        """Take changes one by one; a mark completes the revision of late ones."""
        for change in changes:
            is_last = change is changes[-1] and not late
            self.note(self.keys.take(change, revision if is_last else revision - 1))
        self.note(self.keys.take(None, revision))

    def note(self, applied: list[Event]) -> None:
        """Repeat what the core says that it has applied."""
        for each in applied:
            before = self.told.pop(each.key, None)
            assert each.prev_revision == (before.revision if before else 0)
            if each.value is not None:
                self.told[each.key] = Mirrored(each.value, each.revision)


@given(st.lists(WRITES, max_size=12), st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)))
def test_a_mirror_equals_a_dict_however_it_is_fed(
    revisions: list[dict[str, bytes | None]], lost: set[int], late: set[int]
) -> None:
    twin = Twin()
    for revision, writes in enumerate(revisions, start=1):
        changes = twin.write(revision, writes)
        if revision in lost:
            twin.lose(revision)
        else:
            twin.deliver(changes, revision, late=revision in late)
        assert twin.keys.entries == twin.table == twin.told
        assert twin.keys.sorted_keys == sorted(twin.table)
        assert twin.keys.revision == revision


# --- the mapping


def mapping(*entries: Event) -> tuple[MirrorState, MirrorMapping[int]]:
    state = MirrorState("", int, threading.Event())
    for entry in (*entries, Event(10, "", None, 0)):
        state.take(entry, entry.revision)
    return state, MirrorMapping[int](state)


def insert_many(state: MirrorState, *keys: str) -> None:
    """Apply the inserts of one transaction."""
    for position, key in enumerate(keys):
        state.take(Event(11, key, encode(1), 0, position), 10)
    state.take(None, 11)


def test_a_callback_that_was_ended_is_not_called_for_the_rest_of_a_transaction() -> None:
    state, mirror = mapping()
    seen: list[str] = []

    def once(event: SkiffEvent[int]) -> None:
        seen.append(event.key)
        end()

    end = mirror.on_change(once)
    others: list[str] = []
    mirror.on_change(lambda event: others.append(event.key))
    insert_many(state, "a", "b", "c")
    assert (seen, others) == (["a"], ["a", "b", "c"])


def test_no_callback_is_called_once_the_mirror_is_closed() -> None:
    state, mirror = mapping()
    seen: list[str] = []

    def closing(event: SkiffEvent[int]) -> None:
        seen.append(event.key)
        state.end(None)

    mirror.on_change(closing)
    insert_many(state, "a", "b", "c")
    assert seen == ["a"]


def test_a_callback_that_returns_a_coroutine_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    state, mirror = mapping()

    async def ignored() -> None:
        """Do nothing."""

    mirror.on_change(lambda _: ignored())
    insert_many(state, "a")
    assert "not one that returns coroutine" in caplog.text


def test_it_is_a_mapping_in_the_order_of_keys() -> None:
    _, mirror = mapping(Event(5, "b", encode(2), 0), Event(6, "a", encode(1), 0))
    assert mirror == {"a": 1, "b": 2}
    assert list(mirror) == ["a", "b"]
    assert list(mirror.items()) == [("a", 1), ("b", 2)]
    assert list(mirror.values()) == [1, 2]
    assert 2 in mirror.values()
    assert 3 not in mirror.values()
    assert mirror.get("c") is None
    assert mirror.revision_of("b") == 5
    assert mirror.revision_of("c") == 0
    with pytest.raises(KeyError):
        mirror["c"]


def test_a_search_of_its_values_shows_one_revision() -> None:
    state, mirror = mapping(Event(5, "a", encode(1), 0), Event(6, "b", encode(2), 0))

    class Remover:
        """A value that a change removes the others before it is compared with."""

        def __eq__(self, other: object) -> bool:
            state.take(Event(11, "b", None, 0), 11)
            return other == 2

        __hash__ = None  # type: ignore[assignment]

    assert Remover() in mirror.values()
    assert "b" not in mirror


def test_a_value_of_another_type_is_there_and_raises_when_it_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, mirror = mapping(Event(5, "a", encode("text"), 0))
    called: list[object] = []
    mirror.on_change(called.append)
    assert "a" in mirror
    assert len(mirror) == 1
    with pytest.raises(DeserializeFailed):
        mirror["a"]
    state.take(Event(11, "b", encode("text"), 0), 11)
    state.take(Event(12, "b", encode(2), 0), 12)
    assert mirror["b"] == 2
    assert len(called) == 1
    assert "callbacks were not called" in caplog.text


def test_a_callback_that_fails_is_logged_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, mirror = mapping()
    seen: list[tuple[str, int]] = []

    def fail(event: object) -> None:
        raise ZeroDivisionError

    mirror.on_change(fail)
    end = mirror.on_change(lambda event: seen.append((event.key, mirror[event.key])))
    with caplog.at_level(logging.ERROR):
        state.take(Event(11, "a", encode(1), 0), 11)
    assert seen == [("a", 1)], "it is called after the change was applied"
    assert "callback failed at 'a'" in caplog.text
    end()
    end()
    state.take(Event(12, "a", encode(2), 11), 12)
    assert seen == [("a", 1)]
