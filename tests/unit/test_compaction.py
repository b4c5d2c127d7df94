"""Compaction: when the log is cut, and how far."""

import pytest

from protocol.compaction import Amount, LogLimits, LogSize

LIMITS = LogLimits(entries=10, bytes=1000)
NO_LIMIT = 1 << 40


def sized(*sizes: int, start: int = 0) -> LogSize:
    return LogSize(LIMITS, start, sizes)


def test_a_log_of_twice_the_kept_length_is_left_alone() -> None:
    assert sized(*[1] * 20).cut(NO_LIMIT) is None


def test_one_more_entry_cuts_the_log_to_the_kept_length() -> None:
    assert sized(*[1] * 21).cut(NO_LIMIT) == 11
    assert sized(*[1] * 21, start=100).cut(NO_LIMIT) == 111


def test_large_entries_cut_the_log_by_their_bytes() -> None:
    assert sized(500, 500, 500, 500).cut(NO_LIMIT) is None
    assert sized(500, 500, 500, 500, 1).cut(NO_LIMIT) == 3


def test_a_cut_never_passes_its_limit() -> None:
    assert sized(*[1] * 21).cut(5) == 5
    assert sized(*[1] * 21).cut(0) is None


def test_cut_and_replaced_entries_do_not_count() -> None:
    size = sized(*[1] * 30)
    size.compact_to(25)
    assert size.between(0, 30) == Amount(5, 5)
    size.truncate_from(28)
    assert size.between(0, 30) == Amount(2, 2)
    size.append(7)
    assert size.between(0, 30) == Amount(3, 9)
    assert size.cut(NO_LIMIT) is None


def test_the_size_between_two_entries_counts_only_existing_ones() -> None:
    size = sized(1, 2, 4, 8, start=100)
    assert size.between(101, 103) == Amount(2, 6)
    assert size.between(0, NO_LIMIT) == Amount(4, 15)
    assert size.between(103, 102) == size.between(200, 300) == Amount()
    size.compact_to(102)
    assert size.between(100, 104) == Amount(2, 12)


@pytest.mark.parametrize(
    ("held", "read", "is_too_much"),
    [
        (Amount(160, 16_000), Amount(), False),
        (Amount(161, 1), Amount(), True),
        (Amount(1, 16_001), Amount(), True),
        (Amount(165, 100), Amount(5, 50), False),
        (Amount(166, 100), Amount(5, 50), True),
        (Amount(166, 100), Amount(5, 100), False),
        (Amount(160, 16_050), Amount(5, 50), False),
        (Amount(160, 16_051), Amount(5, 50), True),
        (Amount(160, 16_051), Amount(1 << 40, 50), True),
    ],
)
def test_a_snapshot_reader_extends_its_log_retention_as_it_reads(
    held: Amount, read: Amount, is_too_much: bool
) -> None:
    assert sized().is_too_much(held, read) == is_too_much


def test_a_log_that_begins_after_a_snapshot_is_empty() -> None:
    size = sized(1, 2, 3)
    size.truncate_from(0)
    size.compact_to(50)
    assert size.between(0, 50) == Amount()
    for _ in range(21):
        size.append(1)
    assert size.cut(NO_LIMIT) == 61
