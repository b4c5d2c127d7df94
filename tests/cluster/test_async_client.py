"""The asyncio client on real nodes: concurrency, losses, cancellation and closing."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from skiff import (
    AsyncClient,
    ClientClosed,
    Fence,
    InvalidRequest,
    NoNodeReached,
    OutcomeUnknown,
    RequestTimeout,
    RevisionMismatch,
    SkiffError,
)
from skiff.testing import Cluster, free_port
from tests.cluster.asyncio_client import SECONDS, client_of, in_flight, run, until

pytestmark = pytest.mark.cluster


def test_operations_behave_like_those_of_the_blocking_client(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            first = await client.insert("each/a", {"n": 1})
            assert await client.get("each/a") == {"n": 1}
            assert await client.get("each/none", default=5) == 5
            entry = await client.get_entry("each/a", dict[str, int], read="leader-lease")
            assert entry is not None
            assert (entry.value, entry.revision, entry.version) == ({"n": 1}, first, 1)
            second = await client.insert("each/a", 2, if_revision=first)
            with pytest.raises(RevisionMismatch):
                await client.insert("each/a", 3, if_revision=first)
            await client.insert("each/b/c", 4)
            assert await client.list_keys("each/") == ["each/a", "each/b/c"]
            assert await client.list_keys("each/", limit=1) == ["each/a"]
            assert await client.get_prefixes("each") == ["each", "each/b"]
            assert await client.remove("each/a", if_revision=second)
            assert not await client.remove("each/a")
            assert len(await client.members()) == 3
            assert (await client.status()).leader in {node.id for node in cluster.nodes}

    run(use())


def test_the_first_call_of_each_new_client_is_sent_once_it_is_connected(cluster: Cluster) -> None:
    async def use() -> None:
        for _ in range(500):  # as the acceptance may come at any moment of a turn of the loop
            async with AsyncClient(cluster.leader().address, timeout=SECONDS) as client:
                assert await asyncio.wait_for(client.get("absent"), SECONDS) is None

    run(use())


@pytest.mark.parametrize("follow_leader", [True, False], ids=["leader", "follower"])
def test_thousands_of_concurrent_calls_are_each_applied_once(
    cluster: Cluster, *, follow_leader: bool
) -> None:
    async def use() -> None:
        target = cluster.followers()[0].address
        async with AsyncClient(target, timeout=SECONDS, follow_leader=follow_leader) as client:
            keys = [f"many/{follow_leader}/{number}" for number in range(10_000)]
            inserts = [client.insert(key, number) for number, key in enumerate(keys)]
            revisions = await asyncio.gather(*inserts)
            assert len(set(revisions)) == len(keys)
            assert await asyncio.gather(*map(client.get, keys)) == list(range(len(keys)))
            entries = await asyncio.gather(*map(client.get_entry, keys))
            assert {entry.version for entry in entries if entry is not None} == {1}

    run(use())


class Text(str):
    """Text that MessagePack does not encode."""

    __slots__ = ()


def test_an_odd_argument_concerns_no_other_call_of_the_client(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            await client.insert("odd/0", 0)
            inserts = [client.insert(f"odd/{number}", number) for number in range(20)]
            odd = [client.insert(Text("odd/odd"), 1), client.get(Text("odd/0"))]
            fence = Fence("lock", 1 << 64)
            refused = [client.insert("odd/refused", 1, fence=fence)]
            calls = asyncio.gather(*odd, *refused, *inserts, return_exceptions=True)
            inserted, got, error, *others = await asyncio.wait_for(calls, SECONDS)
            assert isinstance(error, InvalidRequest)
            assert (type(inserted), got, {type(each) for each in others}) == (int, 0, {int})
            assert await client.get("odd/odd") == 1

    run(use())


def test_calls_beyond_the_in_flight_limit_wait_and_complete(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster, max_in_flight=2) as client:
            await asyncio.gather(*[client.insert(f"limit/{n}", n) for n in range(50)])
            assert len(await client.list_keys("limit/")) == 50

    run(use())
    with pytest.raises(InvalidRequest, match="max_in_flight"):
        client_of(cluster, max_in_flight=0)


def test_thousands_of_calls_keep_within_the_in_flight_limit(cluster: Cluster) -> None:
    """Beyond the limit, only the callers' own coroutines and values take memory."""

    async def use() -> None:
        async with client_of(cluster, max_in_flight=100) as client:
            await client.insert("bounded/first", 0)
            value, most = b"x" * 10_000, 0

            async def look() -> None:
                nonlocal most
                while True:
                    for connection in client._caller._nodes.values():
                        requests = connection._requests
                        sent = sum(map(len, requests._sent.values()))
                        most = max(most, len(requests._unsent) + sent)
                    await asyncio.sleep(0)

            looking = asyncio.ensure_future(look())
            await asyncio.gather(*[client.insert(f"bounded/{n % 100}", value) for n in range(5000)])
            looking.cancel()
            assert 50 < most <= 100

    run(use())


