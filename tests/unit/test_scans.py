"""Scans: all pages of a scan show one revision, in either direction, or the scan ends."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.entry import EntryKind, LogEntry
from protocol.messages.client import (
    Failed,
    FailureCode,
    FoundMany,
    Get,
    GetMany,
    ListKeys,
    Names,
    Page,
    ReadBatch,
    ReadOperation,
    Scan,
)
from protocol.messages.gateway import ReadsDone
from protocol.messages.storage import ReadAt
from protocol.state.commands import Batch, Found, Insert, Missing, OpenSession, Remove, Write
from protocol.storage import scans
from protocol.storage.reader import MANY_BYTES_MAX
from protocol.storage.scans import ACTIVE_SECONDS, ENDED_MAX, PAGE_BYTES_MAX, RETRY_MS
from protocol.wire import decode_outcome, encode
from tests.harness.stored_node import NODE, StoredNode

SCAN = b"s" * 16
VIEWS = 4  # of a node with few
IDS = [bytes([number]) * 16 for number in range(VIEWS + 1)]
KEYS = st.text("ab/é\x7f", min_size=1, max_size=4)


class Store:
    """A node with a session, whose keys a test writes and reads."""

    def __init__(self) -> None:
        self.node = StoredNode()
        self._index = 1
        self._sequence = 0
        self._apply(Write(0, 0, 0, OpenSession()))

    def insert(self, *keys: str, value: bytes = b"v") -> None:
        for key in keys:
            self._write(Insert(key, value))

    def remove(self, key: str) -> None:
        self._write(Remove(key))

    def read(self, operation: ReadOperation) -> object:
        return self.done(operation)[0]

    def done(self, *operations: ReadOperation) -> list[object]:
        *_, done = self.node.turn(ReadAt(1, 0, encode(ReadBatch(operations)), confirmed=True))
        assert isinstance(done, ReadsDone)
        self.behind = done.behind
        return [decode_outcome(bytes(each)) for each in done.outcomes]

    def page(self, scan: Scan) -> Page:
        page = self.read(scan)
        assert isinstance(page, Page)
        return page

    def pages(self, scan: Scan) -> Iterator[Page]:
        """Yield all pages of a scan."""
        while True:
            page = self.page(scan)
            yield page
            if not page.more:
                return
            scan = msgspec.structs.replace(scan, start_after=page.end, revision=page.revision)

    def _write(self, command: Insert | Remove) -> None:
        self._sequence += 1
        self._apply(Write(1, self._sequence, self._sequence, command))

    def _apply(self, write: Write) -> None:
        self._index += 1
        batch = Batch(NODE, 1, self._index, (write,))
        self.node.apply(LogEntry(self._index, 1, EntryKind.BATCH, encode(batch)))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def few_views(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A node with three keys that keeps few views."""
    monkeypatch.setattr(scans, "SCANS_MAX", VIEWS)
    store = Store()
    store.insert("a", "b", "c")
    return store


def keys(page: Page) -> list[str]:
    return [entry.key for entry in page.entries]


def gone(outcome: object) -> bool:
    return isinstance(outcome, Failed) and outcome.code is FailureCode.VIEW_GONE


def test_later_pages_show_the_revision_of_the_first(store: Store) -> None:
    store.insert("a", "b", "c", "d")
    pages = store.pages(Scan(SCAN, "", 2))
    first = next(pages)
    store.remove("d")
    store.insert("c", "e", value=b"new")
    second = next(pages)
    assert (keys(first), keys(second)) == (["a", "b"], ["c", "d"])
    assert (first.revision, second.revision) == (4, 4)
    assert (second.entries[0].value, second.entries[0].mod_revision) == (b"v", 3)
    assert (first.more, second.more) == (True, False)
    assert keys(store.page(Scan(SCAN, "", 9))) == ["a", "b", "c", "e"]


def test_entries_have_their_history(store: Store) -> None:
    store.insert("a")
    store.insert("a", value=b"new")
    (entry,) = store.page(Scan(SCAN, "", 9)).entries
    assert (entry.create_revision, entry.mod_revision, entry.version, entry.value) == (
        1,
        2,
        2,
        b"new",
    )


