"""Watches and backups of the asyncio client on real nodes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from protocol.client.watch import Place
from protocol.messages.client import ChangePage
from skiff import (
    AsyncClient,
    ClientClosed,
    EventKind,
    InvalidRequest,
    RequestTimeout,
    SkiffError,
)
from skiff.async_caller import AsyncCaller
from skiff.testing import Cluster
from tests.cluster.asyncio_client import SECONDS, client_of, run, until, until_waiting

pytestmark = pytest.mark.cluster


def test_a_receiver_times_out_while_pages_bring_no_change(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = AsyncCaller.call

    async def never_finish(self: AsyncCaller, operation: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = await call(self, operation, *args, **kwargs)
        if isinstance(outcome, ChangePage):
            outcome = ChangePage((), operation.after, operation.position, more=True)
        return outcome

    async def use() -> None:
        async with client_of(cluster) as client:
            since = await client.insert("empty pages/key", 1)
            with monkeypatch.context() as patched:
                patched.setattr(AsyncCaller, "call", never_finish)
                changes = await client.watch("empty pages/", since=since)
                changes._watch._complete_from = Place(await client.insert("empty pages/key", 2))
                with pytest.raises(RequestTimeout, match="still being fetched"):
                    await changes.recv(timeout=0.1)
            async with changes:
                assert await changes.recv(int, timeout=SECONDS) == ("empty pages/key", 2)

    run(use())


def test_every_change_arrives_in_order(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client, await client.watch("order/", type=int) as changes:
            revisions = await asyncio.gather(*[client.insert(f"order/{n}", n) for n in range(1000)])
            await client.insert("other/1", 1)
            await client.remove("order/7")
            others = Mock()
            beside = asyncio.ensure_future(_run_beside(others))
            seen = [await anext(changes) for _ in range(1001)]
            beside.cancel()
            assert others.call_count >= 10, "a backlog of changes starves other tasks"
            assert [each.revision for each in seen] == [*sorted(revisions), changes.revision]
            assert {each.value for each in seen[:-1]} == set(range(1000))
            assert (seen[-1].kind, seen[-1].key) == (EventKind.REMOVE, "order/7")
            with pytest.raises(RequestTimeout):
                await changes.next_event(timeout=0.2)
            await client.insert("order/last", 5)
            assert await changes.recv(timeout=SECONDS) == ("order/last", 5)

    run(use())


async def _run_beside(turn: Mock) -> None:
    while True:
        turn()
        await asyncio.sleep(0)


def test_tasks_watch_concurrently_and_a_cancelled_receive_loses_no_change(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            first, second = await client.watch("side/"), await client.watch("side/")
            waiting = asyncio.ensure_future(anext(first))
            await until_waiting(first)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await client.insert("side/1", 1)
            events = await asyncio.gather(anext(first), anext(second))
            assert {each.key for each in events} == {"side/1"}
            both = [asyncio.ensure_future(anext(first)) for _ in range(2)]
            await until_waiting(first)
            with pytest.raises(RequestTimeout):
                await first.next_event(timeout=0.2)
            await client.insert("side/2", 2)
            await client.insert("side/3", 3)
            assert {each.key for each in await asyncio.gather(*both)} == {"side/2", "side/3"}

    run(use())


def test_a_task_that_receives_again_while_another_waits_keeps_its_deadline(
    cluster: Cluster,
) -> None:
    async def use() -> None:
        async with client_of(cluster) as client, await client.watch("again/") as changes:

            async def receive_twice() -> None:
                await anext(changes)
                with pytest.raises(RequestTimeout):
                    await changes.next_event(timeout=0.2)

            twice = asyncio.ensure_future(receive_twice())
            await until_waiting(changes)
            other = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            await client.insert("again/1", 1)
            await twice
            other.cancel()

    run(use())


def test_unreceived_changes_do_not_spin_the_loop(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        async with client_of(cluster) as client, await client.watch("idle/") as changes:
            await client.insert("idle/1", 1)
            selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
            select = Mock(side_effect=selector.select)
            monkeypatch.setattr(selector, "select", select)
            await asyncio.sleep(1.0)
            assert select.call_count < 100, "a loop that spins selects thousands of times a second"
            assert (await anext(changes)).key == "idle/1"

    run(use())


def test_a_thousand_watches_of_a_node_share_a_few_connections(cluster: Cluster) -> None:
    async def use() -> None:
        async with AsyncClient([cluster.leader().address], timeout=SECONDS) as client:
            watches = await asyncio.gather(*[client.watch("crowd/") for _ in range(500)])
            watches += await asyncio.gather(*[client.watch(f"crowd/{n}") for n in range(500)])
            feeds = {each._subscription._feed for each in watches if each._subscription}
            assert len(feeds) < 10
            revisions = [await client.insert(f"crowd/{n}", n) for n in (7, 499)]
            for watch in watches[:500]:
                seen = [await watch.next_event(SECONDS) for _ in revisions]
                assert [each.revision for each in seen] == revisions
            assert (await watches[999].next_event(SECONDS)).revision == revisions[1]
            for watch in watches:
                await watch.aclose()
            assert all(each.is_closed for each in feeds)

    run(use())


def test_closing_a_subscriber_or_its_client_ends_a_pending_receive(cluster: Cluster) -> None:
    async def use() -> None:
        client = client_of(cluster)
        changes, other = await client.watch("end/"), await client.watch("end/")
        waiting = [asyncio.ensure_future(anext(each)) for each in (changes, other)]
        await until_waiting(changes, other)
        await changes.aclose()
        with pytest.raises(ClientClosed):
            await waiting[0]
        await client.aclose()
        with pytest.raises(ClientClosed):
            await waiting[1]
        with pytest.raises(ClientClosed):
            await anext(other)
        assert "closed" in repr(changes)

    run(use())


def test_a_watch_belongs_to_one_event_loop(cluster: Cluster) -> None:
    with asyncio.Runner() as first:
        client = client_of(cluster)
        changes = first.run(client.watch("loop/"))
        with (
            ThreadPoolExecutor(1) as thread,
            pytest.raises(SkiffError, match="belongs to the event loop"),
        ):
            thread.submit(asyncio.run, changes.next_event(timeout=1)).result()
        first.run(client.aclose())


def test_a_watch_outlives_its_node(own_cluster: Cluster) -> None:
    async def use() -> None:
        node, *others = own_cluster.nodes
        addresses = [node.address, *[each.address for each in others]]
        async with AsyncClient(addresses, timeout=SECONDS) as client:
            changes = await client.watch("lost/", type=int, initial=True)
            assert (await anext(changes)).kind == "synced"
            waiting = asyncio.ensure_future(anext(changes))
            await until_waiting(changes)
            own_cluster.kill(own_cluster.leader())
            for number in range(50):
                await client.insert(f"lost/{number}", number)
            numbers = [(await waiting).value]
            numbers += [(await changes.next_event(SECONDS)).value for _ in range(49)]
            assert numbers == list(range(50))
            with pytest.raises(InvalidRequest):
                await client.watch(since=10**9)
            async with await client.watch("lost/", since=changes.revision - 2) as resumed:
                assert [(await anext(resumed)).value for _ in range(2)] == [48, 49]

    run(use())


def test_previous_values_come_on_request(cluster: Cluster) -> None:
    async def use() -> None:
        async with (
            client_of(cluster) as client,
            await client.watch("before/", type=int, prev_value=True) as changes,
        ):
            for number in range(3):
                await client.insert("before/a", number)
            seen = [(await anext(changes)).prev_value for _ in range(3)]
            assert seen == [None, 0, 1]

    run(use())


def test_an_invalid_prefix_is_refused(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            with pytest.raises(InvalidRequest):
                await client.watch("a\0b")

    run(use())


def test_a_backup_does_not_block_the_event_loop(cluster: Cluster, tmp_path: Path) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            await asyncio.gather(*[client.insert(f"kept/{n}", b"x" * 5000) for n in range(500)])
            steps: list[int] = []
            path = tmp_path / "kept.backup"
            backup = asyncio.ensure_future(
                client.backup(path, progress=lambda done, _: steps.append(done))
            )
            while not backup.done():
                assert len(await client.get("kept/1", bytes) or b"") == 5000
            assert (await backup).rows >= 500
            assert path.exists()
            assert steps == sorted(steps)
            with pytest.raises(FileExistsError):
                await client.backup(path)

    run(use())


def test_closing_the_client_ends_a_backup(cluster: Cluster, tmp_path: Path) -> None:
    async def use() -> None:
        client = client_of(cluster)
        await client.insert("kept/0", 0)
        backup = asyncio.ensure_future(client.backup(tmp_path / "ended.backup"))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await backup
        assert not (tmp_path / "ended.backup").exists()

    run(use())


def test_a_dropped_subscriber_leaves_its_node(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client:
            changes = await client.watch("dropped/")
            assert changes._subscription is not None
            feed = changes._subscription._feed
            del changes
            assert feed.is_closed

    run(use())


def test_a_closed_subscriber_does_not_wait_for_a_node_to_return(single: Cluster) -> None:
    async def use() -> None:
        async with client_of(single) as client:
            changes = await client.watch()
            receiving = asyncio.ensure_future(anext(changes))
            single.kill(single.nodes[0])
            await until(lambda: changes._watch.is_lost)
            await changes.aclose()
            with pytest.raises(ClientClosed):
                await asyncio.wait_for(receiving, 5)

    run(use())
