"""The parts of the benchmark without a cluster: figures, the trace's table and the division."""

import math
import sys
from pathlib import Path

import pytest

from scripts.benchmark.figures import Figures, median_of, percentile, ratio, summarize
from scripts.benchmark.foreign_process import ForeignFailed, ForeignProcess
from scripts.benchmark.results import Results
from scripts.benchmark.trace import Event, aggregate, read_events
from scripts.benchmark.workloads import WORKLOADS, split
from skiff.testing import wait_until


def a_put(batch: int, began: int, *, pace: int = 1_000) -> list[Event]:
    """Return the events of a put that passes a stage every ``pace`` nanoseconds."""
    path = [("aa", "received"), ("aa", "sent"), ("bb", "stored"), ("cc", "stored"), ("aa", "heard")]
    return [
        Event(t=began + step * pace, at=stage, batch=batch, node=node)
        for step, (node, stage) in enumerate(path)
    ]


def rows(events: list[Event]) -> list[tuple[str, str, float]]:
    return [(stage.place, stage.name, stage.median_us) for stage in aggregate(events)]


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0, 1)])
def test_a_percentile_is_one_of_the_values(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_the_percentiles_of_one_value_are_that_value() -> None:
    assert [percentile([7], percent) for percent in (0, 50, 99, 100)] == [7, 7, 7, 7]


def test_the_summary_of_a_round_ignores_the_order_of_its_latencies() -> None:
    figures = summarize([3_000_000, 1_000_000, 2_000_000], duration_s=0.5)
    assert figures == Figures(rate=6.0, p50_ms=2.0, p99_ms=3.0)


def test_a_round_without_replies_has_zero_rate_and_infinite_latency() -> None:
    assert summarize([], duration_s=1.0) == Figures(rate=0.0, p50_ms=math.inf, p99_ms=math.inf)


def test_each_figure_has_its_own_median() -> None:
    rounds = [Figures(100, 1, 90), Figures(300, 2, 10), Figures(200, 3, 20)]
    assert median_of(rounds) == Figures(rate=200, p50_ms=2, p99_ms=20)


def test_a_ratio_to_zero_is_undefined() -> None:
    assert ratio(300, 200) == 1.5
    assert ratio(300, 0) is None


def test_rates_are_compared_by_their_medians_once_both_are_measured() -> None:
    results = Results()
    results.rounds["put-1"]["skiff"] += [Figures(rate, 1, 1) for rate in (100, 300, 900)]
    assert results.rate_ratio("put-1") is None
    results.rounds["put-1"]["etcd"] += [Figures(rate, 1, 1) for rate in (50, 200, 250)]
    assert results.rate_ratio("put-1") == 1.5


def test_any_two_systems_are_compared() -> None:
    results = Results("keys", "no keys")
    for system, rate in (("skiff", 1), ("keys", 90), ("no keys", 100)):
        results.rounds["put-1"][system].append(Figures(rate, 1, 1))
    assert results.rate_ratio("put-1") == 0.9


def test_pauses_are_compared_by_their_medians() -> None:
    results = Results()
    results.pauses_ms["etcd"] += [1000, 1200, 3000]
    assert results.pause_ratio() is None
    results.pauses_ms["skiff"] += [300, 300, 900]
    assert results.pause_ratio() == 0.25


def test_stages_are_sorted_by_their_median_time_since_the_first() -> None:
    puts = [a_put(1, 0), a_put(2, 90_000, pace=3_000), a_put(3, 40_000, pace=2_000)]
    assert rows([event for put in puts for event in reversed(put)]) == [
        ("leader", "received", 0.0),
        ("leader", "sent", 2.0),
        ("follower 1", "stored", 4.0),
        ("follower 2", "stored", 6.0),
        ("leader", "heard", 8.0),
    ]


def test_a_stage_passed_twice_has_two_rows() -> None:
    again = Event(t=9_000, at="heard", batch=1, node="aa")
    assert rows([*a_put(1, 0), again])[-1] == ("leader", "heard (2)", 9.0)


def test_a_stage_of_few_batches_is_omitted() -> None:
    stall = Event(t=2_500, at="stalled", batch=1, node="aa")
    puts = [event for batch in range(1, 4) for event in a_put(batch, batch * 10_000)]
    assert "stalled" not in {stage.name for stage in aggregate([*puts, stall])}


def test_a_batch_that_begins_at_another_stage_is_omitted() -> None:
    compaction = Event(t=5, at="compacted", batch=9, node="bb")
    assert rows([*a_put(1, 0), *a_put(2, 7_000), compaction]) == rows(a_put(1, 0))


def test_no_events_make_an_empty_table() -> None:
    assert aggregate([]) == []


def test_an_incomplete_line_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.ndjson"
    file.write_text('{"t": 5, "at": "received", "batch": 1, "node": "aa"}\n{"t": 6, "at": "re')
    assert read_events([file]) == [Event(t=5, at="received", batch=1, node="aa")]


@pytest.mark.parametrize(
    ("total", "processes", "expected"), [(1, 2, [1]), (1000, 1, [1000]), (100, 3, [34, 33, 33])]
)
def test_work_is_divided_evenly_and_no_process_is_idle(
    total: int, processes: int, expected: list[int]
) -> None:
    assert split(total, processes) == expected


def test_every_row_of_the_table_fits_80_columns() -> None:
    assert max(len(workload.title) for workload in WORKLOADS) <= 24


def test_a_server_that_has_ended_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = ForeignProcess("store 2", tmp_path)
    server.start([sys.executable, "-c", "print('Address already in use')"])
    with pytest.raises(ForeignFailed, match="store 2 has ended: Address already in use"):
        wait_until(server.check_alive, "the server has ended")
    server.kill()
