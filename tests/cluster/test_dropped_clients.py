"""Dropped clients: an asyncio client without ``aclose`` leaves no socket to its loop, and warns."""

import asyncio
import gc
import os
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from skiff.open_sockets import OpenSockets
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, run, until

pytestmark = pytest.mark.cluster

Sockets = Callable[[], OpenSockets | None]


async def used(cluster: Cluster) -> tuple[list[Any], Sockets]:
    """Return a client with connections, as the only thing held, and its sockets."""
    client = client_of(cluster)
    await client.insert("dropped/key", 1)
    return [client], weakref.ref(client._caller.transport.sockets)


def drop(held: list[Any]) -> None:
    held.clear()
    gc.collect()


def is_collected(sockets: Sockets) -> bool:
    gc.collect()
    return sockets() is None


def test_a_dropped_client_closes_its_sockets_while_its_loop_runs(cluster: Cluster) -> None:
    async def use() -> None:
        held, sockets = await used(cluster)
        held.append(await held[0].watch("dropped/"))
        with pytest.warns(ResourceWarning, match="unclosed AsyncClient of "):
            drop(held)
        await until(lambda: sockets() is None)

    run(use())


def test_a_client_that_is_dropped_in_another_thread_closes_its_sockets(cluster: Cluster) -> None:
    async def use() -> None:
        held, sockets = await used(cluster)
        with pytest.warns(ResourceWarning, match="unclosed"):
            await asyncio.to_thread(drop, held)
        await until(lambda: sockets() is None)

    run(use())


def test_a_client_whose_loop_is_closed_is_dropped_alike(cluster: Cluster) -> None:
    held, sockets = asyncio.run(used(cluster))
    with pytest.warns(ResourceWarning, match="unclosed"):
        drop(held)
    assert is_collected(sockets)


def test_a_client_lasts_as_long_as_its_watches_and_mirrors(cluster: Cluster) -> None:
    async def use() -> None:
        held, sockets = await used(cluster)
        changes, mirror = await held[0].watch("dropped/"), await held[0].mirror("dropped/")
        drop(held)
        async with client_of(cluster) as other:
            revision = await other.insert("dropped/key", 2)
        assert (await changes.next_event()).value == 2
        await mirror.wait_for(revision)
        del changes, mirror  # whose task ends in the next turn of the loop
        with pytest.warns(ResourceWarning, match="unclosed"):
            await until(lambda: is_collected(sockets))

    run(use())


def test_a_forked_process_that_drops_a_client_leaves_it_to_its_parent(cluster: Cluster) -> None:
    async def use() -> None:
        held, _ = await used(cluster)
        assert _warnings_of_child_that_drops(held) == 0
        assert await held[0].get("dropped/key") == 1
        await held[0].aclose()

    run(use())


def _warnings_of_child_that_drops(held: list[Any]) -> int:
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            drop(held)
        os._exit(len(warned))
    finally:
        os._exit(1)
