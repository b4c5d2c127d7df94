"""AsyncNamespace: the keys under a prefix by the rest of each key, for an event loop."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from skiff.arguments import LeaseLike
from skiff.errors import RevisionMismatch
from skiff.namespace import KeyNames

if TYPE_CHECKING:
    from skiff.async_client import AsyncClient

ValueT = TypeVar("ValueT")


class AsyncNamespace(KeyNames, Generic[ValueT]):
    """The keys under a prefix; the errors are those of ``AsyncClient``."""

    def __init__(self, client: "AsyncClient", prefix: str, type_: Any) -> None:
        """Name the prefix and the type of the values.

        Raises:
            InvalidRequest: the prefix is invalid, or msgspec does not support the type.
        """
        super().__init__(prefix, type_)
        self._client = client

    def __repr__(self) -> str:
        return f"<AsyncNamespace {self.prefix!r} of {self._client!r}>"

    async def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or the default."""
        return await self._client.get(self.key(name), self._type, default=default)

    async def contains(self, name: str) -> bool:
        """Return whether there is such a name."""
        return await self._client.get_entry(self.key(name), msgspec.Raw) is not None

    async def insert(
        self,
        name: str,
        value: ValueT,
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
    ) -> int:
        """Write a value, as ``AsyncClient.insert`` does; return the revision of the write."""
        return await self._client.insert(self.key(name), value, lease=lease, ttl=ttl)

    async def remove(self, name: str) -> bool:
        """Remove a name; return whether it existed."""
        return await self._client.remove(self.key(name))

    async def pop(self, name: str, default: Any = None) -> Any:
        """Remove a name and return its value, or the default.

        A value that is not of the namespace's type stays.
        """
        key = self.key(name)
        while (entry := await self._client.get_entry(key, self._type)) is not None:
            with suppress(RevisionMismatch):  # changed meanwhile
                await self._client.remove(key, if_revision=entry.revision)
                return entry.value
        return default

    async def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, after the default was written if there was none."""
        while True:
            try:
                await self._client.insert(self.key(name), default, if_revision=0)
            except RevisionMismatch:
                entry = await self._client.get_entry(self.key(name), self._type)
                if entry is not None:  # not removed meanwhile
                    return entry.value
            else:
                return default

    async def update(self, other: Any = (), /, **named: ValueT) -> None:
        """Write values as one change, from a mapping, pairs or named arguments."""
        values = self.keys_of(other, named)
        if values:
            await self._client.insert_many(values)

    async def clear(self) -> int:
        """Remove all names as one change; return their number."""
        return await self._client.remove_prefix(self.prefix)

    async def count(self) -> int:
        """Return the number of names."""
        return await self._client.count(self.prefix)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the names, in order, at one revision."""
        async for entry in self._client.scan(self.prefix, msgspec.Raw):
            yield self.name(entry.key)

    async def items(self) -> AsyncIterator[tuple[str, ValueT]]:
        """Yield the names with their values, in order, at one revision."""
        async for entry in self._client.scan(self.prefix, self._type):
            yield self.name(entry.key), entry.value

    def namespace(self, prefix: str, type: Any = None) -> "AsyncNamespace[Any]":
        """Return the namespace under a further prefix."""
        return AsyncNamespace(self._client, self.within(prefix), type or self._type)
