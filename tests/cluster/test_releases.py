"""Releases: a cancelled task leaves nothing held, and what is held does not wait for calls."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from skiff import AsyncClient, ClientClosed, EventKind, RequestTimeout
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, in_flight, run, until

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


def test_leases_and_turns_do_not_queue_behind_other_calls(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster, max_in_flight=1, timeout=SECONDS) as client:
            held = await client.lease(3.0)
            mutex = client.lock("releases/mutex", ttl=TTL)
            await mutex.acquire()
            client._caller._in_flight.take()  # as by a call whose outcome is long in coming
            behind = asyncio.ensure_future(client.get("releases/mutex", timeout=None))
            before = held.remaining
            await until(lambda: held.remaining > before or held.lost.is_set())
            assert not held.lost.is_set()
            await held.keep_alive()
            await held.revoke()
            await mutex.release()
            assert not behind.done()
            client._caller._in_flight.leave()
            await behind

    run(use())


def test_a_lease_counts_from_the_request_that_has_a_place(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster, max_in_flight=1, timeout=SECONDS) as client:
            await client.get("releases/first")
            client._caller._in_flight.take()
            granting = asyncio.ensure_future(client.lease(TTL))
            with pytest.raises(RequestTimeout):
                await client.lease(TTL, timeout=0.5)
            client._caller._in_flight.leave()
            began = time.monotonic()
            held = await granting
            left = held.remaining
            assert left >= TTL - (time.monotonic() - began)
            await held.revoke()
            await client.get("releases/first")

    run(use())


def test_a_client_whose_closing_is_cancelled_is_closed(own_cluster: Cluster) -> None:
    async def use() -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        client = client_of(own_cluster, timeout=SECONDS)
        held = await client.lease(TTL)
        for node in own_cluster.nodes:
            own_cluster.pause(node)
        revoking = asyncio.ensure_future(held.revoke())
        await until(lambda: in_flight(client))
        revoking.cancel()
        closing = asyncio.ensure_future(client.aclose())
        await asyncio.sleep(0)
        assert not closing.done()  # it waits for the release
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert client._caller.is_closed
        with pytest.raises(ClientClosed):
            await client.get("releases/closed")
        await until(lambda: not client._leases.releases._tasks)
        del revoking  # whose traceback keeps the release
        gc.collect()
        assert reports == []

    run(use())
