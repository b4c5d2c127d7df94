"""Log: the entries that its window holds, replaces, skips and drops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.entry import EntryKind, LogEntry
from protocol.raft import log
from protocol.raft.log import ENTRY_OVERHEAD_BYTES, Log


def entries(*terms: int, after: int = 0, payload: bytes = b"") -> list[LogEntry]:
    return [
        LogEntry(index, term, EntryKind.BATCH, payload)
        for index, term in enumerate(terms, start=after + 1)
    ]


def log_of(*terms: int) -> Log:
    return Log(0, 0, entries(*terms))


def test_an_empty_log_ends_before_its_first_entry() -> None:
    empty = log_of()
    assert (empty.last_index, empty.last_term) == (0, 0)
    assert empty.matches(0, 0)
    assert not empty.matches(1, 0)


def test_a_window_remembers_the_term_before_it() -> None:
    window = Log(7, 3, entries(3, 4, after=7))
    assert (window.last_index, window.last_term) == (9, 4)
    assert [window.term_at(index) for index in (6, 7, 8, 9, 10)] == [None, 3, 3, 4, None]


def test_entries_before_the_window_always_match() -> None:
    window = Log(7, 3, [])
    assert window.matches(6, 99)
    assert window.matches(7, 3)
    assert not window.matches(7, 2)


def test_replacing_entries_truncates_the_rest_of_the_log() -> None:
    diverged = log_of(1, 1, 2, 2)
    diverged.replace_from(entries(3, after=2))
    assert [diverged.term_at(index) for index in range(1, 5)] == [1, 1, 3, None]


def test_a_gap_between_entries_is_an_error() -> None:
    with pytest.raises(AssertionError):
        log_of(1).replace_from(entries(1, after=2))


def test_only_absent_or_differing_entries_are_new() -> None:
    held = log_of(1, 1, 2)
    assert held.new_among(entries(1, 1)) == ()
    assert list(held.new_among(entries(1, 1, 2, 2))) == entries(2, after=3)
    assert list(held.new_among(entries(1, 3, 3))) == entries(3, 3, after=1)


def test_a_slice_holds_at_least_one_entry_and_then_up_to_its_size() -> None:
    held = Log(0, 0, entries(1, 1, 1, payload=b"x" * 100))
    cost = 100 + ENTRY_OVERHEAD_BYTES
    assert len(held.slice(1, 0)) == 1
    assert len(held.slice(1, 2 * cost)) == 2
    assert len(held.slice(2, 1 << 20)) == 2
    assert held.slice(4, 1 << 20) == ()


def test_payloads_are_summed_between_two_entries() -> None:
    held = Log(5, 1, entries(1, 1, 1, after=5, payload=b"abc"))
    assert held.payload_bytes(6, 8) == 9
    assert held.payload_bytes(7, 7) == 3
    assert held.payload_bytes(9, 8) == 0


def test_an_oversized_window_drops_its_oldest_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "WINDOW_BYTES_MAX", 2 * ENTRY_OVERHEAD_BYTES)
    held = log_of(1, 2, 3, 4, 5)
    held.trim(up_to=2)
    assert (held.prev_index, held.term_at(2), held.last_index) == (2, 2, 5)
    held.trim(up_to=5)
    assert (held.prev_index, held.term_at(3), held.last_index) == (3, 3, 5)


def test_a_small_window_keeps_all_entries() -> None:
    held = log_of(1, 2, 3)
    held.trim(up_to=3)
    assert held.prev_index == 0


logs = st.lists(st.integers(1, 5), max_size=12).map(sorted)


@given(logs, logs)
def test_up_to_date_is_a_total_order_of_last_term_and_then_length(
    one: list[int], other: list[int]
) -> None:
    here, there = log_of(*one), log_of(*other)
    behind = here.accepts_candidate_log(there.last_index, there.last_term)
    ahead = there.accepts_candidate_log(here.last_index, here.last_term)
    assert behind or ahead
    assert (behind and ahead) == ((len(one), one[-1:]) == (len(other), other[-1:]))


@given(logs, st.integers(0, 15), st.integers(0, 6))
def test_no_entry_after_the_hint_can_agree(terms: list[int], index: int, term: int) -> None:
    held = log_of(*terms)
    hint, hint_term = held.find_agreement(index, term)
    assert hint <= index
    assert hint == 0 or hint_term <= term
    assert all(
        (held.term_at(each) or 0) > term for each in range(hint + 1, min(index, len(terms)) + 1)
    )
