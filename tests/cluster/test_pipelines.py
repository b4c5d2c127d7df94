"""Pipelines on real nodes: order, errors of single operations, limits, and leader crashes."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skiff import (
    AsyncClient,
    Client,
    ClientClosed,
    DeserializeFailed,
    Entry,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    PipelineFailed,
    RequestTimeout,
    RevisionMismatch,
    SkiffError,
)
from skiff.testing import Cluster
from tests.cluster.asyncio_client import SECONDS

pytestmark = pytest.mark.cluster


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """Many large writes take longer than a client's usual timeout where a machine is busy."""
    with cluster.client(timeout=SECONDS) as connected:
        yield connected


def test_results_are_in_the_order_of_their_operations(client: Client) -> None:
    pipeline = client.pipeline()
    pipeline.insert("place/a", 1).insert("place/b", [2]).get("place/a").get_entry("place/b")
    pipeline.remove("place/a").remove("place/a").get("place/a", default="none")
    assert len(pipeline) == 7
    first, second, value, entry, removed, again, default = pipeline.run()
    assert second == first + 1
    assert value == 1
    assert isinstance(entry, Entry)
    assert (entry.value, entry.revision) == ([2], second)
    assert (removed, again, default) == (True, False, "none")
    assert client.list_keys("place/") == ["place/b"]


def test_a_failed_operation_returns_its_error_without_affecting_the_others(client: Client) -> None:
    client.insert("fail/a", "text")
    pipeline = client.pipeline()
    pipeline.insert("fail/a", 1, if_revision=1).insert("fail/b", 2).get("fail/a", int)
    mismatch, revision, undecoded = pipeline.run()
    assert isinstance(mismatch, RevisionMismatch)
    assert revision == client.get_entry("fail/b").revision  # type: ignore[union-attr]
    assert isinstance(undecoded, DeserializeFailed)
    assert client.get("fail/a") == "text"


