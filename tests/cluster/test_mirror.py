"""Mirrors: local mappings that follow the cluster, and end with their owner."""

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skiff import (
    AsyncClient,
    Client,
    ClientClosed,
    Event,
    EventKind,
    InvalidRequest,
    NoNodeReached,
    RequestTimeout,
    StreamClosed,
)
from skiff.testing import Cluster, Node, wait_until

pytestmark = pytest.mark.cluster

SECONDS = 20.0
MANY = 10_000


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix of the shared cluster's keys for one test alone."""
    return f"{request.node.name}/"


def mirror_threads() -> int:
    return sum(thread.name == "skiff mirror" for thread in threading.enumerate())


def mirror_tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "skiff mirror"]


def test_a_mirror_shows_what_is_there_and_then_every_change(client: Client, prefix: str) -> None:
    client.insert(prefix + "a", 1)
    client.insert(prefix[:-1] + "s", "of no mirror")
    events: list[Event[Any]] = []
    with client.mirror(prefix, int) as mirror:
        assert mirror == {prefix + "a": 1}
        assert mirror.synced.is_set()
        mirror.on_change(events.append)
        client.insert(prefix + "b", 2)
        client.remove(prefix + "a")
        client.insert_many({prefix + "c": 3, prefix + "d": 4})
        last = client.remove_prefix(prefix + "c") and client.insert(prefix + "e", 5)
        mirror.wait_for(last, SECONDS)
        with pytest.raises(InvalidRequest):
            mirror.wait_for(None)  # type: ignore[arg-type]
        assert mirror == {prefix + "b": 2, prefix + "d": 4, prefix + "e": 5}
        assert mirror.revision_of(prefix + "e") == last
        wait_until(lambda: len(events) == 6, "the callbacks were called")
    kinds = [event.kind for event in events]
    assert kinds == [
        EventKind.INSERT,
        EventKind.REMOVE,
        EventKind.INSERT,
        EventKind.INSERT,
        EventKind.REMOVE,
        EventKind.INSERT,
    ]


def test_a_revision_of_other_keys_is_awaited_as_well(client: Client, prefix: str) -> None:
    with client.mirror(prefix) as mirror:
        elsewhere = client.insert("elsewhere", 1)
        mirror.wait_for(elsewhere, SECONDS)
        assert mirror.revision >= elsewhere
        with pytest.raises(RequestTimeout):
            mirror.wait_for(elsewhere + 1000, 0.1)
        with pytest.raises(InvalidRequest):
            mirror.wait_for(-1)


def test_keys_that_expire_leave_the_mirror(client: Client, prefix: str) -> None:
    kinds: list[EventKind] = []
    client.insert(prefix + "a", 1, ttl=1)
    with client.mirror(prefix) as mirror:
        mirror.on_change(lambda event: kinds.append(event.kind))
        assert len(mirror) == 1
        wait_until(lambda: not mirror, "the key expires")
        wait_until(lambda: kinds == [EventKind.EXPIRE], "the callback sees why")


def test_a_callback_cannot_wait_for_its_own_mirror(client: Client, prefix: str) -> None:
    outcomes: list[object] = []
    with client.mirror(prefix, int) as mirror:

        def wait(event: Event[Any]) -> None:
            mirror.wait_for(event.revision)
            try:
                mirror.wait_for(event.revision + 1)
            except InvalidRequest as error:
                outcomes.append(str(error))

        mirror.on_change(wait)
        client.insert(prefix + "a", 1)
        mirror.wait_for(client.insert(prefix + "b", 2), SECONDS)
        wait_until(lambda: len(outcomes) == 2, "both callbacks have returned")
    assert set(outcomes) == {"a mirror's callback cannot wait for its own mirror to advance"}


def test_a_mirror_never_shows_half_a_transaction(client: Client, prefix: str) -> None:
    torn: list[object] = []
    client.insert_many({prefix + "a": 0, prefix + "b": 0})
    with client.mirror(prefix, int) as mirror:
        is_over = threading.Event()

        def look() -> None:
            while not is_over.is_set():
                values = list(mirror.values())
                if len(set(values)) != 1:
                    torn.append(values)

        looking = threading.Thread(target=look)
        looking.start()
        for number in range(1, 200):
            client.insert_many({prefix + "a": number, prefix + "b": number})
        mirror.wait_for(client.insert(prefix + "c", 199), SECONDS)
        is_over.set()
        looking.join()
    assert [each for each in torn if each != [199, 199, 199]] == []