def test_a_blocked_event_loop_receives_its_replies_when_it_resumes(cluster: Cluster) -> None:
    async def insert(client: AsyncClient, calls: list[asyncio.Future[int]]) -> None:
        inserts = [client.insert(f"slow/{len(calls) + n}", n) for n in range(100)]  # one frame
        calls += map(asyncio.ensure_future, inserts)
        await until(lambda: in_flight(client) or all(call.done() for call in calls))

    async def use() -> None:
        async with (
            client_of(cluster, timeout=1.0) as client,
            await client.watch("slow/") as changes,
        ):
            await client.insert("slow/first", 0)
            calls: list[asyncio.Future[int]] = []
            await insert(client, calls)
            while not in_flight(client):  # all had their replies within one turn of a busy loop
                await insert(client, calls)
            time.sleep(3.0)  # noqa: ASYNC251 - longer than the calls' deadline and the heartbeats
            assert len(set(await asyncio.gather(*calls))) == len(calls)
            keys = {(await anext(changes)).key for _ in range(len(calls) + 1)}
            assert len(keys) == len(calls) + 1

    run(use())


def test_a_queued_call_times_out_at_its_own_deadline(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster, max_in_flight=1) as client:
            await client.insert("short/first", 1)
            for node in cluster.nodes:
                cluster.pause(node)
            try:
                long = asyncio.ensure_future(client.insert("short/long", 1, timeout=None))
                await until(lambda: not client._caller._in_flight.has_room)
                with pytest.raises(RequestTimeout, match="in flight"):
                    await client.get("short/first", timeout=0.3)
            finally:
                for node in cluster.nodes:
                    cluster.resume(node)
            assert await long

    run(use())


