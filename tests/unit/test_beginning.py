"""Beginning of a watch: entries at one revision, over pages of one scan, or of another one."""

from protocol.client.beginning import ATTEMPTS_MAX, Beginning
from protocol.client.pages import PAGE_ENTRIES
from protocol.messages.client import Page, Scan, ScannedEntry
from protocol.state.commands import Event

FIRST, SECOND = b"1" * 16, b"2" * 16


def page(revision: int, *keys: str, more: bool = False) -> Page:
    entries = tuple(ScannedEntry(key, 1, 3, 2, b"v") for key in keys)
    return Page(revision, entries, len(keys), keys[-1] if keys else "", more)


def is_over(beginning: Beginning) -> bool:
    return beginning.is_over


def insert(key: str) -> Event:
    return Event(3, key, b"v", 0)


def test_the_pages_of_one_scan_make_the_entries() -> None:
    beginning = Beginning("k/")
    assert beginning.request(FIRST) == Scan(FIRST, "k/", PAGE_ENTRIES)
    beginning.take(page(7, "k/a", "k/b", more=True))
    assert not is_over(beginning)
    following = Scan(FIRST, "k/", PAGE_ENTRIES, start_after="k/b", revision=7)
    assert beginning.request(SECOND) == following
    beginning.take(page(7, "k/c"))
    assert is_over(beginning)
    assert (beginning.entries, beginning.revision) == ([*map(insert, ("k/a", "k/b", "k/c"))], 7)


def test_without_entries_there_is_a_revision() -> None:
    beginning = Beginning("k/")
    assert not is_over(beginning)
    beginning.request(FIRST)
    beginning.take(page(7))
    assert (is_over(beginning), beginning.entries, beginning.revision) == (True, [], 7)


def test_a_scan_whose_view_is_gone_begins_anew_without_its_entries() -> None:
    beginning = Beginning("k/")
    beginning.request(FIRST)
    beginning.take(page(7, "k/a", more=True))
    assert beginning.begin_anew()
    assert beginning.request(SECOND) == Scan(SECOND, "k/", PAGE_ENTRIES)
    beginning.take(page(9, "k/b"))
    assert (beginning.entries, beginning.revision) == ([insert("k/b")], 9)


def test_the_number_of_scans_is_limited() -> None:
    beginning = Beginning("k/")
    assert [beginning.begin_anew() for _ in range(ATTEMPTS_MAX)] == [
        *[True] * (ATTEMPTS_MAX - 1),
        False,
    ]