def test_a_with_block_runs_its_pipeline_and_raises_on_failure(client: Client) -> None:
    with client.pipeline() as pipeline:
        pipeline.insert("block/a", 1).get("block/a")
    assert pipeline.results[1] == 1
    with pytest.raises(PipelineFailed, match="1 of 2 operations failed") as failed:  # noqa: SIM117
        with client.pipeline() as pipeline:
            pipeline.insert("block/b", 1).insert("block/a", 2, if_revision=0)
    assert isinstance(failed.value.results[1], RevisionMismatch)
    assert client.get("block/b") == 1
    with pytest.raises(ZeroDivisionError), client.pipeline() as pipeline:
        pipeline.insert("block/c", 1 // 0)
    assert client.get("block/c") is None


def test_an_invalid_operation_is_refused_when_it_is_added(client: Client) -> None:
    pipeline = client.pipeline()
    with pytest.raises(InvalidRequest):
        pipeline.insert("", 1)
    with pytest.raises(InvalidRequest):
        pipeline.get("a", read="whatever")  # type: ignore[arg-type]
    with pytest.raises(SkiffError):
        pipeline.insert("refused", object())
    with pytest.raises(InvalidRequest, match="not run to its end"):
        _ = pipeline.results
    assert pipeline.run() == []
    with pytest.raises(InvalidRequest, match="has run"):
        pipeline.insert("a", 1)
    with pytest.raises(InvalidRequest, match="has run"):
        pipeline.run()


def test_one_hundred_writes_become_one_log_entry(client: Client) -> None:
    client.insert("entry/first", 0)
    before = client.status().last_index
    with client.pipeline() as pipeline:
        for number in range(100):
            pipeline.insert(f"entry/{number}", number)
    assert client.status().last_index == before + 1
    first = pipeline.results[0]
    assert pipeline.results == list(range(first, first + 100))


def test_operations_beyond_one_request_are_applied_in_order(client: Client) -> None:
    with client.pipeline() as pipeline:
        for number in range(2500):
            pipeline.insert("order/last", number)
        for number in range(12):
            pipeline.insert(f"order/large/{number}", b"x" * 500_000)
        for _ in range(40):
            pipeline.get("order/large/3", bytes)
        pipeline.get("order/last")
    assert pipeline.results[:2512] == sorted(pipeline.results[:2512])
    assert pipeline.results[-1] == 2499
    assert {len(each) for each in pipeline.results[2512:-1]} == {500_000}


def test_threads_share_a_client_and_its_window(client: Client) -> None:
    def write(thread: int) -> None:
        with client.pipeline() as pipeline:
            for number in range(3000):
                pipeline.insert(f"window/{thread}", number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [client.get(f"window/{number}") for number in range(6)] == [2999] * 6


def count(cluster: Cluster, name: str, stop: threading.Event) -> int:
    """Write pipelines that end with a compare-and-set of a counter; return their number.

    A write done twice, or before an earlier one, makes the counter mismatch.
    """
    rounds = revision = 0
    with Client([node.address for node in cluster.nodes], timeout=SECONDS) as client:
        while not stop.is_set():
            with client.pipeline() as pipeline:
                for number in range(20):
                    pipeline.insert(f"log/{name}/{rounds}/{number}", number)
                pipeline.insert(f"count/{name}", rounds, if_revision=revision)
            assert pipeline.results == sorted(pipeline.results)
            revision = pipeline.results[-1]
            rounds += 1
    return rounds


def test_every_write_is_applied_once_while_leaders_are_killed(own_cluster: Cluster) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor() as threads:
        counting = {name: threads.submit(count, own_cluster, name, stop) for name in "abc"}
        try:
            for _ in range(3):
                leader = own_cluster.leader()
                own_cluster.kill(leader)
                own_cluster.leader()
                own_cluster.restart(leader)
        finally:
            stop.set()
    with Client([node.address for node in own_cluster.nodes], timeout=SECONDS) as client:
        for name, counted in counting.items():
            rounds = counted.result()
            assert rounds > 3
            entry = client.get_entry(f"count/{name}", int)
            assert entry is not None
            assert (entry.value, entry.version) == (rounds - 1, rounds)
            assert len(client.list_keys(f"log/{name}/")) == 20 * rounds


def test_without_a_majority_each_operation_returns_its_own_error(own_cluster: Cluster) -> None:
    leader = own_cluster.leader()
    with Client([leader.address], timeout=SECONDS, follow_leader=False) as client:
        client.insert("lost", 0)
        for node in own_cluster.nodes:
            if node is not leader:
                own_cluster.kill(node)
        pipeline = client.pipeline(timeout=1.0)
        results = pipeline.insert("lost", 1).get("lost").insert("lost", 2).run()
    assert isinstance(results[0], OutcomeUnknown | RequestTimeout)
    assert all(isinstance(each, NotSent) for each in results[1:])


def test_a_pipeline_of_a_closed_client_raises(cluster: Cluster) -> None:
    client = Client([node.address for node in cluster.nodes])
    pipeline = client.pipeline().insert("closed", 1)
    client.close()
    with pytest.raises(ClientClosed):
        pipeline.run()
    with pytest.raises(InvalidRequest, match="not run to its end"):
        _ = pipeline.results


def test_the_asyncio_client_runs_concurrent_pipelines(cluster: Cluster) -> None:
    async def fill(client: AsyncClient, number: int) -> list[Any]:
        async with client.pipeline() as pipeline:
            for each in range(1500):
                pipeline.insert(f"async/{number}", each)
            pipeline.get(f"async/{number}")
        return pipeline.results

    async def use() -> None:
        addresses = [node.address for node in cluster.nodes]
        async with AsyncClient(addresses, timeout=SECONDS) as client:
            results = await asyncio.gather(*[fill(client, number) for number in range(5)])
            for each in results:
                assert each[:-1] == sorted(each[:-1])
                assert each[-1] == 1499
            failing = client.pipeline().insert("async/0", 1, if_revision=1)
            assert isinstance((await failing.run())[0], RevisionMismatch)
            with pytest.raises(PipelineFailed):
                async with client.pipeline() as pipeline:
                    pipeline.insert("async/0", 1, if_revision=1)

    asyncio.run(asyncio.wait_for(use(), 2 * SECONDS))
