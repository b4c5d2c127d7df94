"""Initial entries of a watch: all at one revision, over pages of one scan, or of another one."""

from protocol.client.initial_entries import ATTEMPTS_MAX, InitialEntries
from protocol.client.pages import PAGE_ENTRIES
from protocol.messages.client import Page, Scan, ScannedEntry
from protocol.state.commands import Event

FIRST, SECOND = b"1" * 16, b"2" * 16


def page(revision: int, *keys: str, more: bool = False) -> Page:
    entries = tuple(ScannedEntry(key, 1, 3, 2, b"v") for key in keys)
    return Page(revision, entries, len(keys), keys[-1] if keys else "", more)


def is_over(initial: InitialEntries) -> bool:
    return initial.is_over


def insert(key: str) -> Event:
    return Event(3, key, b"v", 0)


def test_the_pages_of_one_scan_make_the_entries() -> None:
    initial = InitialEntries("k/")
    assert initial.request(FIRST) == Scan(FIRST, "k/", PAGE_ENTRIES)
    initial.take(page(7, "k/a", "k/b", more=True))
    assert not is_over(initial)
    following = Scan(FIRST, "k/", PAGE_ENTRIES, start_after="k/b", revision=7)
    assert initial.request(SECOND) == following
    initial.take(page(7, "k/c"))
    assert is_over(initial)
    assert (initial.entries, initial.revision) == ([*map(insert, ("k/a", "k/b", "k/c"))], 7)


def test_without_entries_there_is_a_revision() -> None:
    initial = InitialEntries("k/")
    assert not is_over(initial)
    initial.request(FIRST)
    initial.take(page(7))
    assert (is_over(initial), initial.entries, initial.revision) == (True, [], 7)


def test_a_scan_whose_view_is_gone_begins_anew_without_its_entries() -> None:
    initial = InitialEntries("k/")
    initial.request(FIRST)
    initial.take(page(7, "k/a", more=True))
    assert initial.begin_anew()
    assert initial.request(SECOND) == Scan(SECOND, "k/", PAGE_ENTRIES)
    initial.take(page(9, "k/b"))
    assert (initial.entries, initial.revision) == ([insert("k/b")], 9)


def test_the_number_of_scans_is_limited() -> None:
    initial = InitialEntries("k/")
    assert [initial.begin_anew() for _ in range(ATTEMPTS_MAX)] == [
        *[True] * (ATTEMPTS_MAX - 1),
        False,
    ]