def test_every_node_feeds_a_mirror_across_a_kill_of_the_leader(
    cluster: Cluster, client: Client, prefix: str
) -> None:
    clients = [Client([node.address], timeout=SECONDS) for node in cluster.nodes]
    mirrors = [each.mirror(prefix, int) for each in clients]
    client.insert(prefix + "before", 1)
    leader = cluster.leader()
    cluster.kill(leader)
    with cluster.client(timeout=SECONDS) as other:
        last = other.insert(prefix + "after", 2)
    for mirror in mirrors:
        mirror.wait_for(last, SECONDS)
        assert mirror == {prefix + "before": 1, prefix + "after": 2}
    cluster.restart(leader)
    for each in clients:
        each.close()
    assert all(mirror.closed and mirror.failure is None for mirror in mirrors)
    wait_until(lambda: not mirror_threads(), "their threads end")


def test_ten_thousand_keys(client: Client, prefix: str) -> None:
    numbers = [f"{prefix}{number:05}" for number in range(MANY)]
    for begin in range(0, MANY, 1000):
        client.insert_many({key: int(key[-5:]) for key in numbers[begin : begin + 1000]})
    with client.mirror(prefix, int, timeout=SECONDS) as mirror:
        assert list(mirror) == numbers
        assert sum(mirror.values()) == MANY * (MANY - 1) // 2
        client.remove_prefix(prefix)
        mirror.wait_for(client.insert(prefix + "last", 1), SECONDS)
        assert mirror == {prefix + "last": 1}


