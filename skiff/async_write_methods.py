"""AsyncWriteMethods: the operations of an asyncio client that change keys."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from skiff import writes
from skiff.arguments import CLIENT_DEFAULT, FenceLike, LeaseLike, Timeout
from skiff.async_runner import AsyncRunner
from skiff.descriptions import described_by
from skiff.operations import Check, Operation, TransactionResult
from skiff.records import Entry, Fence
from skiff.write_methods import WriteMethods

ValueT = TypeVar("ValueT")


@described_by(WriteMethods)
class AsyncWriteMethods(AsyncRunner):
    """Changing operations; see ``WriteMethods``."""

    async def insert(
        self,
        key: str,
        value: object,
        *,
        if_revision: int | None = None,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
        fence: FenceLike | Fence | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Write a value; return the revision of the write; see ``Client.insert``."""
        return await self._run(writes.insert(key, value, if_revision, lease, ttl, fence), timeout)

    async def remove(
        self,
        key: str,
        *,
        if_revision: int | None = None,
        fence: FenceLike | Fence | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> bool:
        """Remove a key; return whether it existed; see ``Client.remove``."""
        return await self._run(writes.remove(key, if_revision, fence), timeout)

    @overload
    async def swap(
        self,
        key: str,
        value: object,
        type: type[ValueT],
        *,
        lease: LeaseLike | int | None = ...,
        ttl: float | None = ...,
        timeout: Timeout = ...,
    ) -> Entry[ValueT] | None: ...
    @overload
    async def swap(
        self,
        key: str,
        value: object,
        type: Any = ...,
        *,
        lease: LeaseLike | int | None = ...,
        ttl: float | None = ...,
        timeout: Timeout = ...,
    ) -> Entry[Any] | None: ...
    async def swap(
        self,
        key: str,
        value: object,
        type: Any = Any,
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Entry[Any] | None:
        """Write a value; return the entry that it replaced, or None; see ``Client.swap``."""
        return await self._run(writes.swap(key, value, type, lease, ttl), timeout)

    @overload
    async def pop(
        self, key: str, type: type[ValueT], *, timeout: Timeout = ...
    ) -> Entry[ValueT] | None: ...
    @overload
    async def pop(
        self, key: str, type: Any = ..., *, timeout: Timeout = ...
    ) -> Entry[Any] | None: ...
    async def pop(
        self, key: str, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> Entry[Any] | None:
        """Remove a key; return the entry that it had, or None; see ``Client.pop``."""
        return await self._run(writes.pop(key, type), timeout)

    async def insert_many(
        self,
        values: Mapping[str, object],
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Write several values as one change; return its revision; see ``Client.insert_many``."""
        return await self._run(writes.insert_many(values, lease, ttl), timeout)

    async def increment(self, key: str, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Add to an integer; return the sum; see ``Client.increment``."""
        return await self._run(writes.increment(key, by), timeout)

    async def remove_prefix(self, prefix: str, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Remove all keys under a prefix; return their number; see ``Client.remove_prefix``."""
        return await self._run(writes.remove_prefix(prefix), timeout)

    async def transact(
        self,
        checks: Iterable[Check],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
        *,
        fence: FenceLike | Fence | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> TransactionResult:
        """Perform operations as one change, by whether checks hold; see ``Client.transact``."""
        return await self._run(writes.transact(checks, then, otherwise, fence), timeout)
