"""Drivers: run a job's operations one after another until the window ends, timing each."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from scripts.benchmark.client import BlockingClient, LoopClient
from scripts.benchmark.job import Job, Window

# Gate: called when a client is connected and warm; returns the window of all clients.
Gate = Callable[[], Window]
# Drive: runs a job; returns the nanoseconds of each operation that ended in the window (of a
# fan-out: of each write that began in it, or each event of such a write).
Drive = Callable[[Job, Gate], list[int]]


def drive_threads(
    connect: Callable[[Sequence[str]], BlockingClient], job: Job, gate: Gate
) -> list[int]:
    """Run a job on one blocking client, with one thread for each operation in flight."""
    with closing(connect(job.addresses)) as client, ThreadPoolExecutor(job.in_flight) as threads:
        numbers = itertools.count()
        for number in itertools.islice(numbers, job.warm_up_operations):
            job.perform(client, number)
        window = gate()
        lanes = [threads.submit(_drive, job, client, numbers, window) for _ in range(job.in_flight)]
        return [latency_ns for lane in lanes for latency_ns in lane.result()]


def _drive(job: Job, client: BlockingClient, numbers: Iterator[int], window: Window) -> list[int]:
    latencies_ns = []
    window.wait_for_start()
    began = time.monotonic_ns()
    while began < window.end_ns:
        job.perform(client, next(numbers))
        ended = time.monotonic_ns()
        latencies_ns.append(ended - began)
        began = ended
    # The last one ended after the window and does not count.
    return latencies_ns[:-1]


def drive_loop(connect: Callable[[Sequence[str]], LoopClient], job: Job, gate: Gate) -> list[int]:
    """Run a job on an event loop, with the job's number of operations in flight."""
    return asyncio.run(_drive_loop(connect, job, gate))


async def _drive_loop(
    connect: Callable[[Sequence[str]], LoopClient], job: Job, gate: Gate
) -> list[int]:
    client = connect(job.addresses)
    try:
        numbers = itertools.count()
        for number in itertools.islice(numbers, job.warm_up_operations):
            await job.perform(client, number)
        window = gate()
        window.wait_for_start()
        lanes = [_drive_lane(job, client, numbers, window) for _ in range(job.in_flight)]
        return [latency_ns for lane in await asyncio.gather(*lanes) for latency_ns in lane]
    finally:
        await client.close()


async def _drive_lane(
    job: Job, client: LoopClient, numbers: Iterator[int], window: Window
) -> list[int]:
    latencies_ns = []
    began = time.monotonic_ns()
    while began < window.end_ns:
        await job.perform(client, next(numbers))
        ended = time.monotonic_ns()
        latencies_ns.append(ended - began)
        began = ended
    return latencies_ns[:-1]
