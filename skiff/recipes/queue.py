"""Queue: items in order, each delivered to one consumer at a time until one acknowledges it.

An item is delivered at least once: if its consumer dies, is stopped for longer than ``ttl`` or
releases it, the next one gets it. It is acknowledged exactly once: a consumer that has lost its
claim meanwhile gets ``Fenced``. Items are taken in the order in which their puts began; those that
come back keep their place. Each put and each take costs two writes, each acknowledgement one.
"""

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from threading import Event as Signal
from types import TracebackType
from typing import Any, Self

import msgspec

from protocol.coordination.queue import Claim, QueueKeys
from protocol.state import commands
from protocol.state.commands import GrantLease, Transact
from skiff.arguments import (
    CLIENT_DEFAULT,
    Timeout,
    check_change,
    check_collection,
    check_key,
    check_wait,
    milliseconds_of,
    seconds_of,
)
from skiff.bound import BoundToProcess
from skiff.errors import (
    Fenced,
    InsertFailed,
    LockMisused,
    LockTimeout,
    SkiffError,
)
from skiff.lease import Lease
from skiff.operations import Check, Insert, Remove
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.time_limits import NotFree
from skiff.recipes.turn import late
from skiff.records import Fence
from skiff.values import check_type, decode_value, encode_value

RESET = "counts fewer items than the queue has had; nothing was appended"


