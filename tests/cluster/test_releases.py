"""Releases: a task that is cancelled just as its block ends leaves nothing held."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from skiff import AsyncClient, EventKind
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, run

pytestmark = pytest.mark.cluster

SECONDS = 5.0
TTL = 300.0  # far beyond the time of a test

Block = AbstractAsyncContextManager[Any]
Begin = Callable[[AsyncClient, str], Awaitable[Block]]


async def lock(client: AsyncClient, prefix: str) -> Block:
    return client.lock(prefix + "lock", ttl=TTL)


async def leadership(client: AsyncClient, prefix: str) -> Block:
    return await client.election(prefix + "election", ttl=TTL).campaign("me")


async def lease(client: AsyncClient, prefix: str) -> Block:
    held = await client.lease(TTL)
    await client.insert(prefix + "leased", 1, lease=held)
    return held


async def item(client: AsyncClient, prefix: str) -> Block:
    queue = client.queue(prefix + "queue", ttl=TTL)
    await queue.put("item")
    return await queue.take()


@pytest.mark.parametrize("begin", [lock, leadership, lease, item])
@pytest.mark.parametrize("closes", [False, True], ids=["in use", "closing"])
def test_a_task_that_is_cancelled_as_its_block_ends_leaves_nothing_held(
    cluster: Cluster, begin: Begin, closes: bool
) -> None:
    prefix = f"releases/{begin.__name__}/{closes}/"

    async def hold(client: AsyncClient, is_held: asyncio.Event, is_over: asyncio.Event) -> None:
        async with await begin(client, prefix):
            is_held.set()
            await is_over.wait()

    async def use() -> None:
        is_held, is_over = asyncio.Event(), asyncio.Event()
        async with client_of(cluster) as client, client_of(cluster) as other:
            task = asyncio.create_task(hold(client, is_held, is_over))
            await is_held.wait()
            changes = await other.watch(prefix)
            is_over.set()
            await asyncio.sleep(0)  # the task leaves its block
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if closes:
                await client.aclose()
            async with asyncio.timeout(SECONDS):
                while (await anext(changes)).kind is not EventKind.REMOVE:
                    pass

    run(use())
