"""Lease keepers: the thread or task of a client looks at its leases only when there is need."""

import asyncio
import threading
from typing import Any
from unittest.mock import Mock

import pytest

from protocol.client.held_lease import HeldLease
from protocol.messages.client import KeepAlive, KeptAlive
from skiff import LeaseExpired
from skiff import lease as lease_module
from skiff.arguments import Timeout
from skiff.async_lease import AsyncLeaseKeeper
from skiff.lease import LeaseKeeper
from skiff.method import Idempotent, Method
from skiff.steady import steady_seconds
from tests.harness.counted_lease import CountedLease

TTL = 60.0
SECONDS = 10.0  # for what should happen at once
COUNT = 300


class Nodes:
    """Answers keep-alives with the same time for each lease; 0 if all have ended."""

    def __init__(self, ttl_ms: int = 60_000) -> None:
        self.ttl_ms = ttl_ms
        self.asked = threading.Event()
        self.asked_in_loop = asyncio.Event()
        self.kept: list[tuple[int, ...]] = []

    def run(self, method: Method[Any], _: Timeout) -> object:
        request = next(method)
        assert isinstance(request, Idempotent)
        assert isinstance(request.operation, KeepAlive)
        leases = request.operation.leases
        self.kept.append(leases)
        self.asked.set()
        try:
            method.send(KeptAlive(tuple(self.ttl_ms for _ in leases), COUNT))
        except StopIteration as stop:
            return stop.value
        raise AssertionError("one request only")

    async def run_in_loop(self, method: Method[Any], seconds: Timeout) -> object:
        self.asked_in_loop.set()
        return self.run(method, seconds)


class Keeper(LeaseKeeper):
    """The keeper of a blocking client that is open."""

    def __init__(self, nodes: Nodes) -> None:
        self.looks = threading.Event()
        self.ended = threading.Event()
        super().__init__(nodes.run, self.ended.set, self._look)

    def _look(self) -> bool:
        self.looks.set()  # from now on until it waits, the thread holds the mutex
        return False


class Unwalked(dict[int, Any]):
    """A mapping that is never walked."""

    def items(self) -> Any:
        raise AssertionError("it is walked")

    __iter__ = values = keys = items


def fresh(lease: int) -> HeldLease:
    return CountedLease(lease, TTL, steady_seconds())


def due(lease: int) -> HeldLease:
    """Return a lease that is to be kept alive at once."""
    return HeldLease(lease, TTL, steady_seconds() - TTL / 2)


@pytest.fixture
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread look by itself only after a long time."""
    monkeypatch.setattr(lease_module, "WAIT_SECONDS_MAX", TTL)


def test_the_task_sleeps_while_leases_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        keeper = AsyncLeaseKeeper(Nodes().run_in_loop)
        wake = Mock(wraps=keeper._changed.set)
        monkeypatch.setattr(keeper._changed, "set", wake)
        CountedLease.looked_at = 0
        leases = []
        for number in range(COUNT):
            leases.append(keeper.add(fresh(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not wake.called
        for lease in leases:
            keeper.drop(lease)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.wait_for(keeper.closed(), SECONDS)
        assert wake.call_count == 1

    asyncio.run(use())
    assert CountedLease.looked_at < 20 * COUNT


@pytest.mark.usefixtures("only_woken")
def test_the_thread_sleeps_while_leases_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(Nodes())
    wake = Mock(wraps=keeper._changed.notify)
    monkeypatch.setattr(keeper._changed, "notify", wake)
    leases = [keeper.add(fresh(number)) for number in range(COUNT)]
    assert not wake.called
    for lease in leases:
        keeper.drop(lease)
    assert wake.call_count == 1
    assert keeper.ended.wait(SECONDS)


def test_a_lease_that_is_due_first_wakes_the_task() -> None:
    async def use() -> None:
        nodes = Nodes()
        keeper = AsyncLeaseKeeper(nodes.run_in_loop)
        keeper.add(fresh(1))
        await asyncio.sleep(0)
        keeper.add(due(2))
        await asyncio.wait_for(nodes.asked_in_loop.wait(), SECONDS)
        assert nodes.kept == [(2,)]
        keeper.close()
        await keeper.closed()

    asyncio.run(use())


@pytest.mark.usefixtures("only_woken")
def test_a_lease_that_is_due_first_wakes_the_thread() -> None:
    nodes = Nodes()
    keeper = Keeper(nodes)
    leases = [keeper.add(fresh(1))]
    assert keeper.looks.wait(SECONDS)
    leases.append(keeper.add(due(2)))
    assert nodes.asked.wait(SECONDS)
    assert nodes.kept == [(2,)]
    for lease in leases:
        keeper.drop(lease)
    assert keeper.ended.wait(SECONDS)


def test_a_lease_whose_object_is_gone_is_found_without_a_look_at_the_others() -> None:
    keeper = Keeper(Nodes())
    keeper._owned = Unwalked()
    held, orphan = keeper.add_owned(fresh(1)), keeper.add_owned(fresh(2))
    lost = orphan.lost
    del orphan
    assert lost.wait(SECONDS)
    assert not held.lost.is_set()
    keeper.drop(held)
    assert keeper.ended.wait(SECONDS)


@pytest.mark.usefixtures("only_woken")
def test_a_lease_that_its_holder_finds_ended_is_lost_at_once() -> None:
    keeper = Keeper(Nodes(ttl_ms=0))
    lease = keeper.add(fresh(1))
    with pytest.raises(LeaseExpired):
        lease.keep_alive()
    assert lease.lost.is_set()
    assert keeper.ended.wait(SECONDS)


def test_a_lease_of_an_asyncio_client_that_its_holder_finds_ended_is_lost_at_once() -> None:
    async def use() -> None:
        keeper = AsyncLeaseKeeper(Nodes(ttl_ms=0).run_in_loop)
        lease = keeper.add(fresh(1))
        with pytest.raises(LeaseExpired):
            await lease.keep_alive()
        assert lease.lost.is_set()
        await asyncio.wait_for(keeper.closed(), SECONDS)

    asyncio.run(use())