# --- beginning anew


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that keep about 64 changes."""
    options = ("--history-changes-kept", "64")
    with Cluster(3, directory=tmp_path, options=options) as running:
        yield running


def lose_changes(cluster: Cluster, node: Node) -> int:
    """Write more than is kept while a node is down; return the revision that it has afterwards."""
    cluster.kill(node)
    with cluster.client(timeout=SECONDS) as other:
        other.remove("a/gone")
        last = [other.insert("a/new", number) for number in range(200)][-1]
    cluster.restart(node)
    with node.client(timeout=SECONDS) as near:
        near.get("a/new", at_least=last)
    return last


def test_a_mirror_begins_anew_after_the_loss_of_changes(forgetful: Cluster) -> None:
    node = forgetful.followers()[0]
    seen: list[tuple[str, EventKind, Any]] = []
    lost: list[int] = []

    def note(event: Event[Any]) -> None:
        seen.append((event.key, event.kind, event.value))
        if event.key == "a/kept":  # the mirror does not go on meanwhile
            lost.append(lose_changes(forgetful, node))

    with (
        Client([node.address], timeout=SECONDS, follow_leader=False) as near,
        near.mirror("a/", int) as mirror,
    ):
        mirror.on_change(note)
        near.insert("a/gone", 1)
        near.insert("a/kept", 1)
        wait_until(lambda: lost, "changes are lost")
        mirror.wait_for(lost[0], SECONDS)
        assert mirror == {"a/kept": 1, "a/new": 199}
        assert mirror.synced.wait(SECONDS)
        mirror.wait_for(near.insert("a/new", 200), SECONDS)
        wait_until(lambda: len(seen) == 5, "the callbacks were called")
    assert seen == [
        ("a/gone", EventKind.INSERT, 1),
        ("a/kept", EventKind.INSERT, 1),
        ("a/gone", EventKind.REMOVE, None),
        ("a/new", EventKind.INSERT, 199),
        ("a/new", EventKind.INSERT, 200),
    ]


def test_an_asyncio_mirror_begins_anew_after_the_loss_of_changes(forgetful: Cluster) -> None:
    node = forgetful.followers()[0]
    kinds: list[EventKind] = []
    lost: asyncio.Future[int]

    def note(event: Event[Any]) -> None:
        kinds.append(event.kind)
        if event.key == "a/kept":  # the mirror does not go on meanwhile
            lost.set_result(lose_changes(forgetful, node))

    async def main() -> None:
        nonlocal lost
        lost = asyncio.get_running_loop().create_future()
        async with AsyncClient([node.address], timeout=SECONDS, follow_leader=False) as near:
            mirror = await near.mirror("a/", int)
            mirror.on_change(note)
            await near.insert("a/gone", 1)
            await near.insert("a/kept", 1)
            await mirror.wait_for(await lost, SECONDS)
            assert mirror == {"a/kept": 1, "a/new": 199}
            assert mirror.synced.is_set()
            await mirror.aclose()
        assert kinds == [EventKind.INSERT, EventKind.INSERT, EventKind.REMOVE, EventKind.INSERT]

    asyncio.run(main())


# --- the end


def test_a_closed_mirror_stays_readable_and_wakes_its_waiters(client: Client, prefix: str) -> None:
    client.insert(prefix + "a", 1)
    mirror = client.mirror(prefix)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            mirror.wait_for(1 << 40)
        except ClientClosed as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    mirror.close()
    waiting.join(SECONDS)
    assert len(errors) == 1
    assert mirror.closed
    assert mirror == {prefix + "a": 1}
    mirror.wait_for(mirror.revision)
    with pytest.raises(ClientClosed):
        mirror.wait_for(mirror.revision + 1)
    mirror.close()
    assert not mirror_threads()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
def test_no_callback_ends_a_mirror(
    client: Client, prefix: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event[Any]) -> None:
        raise kind

    with client.mirror(prefix, int) as mirror:
        mirror.on_change(fail)
        client.insert(prefix + "a", 1)
        mirror.wait_for(client.insert(prefix + "b", 2), SECONDS)
        assert mirror == {prefix + "a": 1, prefix + "b": 2}
    assert "callback failed" in caplog.text


def test_a_dropped_mirror_leaves_no_thread(client: Client, prefix: str) -> None:
    mirror = client.mirror(prefix)
    assert mirror_threads() == 1
    del mirror
    gc.collect()
    wait_until(lambda: not mirror_threads(), "its thread ends", timeout=3)


def test_a_mirror_is_refused_in_a_forked_child(client: Client, prefix: str) -> None:
    with client.mirror(prefix) as mirror:
        pid = os.fork()
        if pid == 0:
            refused = 0
            for use in (lambda: mirror.get("a"), lambda: mirror.wait_for(1), lambda: list(mirror)):
                try:
                    use()
                except StreamClosed:
                    refused += 1
            mirror.close()
            os._exit(0 if refused == 3 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        mirror.wait_for(client.insert(prefix + "a", 1), SECONDS)
        assert not mirror.closed


def test_a_mirror_that_no_node_confirms_is_an_error_at_once() -> None:
    before = mirror_threads()
    with Client("127.0.0.1:1", timeout=0.2) as client:
        with pytest.raises((RequestTimeout, NoNodeReached)):
            client.mirror("a/")
        with pytest.raises(InvalidRequest):
            client.mirror("a/", list[int] | list[str])
    assert mirror_threads() == before


def test_a_mirror_of_an_asyncio_client_follows(cluster: Cluster, prefix: str) -> None:
    async def main() -> None:
        events: list[str] = []
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            await client.insert(prefix + "a", 1)
            mirror = await client.mirror(prefix, int)
            assert mirror == {prefix + "a": 1}
            assert mirror.synced.is_set()
            mirror.on_change(lambda event: events.append(event.key))
            writes = [client.insert(f"{prefix}{number}", number) for number in range(100)]
            await mirror.wait_for(max(await asyncio.gather(*writes)), SECONDS)
            assert len(mirror) == 101
            assert len(events) == 100
            with pytest.raises(RequestTimeout):
                await mirror.wait_for(1 << 40, 0.1)
            with pytest.raises(InvalidRequest):
                await mirror.wait_for(None)  # type: ignore[arg-type]
            await mirror.wait_for(await client.insert("elsewhere", 1), SECONDS)
        with pytest.raises(ClientClosed):
            await mirror.wait_for(1 << 40)
        assert mirror.closed
        assert mirror.failure is None
        assert len(mirror) == 101

    asyncio.run(main())


def test_mirrors_of_asyncio_clients_heal_after_a_kill_of_the_leader(
    cluster: Cluster, prefix: str
) -> None:
    async def follow(address: str, ready: asyncio.Event, last: "asyncio.Future[int]") -> None:
        async with AsyncClient([address], timeout=SECONDS) as client:
            mirror = await client.mirror(prefix, int)
            await mirror.wait_for(await client.insert(prefix + address, 1), SECONDS)
            ready.set()
            await mirror.wait_for(await last, SECONDS)
            assert mirror[prefix + "last"] == 2

    async def main() -> None:
        last = asyncio.get_running_loop().create_future()
        ready = [asyncio.Event() for _ in cluster.nodes]
        followers = [
            asyncio.ensure_future(follow(node.address, event, last))
            for node, event in zip(cluster.nodes, ready, strict=True)
        ]
        await asyncio.gather(*[event.wait() for event in ready])
        leader = cluster.leader()
        cluster.kill(leader)
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            last.set_result(await client.insert(prefix + "last", 2))
        await asyncio.gather(*followers)
        cluster.restart(leader)

    asyncio.run(main())


def test_a_mirror_of_an_asyncio_client_ends(cluster: Cluster, prefix: str) -> None:
    async def main() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            async with await client.mirror(prefix) as mirror:
                waiting = asyncio.ensure_future(mirror.wait_for(1 << 40))
                await asyncio.sleep(0)
            with pytest.raises(ClientClosed):
                await waiting
            dropped = await client.mirror(prefix)
            tasks = mirror_tasks()
            assert tasks
            del dropped
            gc.collect()
            _, running = await asyncio.wait(tasks, timeout=SECONDS)
            assert not running

    asyncio.run(main())
