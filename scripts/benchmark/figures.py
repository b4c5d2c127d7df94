"""Figures: percentiles, rates, medians and ratios computed from latencies."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """The figures of one round, or the medians of several."""

    rate: float
    p50_ms: float
    p99_ms: float


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Return the smallest value that at least ``percent`` of the values do not exceed."""
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def summarize(latencies_ns: Sequence[int], duration_s: float, each: int = 1) -> Figures:
    """Return the figures of one round; each latency is of ``each`` operations."""
    if not latencies_ns:
        return Figures(rate=0.0, p50_ms=math.inf, p99_ms=math.inf)
    ordered = sorted(latencies_ns)
    return Figures(
        rate=len(ordered) * each / duration_s,
        p50_ms=percentile(ordered, 50) / 1e6,
        p99_ms=percentile(ordered, 99) / 1e6,
    )


def median_of(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the rounds."""
    return Figures(
        rate=statistics.median(each.rate for each in rounds),
        p50_ms=statistics.median(each.p50_ms for each in rounds),
        p99_ms=statistics.median(each.p99_ms for each in rounds),
    )


def ratio(ours: float, theirs: float) -> float | None:
    """Return ours divided by theirs, or None if that is meaningless."""
    return ours / theirs if theirs > 0 and math.isfinite(ours / theirs) else None
