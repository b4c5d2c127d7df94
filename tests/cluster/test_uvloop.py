"""The asyncio client on uvloop, whose loop watches descriptors by libuv."""

import asyncio
from collections.abc import Iterator

import pytest

from skiff import ClientClosed
from skiff.testing import Cluster
from tests.cluster.asyncio_client import SECONDS, client_of, until_waiting

uvloop = pytest.importorskip("uvloop")

pytestmark = pytest.mark.cluster


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


def test_calls_a_pipeline_and_a_watch_run_concurrently(
    cluster: Cluster, runner: asyncio.Runner
) -> None:
    async def use() -> None:
        async with client_of(cluster) as client, await client.watch("uv/", type=int) as changes:
            pipeline = client.pipeline()
            for number in range(1000, 1500):
                pipeline.insert(f"uv/{number}", number)
            inserts = [client.insert(f"uv/{number}", number) for number in range(1000)]
            await asyncio.gather(pipeline.run(), *inserts)
            events = [await anext(changes) for _ in range(1500)]
            assert {each.value for each in events} == set(range(1500))
            revisions = [each.revision for each in events]
            assert revisions == sorted(revisions)
            values = await asyncio.gather(*[client.get(f"uv/{n}", int) for n in range(1500)])
            assert values == list(range(1500))

    runner.run(asyncio.wait_for(use(), SECONDS))


def test_the_client_follows_the_leader_after_a_transfer(
    cluster: Cluster, runner: asyncio.Runner
) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            for number in range(3):
                leader = await client.transfer_leadership()
                await client.insert("uv/leader", number)
                assert (await client.status()).leader == leader

    runner.run(asyncio.wait_for(use(), SECONDS))


def test_cancelled_calls_and_a_closed_watch_end(cluster: Cluster, runner: asyncio.Runner) -> None:
    async def use() -> None:
        client = client_of(cluster)
        await client.insert("uv/end", 0)
        changes = await client.watch("uv/")
        waiting = asyncio.ensure_future(anext(changes))
        calls = [asyncio.ensure_future(client.insert(f"uv/c/{n}", n)) for n in range(500)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in results[::2])
        assert all(isinstance(each, int) for each in results[1::2])
        while (await waiting).key != "uv/c/499":
            waiting = asyncio.ensure_future(anext(changes))
        waiting = asyncio.ensure_future(anext(changes))
        await until_waiting(changes)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await waiting

    runner.run(asyncio.wait_for(use(), SECONDS))
