"""Asyncio client of a test: one for its cluster, and the loop that runs the test within a limit."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from skiff import AsyncClient, AsyncSubscriber
from skiff.testing import Cluster

SECONDS = 30.0
TEST_SECONDS = 50.0  # for a test's coroutine; a callback may swallow the limit of pytest


def client_of(cluster: Cluster, **options: Any) -> AsyncClient:
    """Return a client that knows all nodes of a cluster."""
    return AsyncClient(cluster.addresses, **{"timeout": SECONDS} | options)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine in a loop of its own."""
    asyncio.run(asyncio.wait_for(coroutine, TEST_SECONDS))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until a condition holds; the test's own limit bounds that."""
    while not condition():  # noqa: ASYNC110 - what holds is inside the client, which has no event
        await asyncio.sleep(0)


async def until_waiting(*subscribers: AsyncSubscriber) -> None:
    """Wait until a task waits for the next change of each subscriber."""
    await until(
        lambda: all(each._subscription and each._subscription.is_awaited for each in subscribers)
    )


def in_flight(client: AsyncClient) -> int:
    """Return the number of requests that were sent and have no reply yet."""
    return sum(len(connection._requests._sent) for connection in client._caller._nodes.values())
