"""Change history: which changes a node keeps, and the pages that it serves."""

import pytest
from msgspec.structs import replace

from protocol.compaction import HistoryLimits
from protocol.entry import EntryKind, LogEntry
from protocol.messages.client import WHOLE, ChangePage, Compacted, Failed, ReadBatch, ReadChanges
from protocol.messages.gateway import ReadsDone
from protocol.messages.storage import Append, Commit, ReadAt
from protocol.state.commands import (
    Batch,
    Command,
    Event,
    Insert,
    OpenSession,
    Remove,
    Transact,
    Write,
)
from protocol.storage import history, reader
from protocol.storage.writer import READ_BYTES_MAX, StorageWriter
from protocol.wire import decode_outcome, encode
from tests.harness.stored_node import NODE, StoredNode

LITTLE = HistoryLimits(changes=64, bytes=1 << 30, seconds=1 << 30)


class Store:
    """A node with a session, whose changes a test makes and reads."""

    def __init__(self, limits: HistoryLimits | None = None) -> None:
        self.node = StoredNode(history=limits)
        self._index = 1
        self._sequence = 0
        self._apply(Write(0, 0, 0, OpenSession()))

    def insert(self, *keys: str, value: bytes = b"v") -> None:
        """Write keys, each at a revision of its own."""
        for key in keys:
            self._write(Insert(key, value))

    def insert_together(self, *keys: str) -> None:
        """Write keys at one revision."""
        self._write(Transact((), tuple(Insert(key, b"v") for key in keys), ()))

    def remove(self, key: str) -> None:
        self._write(Remove(key))

    def read(
        self, after: int, position: int = WHOLE, prefix: str = "", *, prev_value: bool = False
    ) -> object:
        request = ReadChanges(prefix, after, position, prev_value=prev_value)
        payload = encode(ReadBatch((request,)))
        *_, done = self.node.turn(ReadAt(1, 0, payload, confirmed=True))
        assert isinstance(done, ReadsDone)
        return decode_outcome(bytes(done.outcomes[0]))

    def page(self, after: int, position: int = WHOLE, prefix: str = "") -> ChangePage:
        page = self.read(after, position, prefix)
        assert isinstance(page, ChangePage)
        return page

    def full_page(self, after: int, position: int = WHOLE) -> ChangePage:
        """Return a page with the values before the changes."""
        page = self.read(after, position, prev_value=True)
        assert isinstance(page, ChangePage)
        return page

    def oldest(self) -> int:
        """Return the oldest revision to read after, by asking for more than there is."""
        outcome = self.read(0)
        return outcome.oldest if isinstance(outcome, Compacted) else 0

    @property
    def writer(self) -> StorageWriter:
        return self.node.writer

    def _write(self, command: Command) -> None:
        self._sequence += 1
        self._apply(Write(1, self._sequence, self._sequence, command))

    def _apply(self, write: Write) -> None:
        self._index += 1
        batch = Batch(NODE, 1, self._index, (write,))
        self.node.apply(LogEntry(self._index, 1, EntryKind.BATCH, encode(batch)))


@pytest.fixture
def store() -> Store:
    return Store()


def keys(page: ChangePage) -> list[str]:
    return [event.key for event in page.events]


def test_changes_are_read_after_a_revision_in_order(store: Store) -> None:
    store.insert("a", "b", "a")
    page = store.page(1)
    assert page.events == (Event(2, "b", b"v", 0), Event(3, "a", b"v", 1))
    assert (page.revision, page.position, page.more) == (3, WHOLE, False)
    assert store.page(3) == ChangePage((), 3, WHOLE, more=False)


def test_changes_of_one_revision_are_read_after_a_position(store: Store) -> None:
    store.insert_together("a", "b", "c")
    store.insert("d")
    assert keys(store.page(0)) == ["a", "b", "c", "d"]
    assert keys(store.page(1, 0)) == ["b", "c", "d"]
    assert keys(store.page(1, 2)) == ["d"]
    assert keys(store.page(1)) == ["d"]


def test_only_changes_under_the_prefix_are_returned(store: Store) -> None:
    store.insert("a/b", "ab", "a/c", "a")
    assert keys(store.page(0, prefix="a/")) == ["a/b", "a/c"]
    assert keys(store.page(0, prefix="/")) == ["a/b", "ab", "a/c", "a"]


