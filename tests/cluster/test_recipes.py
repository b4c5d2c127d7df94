"""Recipes: locks and their kin, of both clients, through the leader and through a follower."""

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from skiff import (
    AsyncClient,
    AsyncLock,
    Client,
    DeserializeFailed,
    EventKind,
    Fence,
    Fenced,
    InsertFailed,
    InvalidRequest,
    LockLost,
    LockMisused,
    LockTimeout,
    NoNodeReached,
    OutcomeUnknown,
    RequestTimeout,
    RevisionMismatch,
)
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, run
from tests.cluster.in_a_loop import InALoop, Loop

pytestmark = pytest.mark.cluster

SECONDS = 20.0
TTL = 1.0
EXPIRED = TTL * 4 / 3 + 4.0  # seconds after which a dead holder's lease has ended, if busy

HOLDER = """
import sys, time
from skiff import Client, LockLost
client = Client(sys.argv[1])
lock = client.lock("l", ttl=1.0)
try:
    with lock:
        print(lock.token, flush=True)
        for line in sys.stdin:
            client.insert("k", "stale", fence=lock)
except Exception as error:
    print(type(error).__name__, flush=True)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("recipes")) as running:
        yield running


@pytest.fixture(params=["Client", "AsyncClient"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Any]:
    """A blocking client of a follower, or an asyncio client of the leader; the keys go after it."""
    if request.param == "Client":
        node = cluster.followers()[0]
        with Client([node.address], timeout=SECONDS, follow_leader=False) as blocking:
            yield blocking
            blocking.remove_prefix("")
        return
    loop = Loop()
    with InALoop(AsyncClient([cluster.leader().address], timeout=SECONDS), loop) as asynchronous:
        yield asynchronous
        asynchronous.remove_prefix("")
    loop.close()


def hold(cluster: Cluster) -> "subprocess.Popen[str]":
    """Start a process that holds the lock "l", and writes "k" for each line that it gets."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, ",".join(cluster.addresses)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, range(count)))


def wait_for_keys(client: Any, prefix: str, count: int) -> None:
    until = time.monotonic() + SECONDS
    while client.count(prefix) != count:
        assert time.monotonic() < until
        time.sleep(0.01)


def lose_key(client: Any, prefix: str | None) -> None:
    """Remove the keys of a recipe, as an operator may, within its block."""
    if prefix is not None:
        client.remove_prefix(prefix)
    raise ZeroDivisionError


def is_refused(use: Callable[[], Any], why: str) -> bool:
    try:
        use()
    except LockMisused as misused:
        return why in str(misused)
    return False


# --- locks


def test_one_holder_at_a_time_and_tokens_grow(client: Any) -> None:
    tokens: list[int] = []

    def work(_: int) -> None:
        for _ in range(5):
            with client.lock("l") as lock:
                count = client.get("n", default=0)
                tokens.append(lock.token)
                client.insert("n", count + 1, fence=lock)

    in_threads(8, work)
    assert client.get("n") == 40
    assert tokens == sorted(set(tokens))
    assert client.list_keys("l") == []


def test_contenders_are_served_in_the_order_in_which_they_came(client: Any) -> None:
    served: list[int] = []

    def contend(number: int) -> None:
        with client.lock("l"):
            served.append(number)

    with ThreadPoolExecutor(5) as threads, client.lock("l"):
        for number in range(5):
            threads.submit(contend, number)
            wait_for_keys(client, "l/", number + 2)
    assert served == list(range(5))


@pytest.mark.parametrize("timeout", [0, 0.3])
def test_a_contender_that_gives_up_leaves_the_line(client: Any, timeout: float) -> None:
    with client.lock("l") as held:
        began = time.monotonic()
        with pytest.raises(LockTimeout, match=r"lock 'l' was not free"):
            client.lock("l", timeout=timeout).acquire()
        assert timeout <= time.monotonic() - began < timeout + 5
        assert client.list_keys("l/") == [held.fence.key]
    client.lock("l").acquire(timeout=0)


