"""High-water mark: a client reads no older state than it has seen."""

from protocol.client.high_water import HighWaterMark
from protocol.messages.client import (
    ANY_STALENESS,
    Done,
    Failed,
    FailureCode,
    Get,
    Hello,
    ListKeys,
    Names,
    ReadSnapshot,
    Scan,
)
from protocol.state.commands import (
    Found,
    Inserted,
    Missing,
    RevisionMismatch,
    SessionOpened,
)


def test_the_newest_revision_of_all_outcomes_counts() -> None:
    mark = HighWaterMark()
    for outcome in (Inserted(5), Missing(7), Found(6, 1, 2, 1, b""), Names(3, (), more=False)):
        mark.note(outcome)
    for without in (Done(), None, SessionOpened(99), Failed(FailureCode.UNKNOWN, "")):
        mark.note(without)
    assert mark.revision == 7


def test_reads_that_a_node_may_serve_from_an_older_state_require_it() -> None:
    mark = HighWaterMark()
    mark.note(Inserted(5))
    assert mark.require(Get("k", leader_lease=True)) == Get("k", leader_lease=True, min_revision=5)
    stale = ListKeys("", 1, max_staleness_ms=ANY_STALENESS, min_revision=9)
    assert mark.require(stale) == stale


def test_a_refused_write_shows_the_revision_of_its_key() -> None:
    mark = HighWaterMark()
    mark.note(RevisionMismatch(6))
    assert mark.revision == 6


def test_a_stale_scan_goes_on_at_the_revision_of_its_first_page() -> None:
    mark = HighWaterMark()
    mark.note(Inserted(5))
    following = Scan(b"s" * 16, "", 9, "a", revision=3, max_staleness_ms=ANY_STALENESS)
    assert mark.require(following) is following
    first = Scan(b"s" * 16, "", 9, max_staleness_ms=ANY_STALENESS)
    required = mark.require(first)
    assert isinstance(required, Scan)
    assert required.min_revision == 5


def test_linearizable_reads_and_other_operations_stay_as_they_are() -> None:
    mark = HighWaterMark()
    mark.note(Inserted(5))
    for operation in (Get("k"), Get("k", min_revision=3), Hello(), ReadSnapshot(b"b" * 16, None)):
        assert mark.require(operation) is operation
