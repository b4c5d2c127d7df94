"""Leaving: a turn whose key was gone is lost, even if its lease cannot be ended."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from skiff import LockLost, RequestTimeout
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.async_lock import AsyncLock
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.lock import Lock, lock_contest
from skiff.recipes.turn import Turn

SECONDS = 5.0
JOBS = lock_contest("jobs", 10.0, None)


def holding(coordinator: Any, mock: type[Mock], **lease: Any) -> Any:
    """Return a coordinator that gives each contender its turn.

    The client counts on the lease of the turn, which no node ends in time.
    """
    revoke = mock(side_effect=RequestTimeout("no answer"))
    held: Any = Mock(remaining=SECONDS, revoke=revoke, **lease)
    coordinator.take_turn = mock(return_value=Turn("k", 7, held))
    return coordinator


def lock(removed: Any) -> Lock:
    client = Mock(remove=Mock(side_effect=[removed]))
    return Lock(holding(Coordinator(client, Mock(), Mock(), SECONDS), Mock), JOBS)


def async_lock(removed: Any) -> AsyncLock:
    coordinator = AsyncCoordinator(Mock(), AsyncMock(), Mock(), SECONDS)
    remove = AsyncMock(side_effect=[removed])
    finish = lambda release: release  # noqa: E731
    return AsyncLock(holding(coordinator, AsyncMock, perform=remove, finish=finish), JOBS)


def test_a_lock_whose_key_was_gone_is_lost_though_its_lease_cannot_be_revoked() -> None:
    with pytest.raises(LockLost), lock(removed=False):
        pass
    held = lock(removed=False)
    held.acquire()
    with pytest.raises(LockLost):
        held.release()


def test_a_lock_of_an_asyncio_client_whose_key_was_gone_is_lost_likewise() -> None:
    async def use() -> None:
        held = async_lock(removed=False)
        await held.acquire()
        with pytest.raises(LockLost):
            await held.release()

    asyncio.run(use())


def test_a_lock_whose_removal_has_no_answer_is_not_said_to_be_lost() -> None:
    with lock(removed=RequestTimeout("no answer")):
        pass

    async def use() -> None:
        held = async_lock(removed=RequestTimeout("no answer"))
        await held.acquire()
        await held.release()

    asyncio.run(use())
