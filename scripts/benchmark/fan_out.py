"""Fan-out: one client writes at a fixed pace, and subscribers receive each of its writes.

Each value begins with the time at which its write began, on the machine's shared clock. The writes
do not wait for each other, so a slow system does not slow them down. When all are acknowledged, a
last one follows, whose time is past the window; it ends the subscribers, so that late events count
with the latency that they have. A system that cannot keep up shows in the latencies, not in the
rate.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

from scripts.benchmark.client import Changes, LoopClient
from scripts.benchmark.drive import Gate
from scripts.benchmark.job import Job, Window, value_of

STAMP_BYTES = 8
LAST_MAX_S = 30.0  # after the window, for the last write to reach every subscriber


class EventsMissing(Exception):
    """A subscriber received another number of events than were written, or none in time."""


def stamped(began_ns: int, size: int) -> bytes:
    """Return a value of ``size`` bytes of a write that began at this time."""
    return began_ns.to_bytes(STAMP_BYTES, "big") + value_of(began_ns, size - STAMP_BYTES)


def began_at(value: bytes) -> int:
    """Return the time in nanoseconds at which the write of a value began."""
    return int.from_bytes(value[:STAMP_BYTES], "big")


def latencies_of_events(answers: Sequence[Sequence[int]], subscribers: int) -> list[int]:
    """Return the latencies of all events, from the answers of the writer and of the others.

    Raises:
        EventsMissing: they are not one event of each write for each subscriber.
    """
    writes, *received = answers
    events = [latency_ns for latencies_ns in received for latency_ns in latencies_ns]
    if len(events) != len(writes) * subscribers:
        raise EventsMissing(
            f"{subscribers} subscribers received {len(events)} events of {len(writes)} writes"
        )
    return events


# --- the writer


def drive_paced(connect: Callable[[Sequence[str]], LoopClient], job: Job, gate: Gate) -> list[int]:
    """Write at the job's pace, then once more; return how long each write in the window took."""
    return asyncio.run(_drive_paced(connect, job, gate))


async def _drive_paced(
    connect: Callable[[Sequence[str]], LoopClient], job: Job, gate: Gate
) -> list[int]:
    client = connect(job.addresses)
    try:
        for _ in range(job.warm_up_operations):
            await _put(client, job, time.monotonic_ns())
        window = gate()
        latencies_ns = await _put_at_pace(client, job, window)
        await _sleep_until(window.end_ns)
        await _put(client, job, time.monotonic_ns())
        return latencies_ns
    finally:
        await client.close()


async def _put_at_pace(client: LoopClient, job: Job, window: Window) -> list[int]:
    puts: list[asyncio.Task[int]] = []
    for number in itertools.count():
        await _sleep_until(window.start_ns + number * 1_000_000_000 // job.puts_a_second)
        began_ns = time.monotonic_ns()
        if began_ns >= window.end_ns:
            return await asyncio.gather(*puts)
        puts.append(asyncio.create_task(_put(client, job, began_ns)))
    raise AssertionError("time ends every window")


async def _put(client: LoopClient, job: Job, began_ns: int) -> int:
    await client.put(f"{job.prefix}{began_ns}", stamped(began_ns, job.value_bytes))
    return time.monotonic_ns() - began_ns


async def _sleep_until(moment_ns: int) -> None:
    await asyncio.sleep(max(0, moment_ns - time.monotonic_ns()) / 1e9)


# --- the subscribers


def drive_watches(
    connect: Callable[[Sequence[str]], LoopClient], job: Job, gate: Gate
) -> list[int]:
    """Receive the events of the job's subscribers; return the latencies of those in the window."""
    return asyncio.run(_drive_watches(connect, job, gate))


async def _drive_watches(
    connect: Callable[[Sequence[str]], LoopClient], job: Job, gate: Gate
) -> list[int]:
    client = connect(job.addresses)
    try:
        watches = await client.watch(job.prefix, job.in_flight)
        window = await asyncio.to_thread(gate)  # the loop keeps the connections alive
        received = await _receive_all(watches, window)
    finally:
        await client.close()
    counts = {len(latencies_ns) for latencies_ns in received}
    if len(counts) != 1:
        raise EventsMissing(f"subscribers received between {min(counts)} and {max(counts)} events")
    return [latency_ns for latencies_ns in received for latency_ns in latencies_ns]


async def _receive_all(watches: Sequence[Changes], window: Window) -> list[list[int]]:
    left_s = (window.end_ns - time.monotonic_ns()) / 1e9
    try:
        async with asyncio.timeout(left_s + LAST_MAX_S):
            return await asyncio.gather(*[_receive(changes, window) for changes in watches])
    except TimeoutError:
        words = f"a subscriber lacks the last write {LAST_MAX_S:.0f} s after the window"
        raise EventsMissing(words) from None


async def _receive(changes: Changes, window: Window) -> list[int]:
    latencies_ns: list[int] = []
    async for change in changes:
        began_ns = began_at(change.value)
        if began_ns >= window.end_ns:
            return latencies_ns
        if began_ns >= window.start_ns:
            latencies_ns.append(time.monotonic_ns() - began_ns)
    raise EventsMissing("a watch ended before the last write")