def test_a_fence_refuses_the_writes_of_an_earlier_holder(client: Any) -> None:
    with client.lock("l") as lock:
        stale = lock.fence
        revision = client.insert("k", 1, fence=lock)
        with pytest.raises(RevisionMismatch) as mismatch:
            client.insert("k", 2, if_revision=revision + 5, fence=lock)
        assert mismatch.value.current == revision
        assert client.transact([], [], fence=lock).succeeded
    before = client.get_entry("k")
    refused = pytest.raises(Fenced, match="is no longer held with this token")
    with refused:
        client.insert("k", 2, fence=stale)
    with refused:
        client.insert("k", 2, if_revision=revision, fence=stale)
    with refused:
        client.remove("k", fence=stale)
    with refused:
        client.transact([], [], fence=stale)
    assert client.get_entry("k") == before


@pytest.mark.parametrize("fence", ["l", 5, Fence("l", 0), Fence("", 5), Fence("l", True)])
def test_a_fence_that_is_none_is_refused(client: Any, fence: Any) -> None:
    with pytest.raises(InvalidRequest):
        client.insert("k", 1, fence=fence)


def test_a_token_that_was_never_given_is_refused(client: Any) -> None:
    with client.lock("l") as lock, pytest.raises(Fenced):
        client.insert("k", 1, fence=Fence(lock.fence.key, lock.token + 1))
    with pytest.raises(Fenced):
        client.insert("k", 1, fence=Fence("no/such", 1))


def test_a_lock_object_serves_one_holder_at_a_time(client: Any) -> None:
    lock = client.lock("l")
    for attribute in ("token", "fence"):
        with pytest.raises(LockMisused, match="is not held"):
            getattr(lock, attribute)
    with pytest.raises(LockMisused, match="is not held"):
        lock.release()
    with lock:
        assert lock.is_held
        assert 0 < lock.remaining <= 10
        with pytest.raises(LockMisused, match="needs a lock object of its own"):
            lock.acquire()
    assert not lock.is_held
    with lock:
        assert "held with token" in repr(lock)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        ("a\0b", {}),
        ("x" * 4090, {}),
        ("l", {"ttl": 0}),
        ("l", {"ttl": -1}),
        ("l", {"ttl": 0.5}),
        ("l", {"ttl": 31 * 24 * 3600.0}),
        ("l", {"ttl": "10"}),
        ("l", {"timeout": -1}),
        ("l", {"timeout": float("nan")}),
        ("l", {"timeout": 10**400}),
    ],
)
def test_a_lock_of_invalid_arguments_is_refused(client: Any, name: str, options: Any) -> None:
    with pytest.raises(InvalidRequest):
        client.lock(name, **options)


def test_a_lock_that_lost_its_key_says_so(client: Any) -> None:
    with pytest.raises(LockLost), client.lock("l"):
        client.remove_prefix("l/")
    with pytest.raises(ZeroDivisionError), client.lock("l"):  # which is not replaced
        lose_key(client, "l/")


def test_the_next_contender_gets_the_lock_of_a_process_that_was_killed(
    client: Any, cluster: Cluster
) -> None:
    with hold(cluster) as holder:
        token = int(read_line(holder))
        began = time.monotonic()
        holder.kill()
        with client.lock("l", timeout=EXPIRED + 2) as lock:
            assert lock.token > token
            assert time.monotonic() - began < EXPIRED
        assert client.list_keys("l/") == []


def test_a_holder_that_was_stopped_for_too_long_cannot_write(client: Any, cluster: Cluster) -> None:
    with hold(cluster) as holder:
        assert holder.stdin is not None
        token = int(read_line(holder))
        os.kill(holder.pid, signal.SIGSTOP)
        with client.lock("l", timeout=EXPIRED + 2) as lock:
            assert lock.token > token
            client.insert("k", "new", fence=lock)
            os.kill(holder.pid, signal.SIGCONT)
            holder.stdin.write("\n")
            holder.stdin.close()
            assert read_line(holder) == "Fenced"
            assert client.get("k") == "new"


