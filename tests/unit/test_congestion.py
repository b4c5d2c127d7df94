"""Congestion: only connections of subscribers that hold up others are closed."""

from collections.abc import Mapping

from protocol.gateway.congestion import SLOW_SECONDS, STUCK_SECONDS, Congestion, Load

STEP = 0.02


def closed_at(*readings: Mapping[int, int | None]) -> dict[int, float]:
    """Check connections step by step; return when each was to be closed."""
    congestion = Congestion()
    closed: dict[int, float] = {}
    for step, reading in enumerate(readings):
        loads = {
            each: Load(acknowledged) for each, acknowledged in reading.items() if each not in closed
        }
        for each in congestion.look(loads, step * STEP, step * STEP):
            closed[each] = step * STEP
    return closed


def test_a_stuck_connection_is_closed_and_a_slow_one_is_kept() -> None:
    closed = closed_at(*[{1: 500, 2: 1000 * step} for step in range(8)])
    assert closed.keys() == {1}
    assert closed[1] <= STUCK_SECONDS + 2 * STEP


def test_a_slow_connection_is_closed_if_the_congestion_lasts() -> None:
    closed = closed_at(*[{2: 1000 * step} for step in range(20)])
    assert closed.keys() == {2}
    assert SLOW_SECONDS - STEP <= closed[2] <= SLOW_SECONDS + 2 * STEP


def test_a_connection_that_drains_occasionally_is_kept() -> None:
    readings: list[dict[int, int | None]] = [{3: 7} if step % 4 else {} for step in range(50)]
    assert closed_at(*readings) == {}


def test_without_system_statistics_a_full_connection_is_closed_eventually() -> None:
    readings: list[dict[int, int | None]] = [{4: None}] * 20
    closed = closed_at(*readings)
    assert SLOW_SECONDS - STEP <= closed[4] <= SLOW_SECONDS + 2 * STEP


def test_suspicion_of_a_connection_is_reset_once_everything_is_sent() -> None:
    congestion = Congestion()
    for step in range(4):
        assert congestion.look({1: Load(5)}, step * STEP, step * STEP) == []
    congestion.end()
    assert congestion.look({1: Load(5)}, 0.0, 10.0) == []
