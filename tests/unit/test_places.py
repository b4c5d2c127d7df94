"""Places: no place is lost or given twice, whatever the waiting calls do."""

import asyncio

import pytest

from protocol.deadlines import NEVER
from skiff.errors import RequestTimeout
from skiff.places import Places


async def taken(places: Places) -> "asyncio.Task[None]":
    """Begin to wait for a place."""
    task = asyncio.ensure_future(places.wait(NEVER))
    await asyncio.sleep(0)
    return task


def test_a_place_goes_to_the_first_call_that_still_waits() -> None:
    async def use() -> None:
        places = Places(1)
        places.take()
        gone, first, second = [await taken(places) for _ in range(3)]
        gone.cancel()
        places.leave()
        await first
        assert not second.done()
        assert not places.are_free
        places.leave()
        await second
        places.leave()
        assert places.are_free

    asyncio.run(use())


def test_a_place_that_is_given_to_a_call_as_it_is_cancelled_goes_to_the_next() -> None:
    async def use() -> None:
        places = Places(1)
        places.take()
        first, second = [await taken(places) for _ in range(2)]
        places.leave()
        first.cancel()
        await second
        assert first.cancelled()

    asyncio.run(use())


def test_a_place_in_excess_is_not_handed_on() -> None:
    async def use() -> None:
        places = Places(1)
        places.take()
        waiting = await taken(places)
        places.take()
        places.leave()
        await asyncio.sleep(0)
        assert not waiting.done()
        places.leave()
        await waiting
        places.leave()
        assert places.are_free

    asyncio.run(use())


def test_calls_that_gave_up_are_not_kept_while_no_place_becomes_free() -> None:
    async def use() -> None:
        places = Places(1)
        places.take()
        patient = await taken(places)
        for _ in range(10):
            with pytest.raises(RequestTimeout):
                await places.wait(asyncio.get_running_loop().time())
        assert len(places._queue) == 1
        places.leave()
        await patient
        assert not places._queue

    asyncio.run(use())