def test_a_page_of_another_revision_or_of_an_unknown_scan_is_gone(store: Store) -> None:
    store.insert("a", "b", "c")
    store.page(Scan(SCAN, "", 1))
    assert gone(store.read(Scan(b"other scan 12345", "", 1, "a", revision=3)))
    assert gone(store.read(Scan(SCAN, "", 1, "a", revision=2)))
    assert gone(store.read(Scan(SCAN, "", 1, "a", revision=3))), "and ends the scan"


def test_the_last_page_may_be_read_again_until_some_others_were(store: Store) -> None:
    store.insert("a", "b")
    last = Scan(SCAN, "", 1, "a", revision=2)
    for number in range(ENDED_MAX):
        list(store.pages(Scan(number.to_bytes(16), "", 1)))
        if not number:
            list(store.pages(Scan(SCAN, "", 1)))
            store.insert("c")
            assert keys(store.page(last)) == ["b"], "as at the scan's revision"
    assert keys(store.page(last)) == ["b"]
    for number in range(ENDED_MAX):
        list(store.pages(Scan(number.to_bytes(16), "", 1)))
    assert gone(store.read(last))


def test_no_view_is_kept_after_all_that_a_client_wants(store: Store) -> None:
    store.insert("a", "b", "c")
    assert store.page(Scan(SCAN, "", 2, is_last=True)).more
    assert gone(store.read(Scan(SCAN, "", 1, "b", revision=3)))
    large = bytes(PAGE_BYTES_MAX)
    store.insert("a", value=large)
    page = store.page(Scan(SCAN, "", 3, is_last=True))
    assert keys(page) == ["a"], "a page has a limit of its own"
    rest = Scan(SCAN, "", 2, "a", revision=page.revision, is_last=True)
    assert keys(store.page(rest)) == ["b", "c"]


def test_a_repeated_first_page_begins_a_newer_view(store: Store) -> None:
    store.insert("a", "b")
    store.page(Scan(SCAN, "", 1))
    store.insert("c")
    again = store.page(Scan(SCAN, "", 1))
    assert again.revision == 3
    assert keys(store.page(Scan(SCAN, "", 9, "a", revision=3))) == ["b", "c"]


def test_a_newer_scan_beyond_the_limit_ends_the_one_that_was_idle_for_longest(
    few_views: Store,
) -> None:
    store, ids = few_views, IDS
    for each in ids[:-1]:
        store.page(Scan(each, "", 1))
    store.node.writer.set_time(ACTIVE_SECONDS)
    store.page(Scan(ids[0], "", 1, "a", revision=3))
    store.page(Scan(ids[-1], "", 1))
    assert gone(store.read(Scan(ids[1], "", 1, "a", revision=3)))
    assert keys(store.page(Scan(ids[0], "", 1, "b", revision=3))) == ["c"]


def test_a_newer_scan_waits_while_all_views_are_read(few_views: Store) -> None:
    store = few_views
    for each in IDS[:-1]:
        store.page(Scan(each, "", 1))
    refused = store.read(Scan(IDS[-1], "", 1))
    assert isinstance(refused, Failed)
    assert (refused.code, refused.retry_after_ms) == (FailureCode.OVERLOADED, RETRY_MS)
    store.page(Scan(IDS[0], "", 2))  # its first page once more, for which it has a view
    assert keys(store.page(Scan(IDS[0], "", 2, "b", revision=3))) == ["c"]
    assert keys(store.page(Scan(IDS[-1], "", 1))) == ["a"]
    assert keys(store.page(Scan(IDS[1], "", 1, "a", revision=3))) == ["b"]