def test_a_client_opens_one_session_for_all_of_its_writes(own_cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(own_cluster) as client:
            before = (await client.status()).last_index
            assert await client.get("none") is None
            assert (await client.status()).last_index <= before + 1, "reading opens none"
            revisions = await asyncio.gather(*[client.insert(f"k/{n}", n) for n in range(500)])
            session = client._caller._calls.session
            assert session is not None
            assert session.has_room(1)
            assert session.begin_writes(session.next_writes(1)) == 501
            assert len(set(revisions)) == 500

    run(use())


def test_concurrent_reads_larger_than_one_reply_all_succeed(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            keys = [f"big/{number}" for number in range(40)]
            await asyncio.gather(*[client.insert(key, b"x" * 1_000_000) for key in keys])
            values = await asyncio.gather(*[client.get(key, bytes) for key in keys])
            assert {len(value or b"") for value in values} == {1_000_000}

    run(use())


def test_refused_operations_do_not_affect_concurrent_ones(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            outcomes = await asyncio.gather(
                client.insert("beside/a", 1),
                client.insert("beside/large", "x" * (2 << 20)),
                client.insert("beside/huge", "x" * (9 << 20)),
                client.insert("", 1),
                client.insert("beside/b", 2),
                return_exceptions=True,
            )
            wrong = [type(each) for each in outcomes[1:4]]
            assert wrong == [InvalidRequest] * 3
            assert await client.list_keys("beside/") == ["beside/a", "beside/b"]

    run(use())


def test_writes_across_a_leader_crash_are_each_applied_once(own_cluster: Cluster) -> None:
    inserts = 60

    async def write(client: AsyncClient, key: str) -> None:
        for number in range(inserts):
            await client.insert(key, number)
            await asyncio.sleep(0.005)

    async def use() -> None:
        async with client_of(own_cluster) as client:
            await client.insert("begun", 1)
            keys = [f"counter/{number}" for number in range(30)]
            writers = asyncio.gather(*[write(client, key) for key in keys])
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own_cluster.kill, own_cluster.leader())
            await writers
            entries = await asyncio.gather(*map(client.get_entry, keys))
            found = {(e.value, e.version) for e in entries if e is not None}
            assert found == {(inserts - 1, inserts)}, "a retry was applied twice, or none was"

    run(use())


def test_cancelled_calls_leave_the_client_usable_and_apply_at_most_once(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            await client.insert("cancel/first", 0)
            for storm in range(20):
                keys = [f"cancel/{storm}/{number}" for number in range(100)]
                tasks = [asyncio.ensure_future(client.insert(key, 1)) for key in keys]
                await asyncio.sleep(0.0002 * storm)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert await client.insert("cancel/last", 1)
            found = await client.list_keys("cancel/")
            entries = await asyncio.gather(*map(client.get_entry, found))
            assert {entry.version for entry in entries if entry is not None} == {1}

    run(use())


def test_cancelled_calls_count_as_in_flight_until_their_requests_end(own_cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(own_cluster, max_in_flight=10) as client:
            await client.insert("before", 1)
            followers = own_cluster.followers()
            for node in followers:
                own_cluster.pause(node)
            for _ in range(5):
                writes = [client.insert(f"k/{n}", n, timeout=None) for n in range(10)]
                tasks = [asyncio.ensure_future(each) for each in writes]
                await until(lambda: in_flight(client))
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert in_flight(client) <= 10
            with pytest.raises(RequestTimeout, match="too many calls"):
                await client.insert("late", 1, timeout=0.2)
            for node in followers:
                own_cluster.resume(node)
            assert await client.insert("after", 1)
            await until(lambda: client._caller._in_flight._free == 10)

    run(use())


def test_without_a_majority_a_write_ends_at_its_deadline_or_on_close(own_cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(own_cluster) as client:
            await client.insert("before", 1)
            for node in own_cluster.followers():
                own_cluster.pause(node)
            writes = [client.insert(f"k/{n}", n, timeout=1.0) for n in range(10)]
            ended = await asyncio.gather(*writes, return_exceptions=True)
            assert {type(each) for each in ended} <= {OutcomeUnknown, RequestTimeout}
            waiting = asyncio.ensure_future(client.insert("late", 1))
            await until(lambda: in_flight(client))
            await client.aclose()
            with pytest.raises(ClientClosed):
                await waiting
            with pytest.raises(ClientClosed):
                await client.get("before")

    run(use())


def test_calls_without_a_reachable_node_raise_no_node_reached(tmp_path: Path) -> None:
    async def use() -> None:
        async with AsyncClient(f"127.0.0.1:{free_port()}", timeout=0.5) as client:
            ended = await asyncio.gather(
                *[client.get("key") for _ in range(20)], return_exceptions=True
            )
            assert {type(each) for each in ended} == {NoNodeReached}

    run(use())


def test_a_client_belongs_to_one_event_loop_and_one_process(cluster: Cluster) -> None:
    client = client_of(cluster)

    async def use() -> None:
        await client.insert("loop", 1)
        assert _status_of_child_that_uses(client) == 0
        assert await client.get("loop", timeout=1.0) == 1
        with pytest.raises(SkiffError, match="one event loop"):
            await asyncio.to_thread(asyncio.run, client.aclose())
        assert await client.get("loop") == 1

    async def use_again() -> None:
        with pytest.raises(SkiffError, match="one event loop"):
            await client.get("loop")
        await client.aclose()
        with pytest.raises(ClientClosed):
            await client.backup("never written")

    run(use())
    run(use_again())


def _status_of_child_that_uses(client: AsyncClient) -> int:
    """Use and close a client in a forked process; return 0 if it refuses the use."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        client.get("loop").send(None)
    except SkiffError as error:
        with contextlib.suppress(StopIteration):
            client.aclose().send(None)
        os._exit(int("fork" not in str(error)))
    finally:
        os._exit(1)
