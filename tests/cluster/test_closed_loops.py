"""Closed loops: a client whose loop was closed while tasks waited is closed in another one."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from skiff import AsyncClient, ClientClosed
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, in_flight, until, until_waiting

try:
    import uvloop
except ImportError:
    LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
else:
    LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]

pytestmark = pytest.mark.cluster

Begin = Callable[[AsyncClient, Cluster], Coroutine[Any, Any, "asyncio.Future[Any]"]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node for all tests of this file."""
    with Cluster(1, directory=tmp_path_factory.mktemp("loops")) as cluster:
        yield cluster


async def call(client: AsyncClient, node: Cluster) -> "asyncio.Task[Any]":
    await client.get("loops/first")
    node.pause(node.nodes[0])
    task = asyncio.ensure_future(client.get("loops/second"))
    await until(lambda: in_flight(client))
    return task


async def queue(client: AsyncClient, node: Cluster) -> "asyncio.Future[Any]":
    first = await call(client, node)
    while client._caller._in_flight.has_room:
        client._caller._in_flight.take()
    second = asyncio.ensure_future(client.get("loops/third"))
    await asyncio.sleep(0)
    return asyncio.gather(first, second)


async def change(client: AsyncClient, node: Cluster) -> "asyncio.Task[Any]":
    changes = await client.watch("loops/none/")
    task = asyncio.ensure_future(changes.next_event())
    await until_waiting(changes)
    return task


async def loss(client: AsyncClient, node: Cluster) -> "asyncio.Task[Any]":
    held = await client.lease(60)
    task = asyncio.ensure_future(held.lost.wait())
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("begin", [call, queue, change, loss])
@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_client_whose_loop_was_closed_with_a_waiting_task_is_closed_in_another(
    node: Cluster, begin: Begin, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    client = client_of(node)
    first = new_loop()
    try:
        waiting = first.run_until_complete(asyncio.wait_for(begin(client, node), 30))
    finally:
        first.close()
    with asyncio.Runner(loop_factory=new_loop) as second:
        try:
            second.run(client.aclose())
        finally:
            node.resume(node.nodes[0])
        assert client._caller.transport.sockets._context is None
        with pytest.raises(ClientClosed):
            second.run(client.get("loops/first"))
    assert not waiting.done()
    del waiting
    gc.collect()  # raises what its end raises