def test_a_lock_belongs_to_its_thread_and_process(cluster: Cluster) -> None:
    with Client(cluster.addresses) as client, client.lock("l") as lock:
        (refused,) = in_threads(1, lambda _: is_refused(lock.release, "another thread"))
        assert refused
        child = os.fork()
        if child == 0:
            uses = (lock.release, lambda: lock.token)
            refused = all(is_refused(use, "parent") for use in uses)
            os._exit(0 if refused and not lock.is_held else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert lock.is_held


def test_an_asyncio_block_is_cancelled_when_its_lock_is_lost(cluster: Cluster) -> None:
    async def body() -> None:
        async with client_of(cluster) as client:
            began = time.monotonic()
            lock = client.lock("l", ttl=TTL)
            with pytest.raises(LockLost):
                await stay(lock)
            assert TTL / 2 < time.monotonic() - began < TTL + 2
            assert lock.lost.is_set()
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0
            for node in cluster.nodes:
                cluster.resume(node)
            await client.lock("l", ttl=TTL).acquire(timeout=SECONDS)

    async def stay(lock: AsyncLock) -> None:
        async with lock:
            for node in cluster.nodes:
                cluster.pause(node)
            await asyncio.sleep(SECONDS)

    run(body())
    cluster.wait_until_whole()


def test_an_asyncio_block_goes_on_after_it_has_ended_its_turn(cluster: Cluster) -> None:
    async def body() -> None:
        async with client_of(cluster) as client:
            async with client.lock("l") as lock:
                await lock.release()
                assert await client.count("l/") == 0  # and is not cancelled
            async with client.double_barrier("d", 1) as party:
                await party.leave()
                assert await client.count("d/") == 0
            with pytest.raises(LockLost):
                await lose_and_catch(client)

    async def lose_and_catch(client: AsyncClient) -> None:
        async with client.lock("l") as lock:
            await client.remove_prefix("l/")
            await lock.release()

    run(body())


def test_a_cancelled_contender_leaves_the_line(cluster: Cluster) -> None:
    async def body() -> None:
        async with client_of(cluster) as client, client.lock("l") as first:
            waiting = asyncio.create_task(client.lock("l").acquire())
            async with await client.watch("l/", initial=True) as changes:
                while len({(await anext(changes)).key, first.fence.key, ""}) < 3:
                    pass
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert len(await client.list_keys("l/")) == 1

    run(body())


def test_a_contender_that_gives_up_in_an_outage_leaves_no_key(cluster: Cluster) -> None:
    """Its insert may be applied long after, while an older write of its client is in flight."""
    leader = cluster.leader()
    with (
        Client(cluster.addresses, timeout=SECONDS) as client,
        Client([leader.address], timeout=SECONDS, follow_leader=False) as contender,
    ):
        with contender.lock("l", ttl=TTL):
            pass  # now it has a session, and a lease that waits for its next use
        cluster.pause(leader)
        with ThreadPoolExecutor(1) as threads:
            older = threads.submit(contender.insert, "w", 1, timeout=SECONDS)
            with pytest.raises(LockTimeout):
                contender.lock("l", ttl=TTL).acquire(timeout=0.5)
            cluster.resume(leader)
            older.result()
        with client.lock("l", timeout=EXPIRED + 2):
            pass
    cluster.wait_until_whole()


def test_the_event_of_a_loss_is_that_of_one_turn(client: Any) -> None:
    lock = client.lock("l")
    with lock:
        first = lock.lost
        assert not first.is_set()
    assert first.is_set()
    with client.lock("m") as other:
        assert not other.lost.is_set()  # although it has the same lease


def test_each_request_of_a_holder_takes_a_timeout(client: Any) -> None:
    election = client.election("t")
    requests: list[Callable[..., Any]] = [
        lambda **options: election.proclaim("other", **options),
        election.leader,
        election.resign,
    ]
    with election.campaign("first", timeout=SECONDS):
        for request in requests:
            with pytest.raises(InvalidRequest, match="positive number of seconds, not -1"):
                request(timeout=-1)
        assert election.is_held
        assert election.leader(str, timeout=SECONDS).value == "first"


def test_the_timeout_of_a_holder_ends_its_requests_in_an_outage(cluster: Cluster) -> None:
    with cluster.client() as client:
        election = client.election("o", ttl=SECONDS).campaign("first")
        paused = cluster.followers()
        for node in paused:
            cluster.pause(node)
        try:
            with pytest.raises(TimeoutError):
                election.leader(timeout=0.3)
            with pytest.raises((RequestTimeout, OutcomeUnknown)):
                election.proclaim("second", timeout=0.3)
            election.resign(timeout=0.3)
            assert not election.is_held
        finally:
            for node in paused:
                cluster.resume(node)


def test_a_turn_may_be_ended_within_its_block(client: Any) -> None:
    with client.lock("l") as lock:
        lock.release()
    with pytest.raises(ZeroDivisionError), client.lock("l") as lock:
        lose_key(client, lock.release())
    with client.lock("l", timeout=0):
        pass


def test_a_longer_name_is_that_of_another_recipe(client: Any) -> None:
    with client.lock("l/lock-x"), client.lock("l", timeout=0):
        pass
    client.queue("l/item-x").put(1)
    with pytest.raises(LockTimeout):
        client.queue("l").take(timeout=0)


def test_leases_are_kept_alive_after_the_task_that_did_so_was_cancelled(cluster: Cluster) -> None:
    async def body() -> None:
        async with client_of(cluster) as client:
            first = await client.lease(TTL)
            for task in asyncio.all_tasks():
                if task.get_name() == "skiff leases":
                    task.cancel()
            await first.lost.wait()
            second = await client.lease(TTL)
            await asyncio.sleep(2 * TTL)
            assert second.remaining > 0

    run(body())


def test_a_dropped_client_is_collected_after_a_lock(cluster: Cluster) -> None:
    client = Client(cluster.addresses)
    with client.lock("l"):
        pass
    dropped = weakref.ref(client)
    del client
    until = time.monotonic() + SECONDS
    while dropped() is not None:
        assert time.monotonic() < until
        gc.collect()
        time.sleep(0.01)


def test_a_forked_child_leaves_the_lease_of_its_parent(cluster: Cluster) -> None:
    with Client(cluster.addresses) as client:
        with client.lease(TTL * 5) as lease:
            client.insert("k", 1, lease=lease)
            child = os.fork()
            if child == 0:
                lease.__exit__(None, None, None)  # as ``sys.exit`` in the block does
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert client.get("k") == 1
        assert client.get("k") is None


# --- read/write locks and semaphores


def test_readers_share_and_a_writer_is_alone(client: Any) -> None:
    lock = client.read_write_lock("rw")
    with lock.read_lock(), lock.read_lock(), pytest.raises(LockTimeout):
        lock.write_lock().acquire(timeout=0)
    with lock.write_lock() as writer:
        client.insert("k", 1, fence=writer)
        for other in (lock.read_lock(), lock.write_lock()):
            with pytest.raises(LockTimeout):
                other.acquire(timeout=0)
    with lock.read_lock():
        pass


def test_a_writer_is_not_overtaken_by_readers(client: Any) -> None:
    lock, order = client.read_write_lock("rw"), []

    def contend(side: Any, name: str) -> None:
        with side:
            order.append(name)

    with ThreadPoolExecutor(3) as threads, lock.read_lock():
        for place, (side, name) in enumerate(
            [(lock.write_lock(), "writer"), (lock.read_lock(), "reader")]
        ):
            threads.submit(contend, side, name)
            wait_for_keys(client, "rw/", place + 2)
    assert order == ["writer", "reader"]


def test_a_semaphore_has_so_many_holders_at_a_time(client: Any) -> None:
    present: list[int] = []
    most: list[int] = []
    full = threading.Event()  # the first holders wait for it

    def work(number: int) -> None:
        for _ in range(3):
            with client.semaphore("s", 3):
                present.append(number)
                most.append(len(present))
                if most[-1] == 3:
                    full.set()
                assert full.wait(SECONDS)
                present.remove(number)

    in_threads(8, work)
    assert max(most) == 3
    assert client.list_keys("s") == []
    with pytest.raises(InvalidRequest):
        client.semaphore("s", 0)


# --- elections


def test_candidates_lead_one_after_another(client: Any) -> None:
    first, second, observer = (client.election("e") for _ in range(3))
    assert observer.leader() is None
    leaders = observer.observe(str)
    assert next(leaders) is None
    with pytest.raises(LockMisused, match="campaign first"), first:
        pass
    with ThreadPoolExecutor(1) as threads:
        with first.campaign("a"):
            entry = observer.leader(str)
            assert (entry.value, entry.create_revision) == ("a", first.token)
            assert next(leaders) == entry
            with pytest.raises(LockTimeout):
                second.campaign("b", timeout=0)
            campaign = threads.submit(second.campaign, "b")
            first.proclaim("a2")
            assert next(leaders).value == "a2"
            client.insert("k", 1, fence=first)
        assert campaign.result() is second
    assert next(leaders).value == "b"
    assert second.token > entry.create_revision
    client.remove(second.fence.key)
    with pytest.raises(Fenced):
        second.proclaim("c")
    with pytest.raises(LockLost):
        second.resign()
    assert next(leaders) is None


def test_an_observer_goes_on_after_a_value_of_another_type(client: Any) -> None:
    leaders = client.election("e").observe(str)
    with client.election("e").campaign(3) as leader:
        with pytest.raises(DeserializeFailed):
            next(leaders)
        leader.proclaim("text")
        assert next(leaders).value == "text"


def begun(client: Any, kind: str) -> Any:
    """Return a holder that has its turn before its block begins."""
    return client.election("e").campaign() if kind == "election" else client.party("e").join()


@pytest.mark.parametrize("kind", ["election", "party"])
def test_a_turn_has_one_block(client: Any, kind: str) -> None:
    with begun(client, kind) as holder:
        with pytest.raises(LockMisused, match="already"), holder:
            pass
        assert holder.is_held
        client.insert("k", 1, fence=holder)
    assert client.count("e/") == 0


@pytest.mark.parametrize("kind", ["election", "party"])
def test_an_asyncio_block_goes_on_beside_a_refused_one(cluster: Cluster, kind: str) -> None:
    async def body() -> None:
        async with client_of(cluster) as client:
            turn = (
                client.election("e").campaign() if kind == "election" else client.party("e").join()
            )
            async with await turn as holder:
                with pytest.raises(LockMisused, match="already"):
                    async with holder:
                        pass
                with pytest.raises(LockMisused, match="already"):
                    await asyncio.create_task(enter(holder))
                await client.insert("k", 1, fence=holder)
            await asyncio.sleep(0)  # so that a guard that was left would cancel this task
            assert await client.count("e/") == 0

    async def enter(holder: Any) -> None:
        async with holder:
            pass

    run(body())


def is_refused_in_a_child(use: Callable[[], Any]) -> bool:
    child = os.fork()
    if child == 0:
        refused = False
        with suppress(StopIteration):  # of a coroutine that ends
            refused = is_refused(use, "parent")
        os._exit(0 if refused else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("kind", ["election", "party"])
def test_a_forked_child_begins_no_block_of_its_parent(cluster: Cluster, kind: str) -> None:
    with Client(cluster.addresses) as client:
        holder = begun(client, kind)
        assert is_refused_in_a_child(holder.__enter__)
        with holder:
            assert holder.is_held


def test_a_forked_child_of_an_asyncio_leader_begins_no_block(cluster: Cluster) -> None:
    async def body() -> None:
        async with client_of(cluster) as client, await client.election("e").campaign() as leader:
            assert is_refused_in_a_child(lambda: leader.__aenter__().send(None))

    run(body())


# --- barriers


def test_a_barrier_holds_those_who_come_until_it_is_down(client: Any) -> None:
    barrier = client.barrier("b")
    barrier.wait(timeout=0)
    assert barrier.create()
    assert not barrier.create()
    with pytest.raises(LockTimeout, match="barrier 'b'"):
        barrier.wait(timeout=0.2)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(client.barrier("b").wait, timeout=SECONDS) for _ in range(3)]
        time.sleep(0.1)  # whether they wait already, or not
        assert not any(each.done() for each in waiting)
        assert barrier.remove()
        for each in waiting:
            each.result()
    assert not barrier.remove()


def test_parties_begin_and_end_together(client: Any) -> None:
    steps: list[str] = []

    def work(_: int) -> None:
        for turn in range(3):
            steps.append(f"{turn} comes")
            with client.double_barrier("d", 4, timeout=SECONDS):
                steps.append(f"{turn} is in")
            steps.append(f"{turn} is out")

    in_threads(4, work)
    for turn in range(3):
        mine = [place for place, step in enumerate(steps) if step == f"{turn} is in"]
        come = [place for place, step in enumerate(steps) if step == f"{turn} comes"]
        assert max(come) < min(mine)
        assert max(mine) < steps.index(f"{turn} is out")
    assert client.list_keys("d") == []
    with pytest.raises(LockTimeout, match="double barrier"):
        client.double_barrier("d", 2, timeout=0.2).enter()
    with pytest.raises(InvalidRequest):
        client.double_barrier("d", 0)


# --- queues


def test_items_are_taken_in_order_and_acknowledged_once(client: Any) -> None:
    queue = client.queue("q", int)
    queue.put(1)
    queue.put_many([2, 3])
    queue.put_many([])
    assert queue.size() == 3
    with queue.take() as first:
        assert first.value == 1
        with queue.take() as second:
            assert second.value == 2
    assert queue.size() == 1
    with pytest.raises(ZeroDivisionError), queue.take() as third:
        raise ZeroDivisionError
    again = queue.take(timeout=0)
    assert again.value == third.value == 3
    client.insert("k", 1, fence=again)
    again.acknowledge()
    for use in (again.acknowledge, again.release, lambda: again.fence):
        with pytest.raises(LockMisused, match="was acknowledged or released"):
            use()
    with pytest.raises(LockTimeout, match=r"queue 'q' had no free item within 0\.2 s"):
        queue.take(timeout=0.2)


@pytest.mark.parametrize("timeout", [-1, 0, "soon"])
def test_an_invalid_timeout_ends_neither_a_claim_nor_a_lease(client: Any, timeout: Any) -> None:
    queue = client.queue("q")
    queue.put("job")
    with client.lease(SECONDS) as lease, queue.take(timeout=SECONDS) as item:
        for use in (item.acknowledge, item.release, lease.revoke):
            with pytest.raises(InvalidRequest):
                use(timeout=timeout)
        assert not lease.lost.is_set()
        client.insert("k", 1, lease=lease, fence=item)
    assert queue.size() == 0


def test_a_queue_in_an_outage_is_not_empty(cluster: Cluster) -> None:
    with Client(cluster.addresses, timeout=SECONDS) as client:
        queue = client.queue("o")
        queue.put_many([1, 2])
        queue.take().acknowledge()
        followers = cluster.followers()
        for each in followers:
            cluster.pause(each)
        with pytest.raises((RequestTimeout, NoNodeReached)) as raised:
            queue.take(timeout=0.3)
        for each in followers:
            cluster.resume(each)
        assert not isinstance(raised.value, LockTimeout)
        queue.take(timeout=SECONDS).acknowledge()
    cluster.wait_until_whole()


def test_an_item_of_a_lost_claim_is_delivered_again(client: Any) -> None:
    queue = client.queue("q", ttl=TTL)
    queue.put("job")
    lost = queue.take()
    client.remove(lost.fence.key)  # as the end of its lease does
    again = queue.take(timeout=SECONDS)
    with pytest.raises(Fenced):
        lost.acknowledge()
    again.acknowledge()
    assert queue.size() == 0


def test_the_release_of_a_lost_claim_leaves_that_of_the_next_consumer(client: Any) -> None:
    queue = client.queue("q", ttl=TTL)
    queue.put("job")
    lost = queue.take()
    client.remove(lost.fence.key)
    again = queue.take(timeout=SECONDS)
    lost.release()
    with pytest.raises(LockTimeout):
        queue.take(timeout=0)
    again.acknowledge()


def test_a_consumer_waits_for_an_item(client: Any) -> None:
    with ThreadPoolExecutor(4) as threads:
        taken = [threads.submit(client.queue("q").take, timeout=SECONDS) for _ in range(4)]
        for number in range(4):
            client.queue("q").put(number)
        items = [each.result() for each in taken]
    assert sorted(item.value for item in items) == [0, 1, 2, 3]
    for item in items:
        item.release()
    assert client.queue("q").size() == 4


def test_a_value_of_another_type_stays_in_the_queue(client: Any) -> None:
    client.queue("q").put("text")
    with pytest.raises(DeserializeFailed):
        client.queue("q", int).take()
    assert client.queue("q").take(timeout=SECONDS).value == "text"
    with pytest.raises(InvalidRequest):
        client.queue("q").put_many(["x" * (1 << 20)] * 5)
    for single in ("text", b"bytes"):
        with pytest.raises(InvalidRequest, match="a collection, not one"):
            client.queue("q").put_many(single)
    assert client.queue("q").size() == 1


def test_an_item_is_never_overwritten(client: Any) -> None:
    queue = client.queue("q")
    queue.put("one")
    client.remove("q/next")
    with pytest.raises(InsertFailed, match="counts fewer items"):
        queue.put("two")
    assert [queue.take().value, queue.size()] == ["one", 1]


# --- counters and parties


def test_a_counter_counts(client: Any) -> None:
    counter = client.counter("n")
    assert counter.value() == 0
    in_threads(4, lambda _: [counter.increment(2) for _ in range(5)])
    assert counter.decrement() == 39
    for by in ("5", True, 1.0, None, -(1 << 63)):
        with pytest.raises(InvalidRequest):
            counter.decrement(by)
    assert counter.value() == 39


def test_no_party_is_among_the_members_of_another(client: Any) -> None:
    for name in ("a/member-b", "member-b", "member-b/c"):
        with pytest.raises(InvalidRequest, match="begins with 'member-'"):
            client.party(name)


def test_a_party_lists_those_who_are_here(client: Any, cluster: Cluster) -> None:
    party = client.party("p", ttl=TTL)
    with party.watch(str) as changes, party.join("one") as one, party.join("two") as two:
        assert [entry.value for entry in party.members(str)] == ["one", "two"]
        one.update("1")
        assert [entry.value for entry in party.members(str)] == ["1", "two"]
        two.leave()
        assert [entry.key for entry in party.members()] == [one.fence.key]
        two.join("2")
        kinds = [change.kind for change in itertools.islice(changes, 6)]
    assert party.members() == []
    insert, remove = EventKind.INSERT, EventKind.REMOVE
    assert kinds == [EventKind.SYNCED, insert, insert, insert, remove, insert]
