"""The fan-out of the benchmark: pace, stamps, latencies and the check for missing events."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scripts.benchmark import fan_out
from scripts.benchmark.client import LoopClient
from scripts.benchmark.fan_out import (
    EventsMissing,
    began_at,
    drive_paced,
    drive_watches,
    latencies_of_events,
    stamped,
)
from scripts.benchmark.job import Job, Window

MS = 1_000_000
JOB = Job("watch-2", "put", client=0, in_flight=2, addresses=["a"], puts_a_second=500)


class Writes:
    """A client that notes the puts; each takes a while."""

    def __init__(self, put_s: float) -> None:
        self.began: list[int] = []
        self.in_flight = self.in_flight_max = self.in_flight_at_last = 0
        self._put_s = put_s

    async def put(self, key: str, value: bytes) -> None:
        assert key.startswith(JOB.prefix)
        self.began.append(began_at(value))
        self.in_flight_at_last = self.in_flight
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        await asyncio.sleep(self._put_s)
        self.in_flight -= 1

    async def close(self) -> None:
        pass


class Received:
    """A client whose watches yield prepared values, then wait or end."""

    def __init__(self, *watches: Sequence[int], ends: bool = True) -> None:
        self._watches = watches
        self._ends = ends

    async def watch(self, prefix: str, subscribers: int) -> list[AsyncIterator[Any]]:
        assert (prefix, subscribers) == (JOB.prefix, len(self._watches))
        return [self._changes(watch) for watch in self._watches]

    async def _changes(self, watch: Sequence[int]) -> AsyncIterator[Any]:
        for began_ns in watch:
            yield SimpleNamespace(value=stamped(began_ns, JOB.value_bytes))
        if not self._ends:
            await asyncio.Event().wait()

    async def close(self) -> None:
        pass


def connecting(client: object) -> Callable[[Sequence[str]], LoopClient]:
    return lambda _addresses: cast("LoopClient", client)


def receive(*watches: Sequence[int], window: Window, ends: bool = True) -> list[int]:
    client = Received(*watches, ends=ends)
    return drive_watches(connecting(client), JOB, lambda: window)


def past_window() -> Window:
    now_ns = time.monotonic_ns()
    return Window(now_ns - 100 * MS, now_ns)


def test_a_value_of_any_size_tells_when_its_write_began() -> None:
    value = stamped(123_456_789_012_345, 256)
    assert (len(value), began_at(value)) == (256, 123_456_789_012_345)


def test_writes_do_not_wait_for_each_other_and_the_last_one_waits_for_all() -> None:
    client = Writes(put_s=0.02)
    windows: list[Window] = []

    def gate() -> Window:
        start_ns = time.monotonic_ns() + 5 * MS
        windows.append(Window(start_ns, start_ns + 100 * MS))
        return windows[0]

    latencies_ns = drive_paced(connecting(client), JOB, gate)
    inside = [began for began in client.began if windows[0].start_ns <= began < windows[0].end_ns]
    assert 0 < len(inside) == len(latencies_ns) <= 50
    assert min(latencies_ns) >= 20 * MS
    assert client.in_flight_max > 1
    assert client.began[-1] >= windows[0].end_ns
    assert client.in_flight_at_last == 0


def test_events_of_writes_outside_the_window_do_not_count() -> None:
    window = past_window()
    watch = [window.start_ns - 1, window.start_ns, window.end_ns - 1, window.end_ns]
    latencies_ns = receive(watch, watch, window=window)
    assert len(latencies_ns) == 4
    assert min(latencies_ns) > 0
    assert max(latencies_ns) >= 100 * MS


def test_a_late_event_counts_with_the_latency_that_it_has() -> None:
    window = Window(time.monotonic_ns() - 9_000 * MS, time.monotonic_ns() - 8_000 * MS)
    latencies_ns = receive(*[[window.start_ns, window.end_ns]] * 2, window=window)
    assert min(latencies_ns) >= 9_000 * MS


def test_a_subscriber_with_fewer_events_than_another_fails_the_run() -> None:
    window = past_window()
    with pytest.raises(EventsMissing, match="between 0 and 1 events"):
        receive([window.start_ns, window.end_ns], [window.end_ns], window=window)


def test_a_watch_that_ends_early_fails_the_run() -> None:
    window = past_window()
    with pytest.raises(EventsMissing, match="ended before the last write"):
        receive([window.start_ns], [window.start_ns], window=window)


def test_a_last_write_that_does_not_arrive_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "LAST_MAX_S", 0.05)
    window = past_window()
    with pytest.raises(EventsMissing, match="lacks the last write"):
        receive([window.start_ns], [window.end_ns], window=window, ends=False)


def test_all_subscribers_must_have_received_every_write() -> None:
    assert latencies_of_events([[7, 7], [1, 2], [3, 4, 5, 6]], subscribers=3) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(EventsMissing, match="3 subscribers received 3 events of 2 writes"):
        latencies_of_events([[7, 7], [1], [3, 5]], subscribers=3)
