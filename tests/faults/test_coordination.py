"""Locks and queues under faults: exact counters and complete queues while nodes and clients die."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from skiff import AsyncClient
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, run

pytestmark = pytest.mark.cluster

CONTENDERS, TURNS = 50, 3
ITEMS = 60
KILLS = 2

CONSUMER = """
import os, signal, sys
from skiff import Client, LockTimeout
client = Client(sys.argv[1], timeout=30)
queue, dies = client.queue("q", int, ttl=1), sys.argv[2] == "dies"
try:
    while True:
        with queue.take(timeout=8) as item:
            client.increment(f"done/{item.value}")
            if dies and item.value % 10 == 0:
                os.kill(os.getpid(), signal.SIGKILL)
except LockTimeout:
    pass
"""


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path) as running:
        yield running


async def kill_leaders(cluster: Cluster) -> None:
    """Kill the leader, and restart it, a few times."""
    for _ in range(KILLS):
        leader = await asyncio.to_thread(cluster.leader)
        await asyncio.to_thread(cluster.kill, leader)
        await asyncio.to_thread(cluster.restart, leader)


def test_fifty_contenders_count_exactly_while_leaders_are_killed(own_cluster: Cluster) -> None:
    served: list[int] = []

    async def contend(client: AsyncClient, number: int) -> None:
        for _ in range(TURNS):
            async with client.lock("l") as lock:
                count = await client.get("count", int, default=0)
                await client.insert("count", count + 1, fence=lock)
                served.append(number)

    async def body() -> None:
        async with client_of(own_cluster) as client:
            async with client.lock("l"), await client.watch("l/") as arrivals:
                tasks = []
                for number in range(CONTENDERS):
                    tasks.append(asyncio.create_task(contend(client, number)))
                    await anext(arrivals)
            await asyncio.gather(kill_leaders(own_cluster), *tasks)
            assert await client.get("count") == CONTENDERS * TURNS
            assert await client.list_keys("l/") == []

    run(body())
    assert served[:CONTENDERS] == list(range(CONTENDERS))  # first come, first served
    assert set(Counter(served).values()) == {TURNS}


def test_every_item_is_done_while_consumers_and_leaders_are_killed(own_cluster: Cluster) -> None:
    consumers = [
        subprocess.Popen([sys.executable, "-c", CONSUMER, ",".join(own_cluster.addresses), kind])
        for kind in ("dies", "dies", "lives", "lives")
    ]

    async def put(client: AsyncClient) -> None:
        for number in range(ITEMS):
            await client.queue("q").put(number)

    async def body() -> None:
        async with client_of(own_cluster) as client:
            await asyncio.gather(put(client), kill_leaders(own_cluster))
            for consumer in consumers:
                await asyncio.to_thread(consumer.wait)
            assert await client.queue("q").size() == 0
            done = {entry.key: entry.value async for entry in client.scan("done/", int)}
            assert len(done) == ITEMS
            redelivered = [key for key, count in done.items() if count > 1]
            assert all(key.endswith("0") for key in redelivered)  # of consumers that died

    run(body())
    assert [consumer.returncode for consumer in consumers[2:]] == [0, 0]
    assert all(consumer.returncode in (0, -9) for consumer in consumers[:2])