class Item(BoundToProcess):
    """An item that was taken; the end of a ``with`` block acknowledges it, or an error releases it.

    ``value``: as it was put. ``lost``: an event that is set once another consumer may get it.
    """

    def __init__(self, coordinator: Coordinator, claim: Claim, lease: Lease, value: Any) -> None:
        """Hold a claim."""
        self._coordinator = coordinator
        self._pid = os.getpid()
        self._mutex = threading.RLock()
        self._claim: tuple[Claim, Lease] | None = claim, lease
        self._lost = lease.lost
        self._key = claim.item
        self.value = value

    def __repr__(self) -> str:
        state = "claimed" if self._claim is not None else "not claimed any more"
        return f"<Item {self._key!r}, {state}>"

    @property
    def lost(self) -> Signal:
        """The event that is set once another consumer may get the item."""
        return self._lost

    @property
    def fence(self) -> Fence:
        """The fence of the claim, for writes that are refused once the claim is lost.

        Raises:
            LockMisused: the item was acknowledged or released.
        """
        claim, _ = self._held()
        return Fence(claim.key, claim.token)

    def acknowledge(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Remove the item from the queue.

        Raises:
            Fenced: the claim was lost; another consumer gets the item, or has acknowledged it.
            LockMisused: the item was acknowledged or released before.
            InvalidRequest: the timeout is invalid; the claim goes on.
            OutcomeUnknown: the deadline passed; if the item is still there, its claim expires.
            RequestTimeout: likewise.
        """
        claim, lease, fence = self._take_claim(timeout)
        operations = (Remove(claim.item), Remove(claim.key))
        try:
            self._coordinator.client.transact((), operations, fence=fence, timeout=timeout)
        except BaseException:
            lease.abandon()
            raise
        self._coordinator.give_back(lease)

    def release(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Leave the item to the next consumer, at its place in the order; it may have it already.

        Raises:
            LockMisused: the item was acknowledged or released before.
            InvalidRequest: the timeout is invalid; the claim goes on.
            OutcomeUnknown: the deadline passed; it is free once its claim expires.
            RequestTimeout: likewise.
        """
        claim, lease, fence = self._take_claim(timeout)
        try:
            with suppress(Fenced):  # the key may be the claim of another consumer by now
                self._coordinator.client.remove(claim.key, fence=fence, timeout=timeout)
        except BaseException:
            lease.abandon()
            raise
        self._coordinator.give_back(lease)

    def __enter__(self) -> Self:
        self._held()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._claim is not None and self._pid == os.getpid():
                self._end_block(error)
            # Else the block has decided, or a forked child leaves it.
        except BaseException:
            self._claim = None  # or an interrupt would leave it claimed after its block
            raise

    def _end_block(self, error: BaseException | None) -> None:
        if error is None:
            self.acknowledge()
            return
        try:
            self.release()
        except SkiffError as failure:
            error.add_note(f"the item is free only once its claim expires: {failure}")

    def _take_claim(self, timeout: Timeout) -> tuple[Claim, Lease, Fence]:
        """Return the claim, which this call alone ends, with a timeout that is checked first."""
        seconds_of(timeout, None)
        with self._mutex:
            (claim, lease), fence = self._held(), self.fence
            self._claim = None
        return claim, lease, fence

    def _held(self) -> tuple[Claim, Lease]:
        if self._claim is None:
            raise LockMisused(f"{self._key!r} was acknowledged or released")
        if self._pid != os.getpid():
            raise LockMisused(f"{self._key!r} was taken by the parent of this process")
        return self._claim


class Queue(BoundToProcess):
    """A queue of a blocking client."""

    def __init__(self, coordinator: Coordinator, name: str, type_: Any, ttl: float) -> None:
        """Name the queue; see ``Client.queue``."""
        self._coordinator = coordinator
        self._keys = check_queue(name, type_, ttl)
        self._type = type_
        self._ttl = ttl

    def __repr__(self) -> str:
        return f"<Queue {self._keys.name!r} of {self._coordinator.client!r}>"

    def put(self, value: object, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Append an item.

        Raises:
            SerializeFailed: MessagePack cannot encode the value.
            InvalidRequest: the value is too large.
            InsertFailed: the counter of the queue was removed or set; nothing was appended.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; it may have been appended, or may yet be.
            RequestTimeout: the deadline passed; nothing was appended.
        """
        self.put_many((value,), timeout=timeout)

    def put_many(self, values: Iterable[object], *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Append items as one change, up to 500 and 4 MiB; see ``put`` for the errors."""
        items = encoded(self._keys, values)
        if items:
            client = self._coordinator.client
            last = client.increment(self._keys.counter, len(items), timeout=timeout)
            checks, then = appending(self._keys, last, items)
            result = client.transact(checks, then, timeout=timeout)
            if not result.succeeded:
                raise InsertFailed(f"{self._keys.counter!r} {RESET}")

    def take(self, *, timeout: float | None = None) -> Item:
        """Claim the first free item, waiting for one; ``timeout`` in seconds, None for no limit.

        The claim is kept alive until the item is acknowledged or released.

        Raises:
            LockTimeout: there was none until the deadline.
            RequestTimeout: no majority answered until the deadline; there may be items.
            NoNodeReached: likewise, no node did.
            StorageFull: the disks of a majority are full, or the quota is reached: claims are keys.
            DeserializeFailed: the value is not of the queue's type; the item is free again.
            OutcomeUnknown: the deadline passed; an item may be claimed until its lease ends.
            InvalidRequest: the timeout is invalid.
        """
        check_wait(timeout)
        try:
            claim, lease = self._coordinator.take_item(self._keys, self._ttl, timeout)
        except NotFree as error:
            state = f"queue {self._keys.name!r} had no free item"
            raise LockTimeout(late(state, timeout)) from error
        item = Item(self._coordinator, claim, lease, None)
        try:
            item.value = decode_value(claim.item, claim.value, self._type)
        except BaseException:
            item.release()
            raise
        return item

    def size(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Return the number of items that are not acknowledged, and of other keys below theirs."""
        return self._coordinator.client.count(self._keys.items, timeout=timeout)


def check_queue(name: str, type_: Any, ttl: float) -> QueueKeys:
    """Return the keys of a queue.

    Raises:
        InvalidRequest: the name is no key, or too long, the TTL is out of its bounds, or msgspec
            does not support the type.
    """
    keys = QueueKeys(check_key(name))
    check_key(keys.claim_of(keys.item(0)))
    check_type(type_)
    check_change(GrantLease(milliseconds_of(ttl)))
    return keys


def encoded(keys: QueueKeys, values: Iterable[object]) -> list[msgspec.Raw]:
    """Return the values of items as they are stored.

    Raises:
        SerializeFailed: MessagePack cannot encode one.
        InvalidRequest: they are too many, or too large.
    """
    items = [encode_value(keys.items, value) for value in check_collection("values", values)]
    if items:
        numbered = [commands.Insert(keys.item(number), item) for number, item in enumerate(items)]
        checks = tuple(commands.Check(each.key, exists=False) for each in numbered)
        check_change(Transact(checks, tuple(numbered)))
    return [msgspec.Raw(item) for item in items]


def appending(
    keys: QueueKeys, last: int, values: list[msgspec.Raw]
) -> tuple[list[Check], list[Insert]]:
    """Return the transaction that appends items with numbers up to ``last``."""
    items = [keys.item(number) for number in range(last - len(values) + 1, last + 1)]
    checks = [Check(key=item, exists=False) for item in items]
    return checks, [Insert(item, value) for item, value in zip(items, values, strict=True)]