def test_a_scan_that_needs_no_view_never_waits(
    few_views: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = few_views
    for each in IDS[:-1]:
        store.page(Scan(each, "", 1))
    assert keys(store.page(Scan(IDS[-1], "", 3))) == ["a", "b", "c"]
    assert keys(store.page(Scan(IDS[-1], "", 2, is_last=True))) == ["a", "b"]
    monkeypatch.setattr(scans, "WAITING_ENTRIES_MAX", 2)
    assert isinstance(store.read(Scan(IDS[-1], "", 3, is_last=True)), Failed)
    for each in IDS[:-1]:
        assert keys(store.page(Scan(each, "", 1, "a", revision=3))) == ["b"]


def test_an_idle_scan_ends_after_many_changes_and_a_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "IDLE_REVISIONS_MAX", 3)
    store.insert("a", "b", "c")
    store.page(Scan(SCAN, "", 1))
    store.insert("x", "y", "z")
    store.page(Scan(SCAN, "", 1, "a", revision=3))
    store.insert("x", "y", "z")
    assert keys(store.page(Scan(SCAN, "", 1, "b", revision=3))) == ["c"]
    store.page(Scan(SCAN, "", 1))
    store.insert("p", "q", "r", "s")
    assert keys(store.page(Scan(SCAN, "", 1, "a", revision=9))) == ["b"], "its reader is slow"
    store.node.writer.set_time(60.0)
    store.insert("p", "q", "r")
    assert keys(store.page(Scan(SCAN, "", 1, "b", revision=9))) == ["c"]
    store.insert("p", "q", "r")
    store.node.writer.set_time(120.0)
    store.insert("s")
    assert gone(store.read(Scan(SCAN, "", 1, "c", revision=9)))


@pytest.mark.parametrize(
    ("counts", "limit"), [(False, "PAGE_ENTRIES_MAX"), (True, "PAGE_COUNT_MAX")]
)
def test_a_page_has_a_limit_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: str, *, counts: bool
) -> None:
    monkeypatch.setattr(scans, limit, 2)
    store.insert("a", "b", "c", "d", "e")
    pages = list(store.pages(Scan(SCAN, "", 1 << 60, counts=counts)))
    assert [page.count for page in pages] == [2, 2, 1]
    assert [len(page.entries) for page in pages] == ([0, 0, 0] if counts else [2, 2, 1])


def test_a_page_of_large_values_ends_early(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "PAGE_BYTES_MAX", 100)
    store.insert("a", "b", "c", value=bytes(99))
    assert [keys(page) for page in store.pages(Scan(SCAN, "", 9))] == [["a"], ["b"], ["c"]]


@given(
    st.sets(KEYS),
    KEYS | st.just("") | st.just("/"),
    st.none() | KEYS,
    st.integers(1, 3),
    st.booleans(),
)
def test_pages_have_the_keys_under_the_prefix_in_order(
    names: set[str], prefix: str, start_after: str | None, limit: int, reverse: bool
) -> None:
    store = Store()
    store.insert(*names)
    under = [each for each in names if each.startswith("" if prefix == "/" else prefix)]
    expected = sorted(under, key=str.encode, reverse=reverse)
    if start_after is not None:
        after = start_after.encode()
        expected = [e for e in expected if (e.encode() < after if reverse else e.encode() > after)]
    scan = Scan(SCAN, prefix, limit, start_after, reverse=reverse)
    assert [key for page in store.pages(scan) for key in keys(page)] == expected
    counted = store.pages(msgspec.structs.replace(scan, counts=True))
    assert sum(page.count for page in counted) == len(expected)
    listed = store.read(ListKeys(prefix, 100, start_after, reverse=reverse))
    assert isinstance(listed, Names)
    assert list(listed.names) == expected


# --- several keys at once, and revisions that the state must have


def test_many_keys_are_read_at_one_revision(store: Store) -> None:
    store.insert("a", "b")
    found = store.read(GetMany(("b", "none", "a")))
    assert found == FoundMany(2, (Found(2, 2, 2, 1, b"v"), Missing(2), Found(2, 1, 1, 1, b"v")))


def test_many_large_values_are_refused(store: Store) -> None:
    store.insert("a", "b", value=bytes(MANY_BYTES_MAX // 2 + 1))
    refused = store.read(GetMany(("a", "b")))
    assert isinstance(refused, Failed)
    assert (refused.code, "ask for fewer keys" in refused.message) == (FailureCode.INVALID, True)
    assert isinstance(store.read(GetMany(("a",))), FoundMany)


def test_a_read_that_needs_a_later_revision_is_marked(store: Store) -> None:
    store.insert("a", "b")
    behind, found = store.done(Get("a", min_revision=3), Get("a", min_revision=2))
    assert isinstance(behind, Failed)
    assert behind.message == "revision 3 is from the future: the state has revision 2"
    assert (found, store.behind) == (Found(2, 1, 1, 1, b"v"), (0,))
