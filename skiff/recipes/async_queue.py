"""AsyncQueue: items, each delivered to one consumer at a time, on asyncio; see ``queue``."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from protocol.coordination.queue import Claim
from skiff.arguments import CLIENT_DEFAULT, Timeout, check_wait, seconds_of
from skiff.async_lease import AsyncLease
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.errors import (
    Fenced,
    InsertFailed,
    LockMisused,
    LockTimeout,
    SkiffError,
)
from skiff.operations import Remove
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.queue import RESET, Item, Queue, appending, check_queue, encoded
from skiff.recipes.time_limits import NotFree
from skiff.recipes.turn import late
from skiff.records import Fence
from skiff.values import decode_value


@described_by(Item)
class AsyncItem(BoundToProcess):
    """An item that was taken; the end of an ``async with`` block acknowledges or releases it.

    ``value``: as it was put. ``lost``: an event that is set once another consumer may get it.
    """

    def __init__(
        self, coordinator: AsyncCoordinator, claim: Claim, lease: AsyncLease, value: Any
    ) -> None:
        """Hold a claim."""
        self._coordinator = coordinator
        self._pid = os.getpid()
        self._claim: Claim | None = claim
        self._lease = lease
        self._key = claim.item
        self.value = value

    def __repr__(self) -> str:
        state = "claimed" if self._claim is not None else "not claimed any more"
        return f"<AsyncItem {self._key!r}, {state}>"

    @property
    def lost(self) -> asyncio.Event:
        """The event that is set once another consumer may get the item."""
        return self._lease.lost

    @property
    def fence(self) -> Fence:
        """The fence of the claim; see ``Item.fence``."""
        claim = self._held()
        return Fence(claim.key, claim.token)

    async def acknowledge(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Remove the item from the queue; see ``Item.acknowledge``."""
        await self._lease.finish(self._acknowledge(*self._take_claim(timeout), timeout))

    async def release(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Leave the item to the next consumer; see ``Item.release``."""
        await self._lease.finish(self._release(*self._take_claim(timeout), timeout))

    async def __aenter__(self) -> Self:
        self._held()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._claim is None or self._pid != os.getpid():
            return  # the block has decided, or a forked child leaves it
        if kind is None:
            await self.acknowledge()
            return
        try:
            await self.release()
        except SkiffError as failure:
            assert error is not None
            error.add_note(f"the item is free only once its claim expires: {failure}")

    async def _acknowledge(self, claim: Claim, fence: Fence, timeout: Timeout) -> None:
        operations = (Remove(claim.item), Remove(claim.key))
        try:
            await self._coordinator.client.transact((), operations, fence=fence, timeout=timeout)
        except BaseException:
            self._lease.abandon()
            raise
        self._coordinator.give_back(self._lease)

    async def _release(self, claim: Claim, fence: Fence, timeout: Timeout) -> None:
        try:
            with suppress(Fenced):  # the key may be the claim of another consumer by now
                await self._coordinator.client.remove(claim.key, fence=fence, timeout=timeout)
        except BaseException:
            self._lease.abandon()
            raise
        self._coordinator.give_back(self._lease)

    def _take_claim(self, timeout: Timeout) -> tuple[Claim, Fence]:
        """Return the claim, which this call alone ends, with a timeout that is checked first."""
        seconds_of(timeout, None)
        claim, fence = self._held(), self.fence
        self._claim = None
        return claim, fence

    def _held(self) -> Claim:
        if self._claim is None:
            raise LockMisused(f"{self._key!r} was acknowledged or released")
        if self._pid != os.getpid():
            raise LockMisused(f"{self._key!r} was taken by the parent of this process")
        return self._claim


@described_by(Queue)
class AsyncQueue(BoundToProcess):
    """A queue of an asyncio client."""

    def __init__(self, coordinator: AsyncCoordinator, name: str, type_: Any, ttl: float) -> None:
        """Name the queue; see ``Client.queue``."""
        self._coordinator = coordinator
        self._keys = check_queue(name, type_, ttl)
        self._type = type_
        self._ttl = ttl

    def __repr__(self) -> str:
        return f"<AsyncQueue {self._keys.name!r} of {self._coordinator.client!r}>"

    async def put(self, value: object, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Append an item; see ``Queue.put``."""
        await self.put_many((value,), timeout=timeout)

    async def put_many(
        self, values: Iterable[object], *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Append items as one change, up to 500 and 4 MiB; see ``Queue.put`` for the errors."""
        items = encoded(self._keys, values)
        if items:
            client = self._coordinator.client
            last = await client.increment(self._keys.counter, len(items), timeout=timeout)
            checks, then = appending(self._keys, last, items)
            result = await client.transact(checks, then, timeout=timeout)
            if not result.succeeded:
                raise InsertFailed(f"{self._keys.counter!r} {RESET}")

    async def take(self, *, timeout: float | None = None) -> AsyncItem:
        """Claim the first free item, waiting for one; see ``Queue.take``."""
        check_wait(timeout)
        try:
            claim, lease = await self._coordinator.take_item(self._keys, self._ttl, timeout)
        except NotFree as error:
            state = f"queue {self._keys.name!r} had no free item"
            raise LockTimeout(late(state, timeout)) from error
        item = AsyncItem(self._coordinator, claim, lease, None)
        try:
            item.value = decode_value(claim.item, claim.value, self._type)
        except BaseException:
            await item.release()
            raise
        return item

    async def size(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Return the number of items that are not acknowledged; see ``Queue.size``."""
        return await self._coordinator.client.count(self._keys.items, timeout=timeout)