@pytest.mark.parametrize(
    ("limit", "value"), [("PAGE_EVENTS_MAX", 2), ("PAGE_EXAMINED_MAX", 1), ("PAGE_BYTES_MAX", 3)]
)
def test_pages_are_limited_and_continue(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(history, limit, value)
    store.insert_together("a", "b", "c")
    store.insert("d", "e")
    place, found = (0, WHOLE), list[str]()
    for _ in range(9):
        page = store.page(*place)
        found += keys(page)
        place = (page.revision, page.position)
        if not page.more:
            break
    assert (found, place) == (["a", "b", "c", "d", "e"], (3, WHOLE))


def test_a_page_without_changes_ends_at_what_it_may_examine(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE_EXAMINED_MAX", 4)
    store.insert_together("q/a", "ab", "ac")
    store.insert(*"bcdefghij", value=b"q")
    store.insert("q/b")
    pages = [store.page(0, prefix="q/")]
    while pages[-1].more:
        pages.append(store.page(pages[-1].revision, pages[-1].position, prefix="q/"))
    assert [(keys(page), page.revision, page.position) for page in pages] == [
        (["q/a"], 2, WHOLE),  # three changes of a row with the prefix, and a row without
        ([], 6, WHOLE),
        ([], 10, WHOLE),
        (["q/b"], 11, WHOLE),
    ]


def test_large_rows_count_by_their_size(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PAGE_EXAMINED_MAX", 8)
    store.insert(*"abcdef", value=bytes(4 << 10))
    page = store.page(0, prefix="q/")
    assert (page.events, page.revision, page.more) == ((), 2, True)


def test_pages_without_changes_share_the_limit_of_a_turn(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "EXAMINED_BYTES", READ_BYTES_MAX // 8)
    store.insert_together("a/1", "q", "a/2", "a/3")
    payload = encode(ReadBatch((ReadChanges("a/2", 0, WHOLE),) * 4))
    *_, done = store.node.turn(ReadAt(1, 0, payload, confirmed=True))
    assert isinstance(done, ReadsDone)
    assert len(done.outcomes) == 2


def test_the_values_before_the_changes_are_returned_where_they_are_asked_for(store: Store) -> None:
    store.insert("a", value=b"1")
    store.insert("a", value=b"2")
    store.remove("a")
    store.insert("a", value=b"3")
    page = store.full_page(0)
    assert [each.prev_value for each in page.events] == [None, b"1", b"2", None]
    assert page.prev_values
    assert store.page(0).events == tuple(replace(each, prev_value=None) for each in page.events)
    assert not store.page(0).prev_values


def test_previous_values_count_towards_a_page_and_survive_a_crash(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.insert("a", value=b"old")
    store.insert("a", "a", value=b"")
    monkeypatch.setattr(history, "PAGE_BYTES_MAX", 3)
    page = store.full_page(1)
    assert (page.events, page.more) == ((Event(2, "a", b"", 1, 0, b"old"),), True)
    assert len(store.page(1).events) == 2
    store.node.disk.write(sync=True)
    store.node.disk.finish_sync()
    store.node.crash()
    assert store.full_page(1) == page


def test_rows_of_an_older_version_have_no_previous_values(store: Store) -> None:
    store.insert("a", "a")
    row = encode(((2, "a", b"v", 1, 0),))
    store.node.disk.table("changes").put((2).to_bytes(8, "big"), row)
    assert store.full_page(1).events == (Event(2, "a", b"v", 1),)


def test_a_revision_from_the_future_is_an_error(store: Store) -> None:
    store.insert("a")
    outcome = store.read(2)
    assert isinstance(outcome, Failed)
    assert outcome.message == "revision 2 is from the future: the state has revision 1"


def test_the_oldest_changes_are_dropped_beyond_the_limit() -> None:
    store = Store(LITTLE)
    for number in range(200):
        store.insert(f"k/{number}")
    oldest = store.oldest()
    assert 200 - 68 <= oldest <= 200 - 60
    assert len(store.page(oldest).events) == 200 - oldest
    assert store.read(oldest - 1) == Compacted(oldest)


def test_the_rest_of_a_revision_is_dropped_with_it() -> None:
    store = Store(LITTLE)
    for number in range(200):
        store.insert_together(f"k/{number}", "k")
    oldest = store.oldest()
    assert store.read(oldest, 0) == Compacted(oldest)
    assert keys(store.page(oldest + 1, 0))[0] == "k"


def test_the_size_of_changes_is_limited() -> None:
    store = Store(HistoryLimits(changes=1 << 30, bytes=32_000, seconds=1 << 30))
    for number in range(100):
        store.insert(f"k/{number}", value=bytes(1000))
    assert 100 - 32 <= store.oldest() <= 100 - 28


def test_previous_values_count_towards_the_size_of_changes() -> None:
    store = Store(HistoryLimits(changes=1 << 30, bytes=64_000, seconds=1 << 30))
    store.insert(*["k"] * 100, value=bytes(1000))
    assert 100 - 32 <= store.oldest() <= 100 - 28


def test_changes_are_dropped_by_their_age() -> None:
    store = Store(HistoryLimits(changes=1 << 30, bytes=1 << 30, seconds=3200))
    for minute in range(100):
        store.writer.set_time(1e9 + 60.0 * minute)
        store.insert(f"k/{minute}")
    kept = 100 - store.oldest()
    assert 3200 // 60 <= kept <= 3200 // 60 + 5


def test_a_crash_leaves_history_and_state_in_agreement() -> None:
    store = Store(LITTLE)
    store.insert(*map(str, range(150)))
    before = store.page(store.oldest())
    store.node.disk.write(sync=True)
    store.node.disk.finish_sync()
    store.node.crash()
    assert store.page(store.oldest()) == before
    store.insert(*map(str, range(150)))
    assert 300 - 68 <= store.oldest() <= 300 - 60


def test_a_crash_that_loses_applied_changes_keeps_them_when_they_are_applied_again() -> None:
    store = Store()
    store.insert("a")
    entry = LogEntry(4, 1, EntryKind.BATCH, encode(Batch(NODE, 1, 4, (_write("b"),))))
    store.node.turn(Append(99, None, (entry,), None))
    store.node.turn(Commit(4))
    store.node.crash()
    store.node.turn(Commit(4))
    assert keys(store.page(0)) == ["a", "b"]


def test_a_state_that_was_changed_without_it_begins_a_new_history() -> None:
    store = Store()
    store.insert("a", "b")
    store.node.disk.table("changes").delete((2).to_bytes(8, "big"))
    store.node.disk.write(sync=True)
    store.node.disk.finish_sync()
    store.node.crash()
    assert (store.oldest(), store.page(2).events) == (2, ())
    store.insert("c")
    assert keys(store.page(2)) == ["c"]


def _write(key: str) -> Write:
    return Write(1, 2, 2, Insert(key, b"v"))
