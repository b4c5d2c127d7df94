"""In-flight limit: no slot is lost or given twice, whatever the waiting calls do."""

import asyncio

import pytest

from protocol.deadlines import NEVER
from skiff.errors import RequestTimeout
from skiff.in_flight import InFlightLimit


async def taken(limit: InFlightLimit) -> "asyncio.Task[None]":
    """Begin to wait for a slot."""
    task = asyncio.ensure_future(limit.wait(NEVER))
    await asyncio.sleep(0)
    return task


def test_a_slot_goes_to_the_first_call_that_still_waits() -> None:
    async def use() -> None:
        limit = InFlightLimit(1)
        limit.take()
        gone, first, second = [await taken(limit) for _ in range(3)]
        gone.cancel()
        limit.leave()
        await first
        assert not second.done()
        assert not limit.has_room
        limit.leave()
        await second
        limit.leave()
        assert limit.has_room

    asyncio.run(use())


def test_a_slot_that_is_given_to_a_call_as_it_is_cancelled_goes_to_the_next() -> None:
    async def use() -> None:
        limit = InFlightLimit(1)
        limit.take()
        first, second = [await taken(limit) for _ in range(2)]
        limit.leave()
        first.cancel()
        await second
        assert first.cancelled()

    asyncio.run(use())


def test_a_slot_in_excess_is_not_handed_on() -> None:
    async def use() -> None:
        limit = InFlightLimit(1)
        limit.take()
        waiting = await taken(limit)
        limit.take()
        limit.leave()
        await asyncio.sleep(0)
        assert not waiting.done()
        limit.leave()
        await waiting
        limit.leave()
        assert limit.has_room

    asyncio.run(use())


def test_calls_that_gave_up_are_not_kept_while_no_slot_becomes_free() -> None:
    async def use() -> None:
        limit = InFlightLimit(1)
        limit.take()
        patient = await taken(limit)
        for _ in range(10):
            with pytest.raises(RequestTimeout):
                await limit.wait(asyncio.get_running_loop().time())
        assert len(limit._queue) == 1
        limit.leave()
        await patient
        assert not limit._queue

    asyncio.run(use())
