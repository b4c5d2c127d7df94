"""When the log is cut, and how far."""

from protocol.compaction import LogLimits, LogSize

LIMITS = LogLimits(entries=10, bytes=1000)
NO_LIMIT = 1 << 40


def sized(*sizes: int, start: int = 0) -> LogSize:
    return LogSize(LIMITS, start, sizes)


def test_a_log_of_twice_the_kept_length_is_left_alone() -> None:
    assert sized(*[1] * 20).cut(NO_LIMIT) is None


def test_one_entry_more_cuts_it_to_the_kept_length() -> None:
    assert sized(*[1] * 21).cut(NO_LIMIT) == 11
    assert sized(*[1] * 21, start=100).cut(NO_LIMIT) == 111


def test_large_entries_cut_it_by_their_bytes() -> None:
    assert sized(500, 500, 500, 500).cut(NO_LIMIT) is None
    assert sized(500, 500, 500, 500, 1).cut(NO_LIMIT) == 3


def test_a_cut_never_passes_its_limit() -> None:
    assert sized(*[1] * 21).cut(5) == 5
    assert sized(*[1] * 21).cut(0) is None


def test_what_was_cut_or_replaced_weighs_nothing() -> None:
    size = sized(*[1] * 30)
    size.compact_to(25)
    assert size.bytes == 5
    size.truncate_from(28)
    assert size.bytes == 2
    size.append(7)
    assert size.bytes == 9
    assert size.cut(NO_LIMIT) is None


def test_a_log_that_begins_after_a_snapshot_is_empty() -> None:
    size = sized(1, 2, 3)
    size.truncate_from(0)
    size.compact_to(50)
    assert size.bytes == 0
    for _ in range(21):
        size.append(1)
    assert size.cut(NO_LIMIT) == 61
