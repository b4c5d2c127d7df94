"""AsyncReadMethods: the operations of an asyncio client that read keys and their values."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar, overload

from skiff import reads
from skiff.arguments import CLIENT_DEFAULT, Consistency, Timeout, read_mode
from skiff.async_runner import AsyncRunner
from skiff.descriptions import described_by
from skiff.read_methods import ReadMethods
from skiff.records import Entry
from skiff.scan import Scan, ScanPages

ValueT = TypeVar("ValueT")


@described_by(ReadMethods)
class AsyncReadMethods(AsyncRunner):
    """Reading operations; see ``ReadMethods``."""

    @overload
    async def get(
        self,
        key: str,
        type: type[ValueT],
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> ValueT | None: ...
    @overload
    async def get(
        self,
        key: str,
        type: type[ValueT],
        *,
        default: ValueT,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> ValueT: ...
    @overload
    async def get(
        self,
        key: str,
        type: Any = ...,
        *,
        default: Any = ...,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> Any: ...
    async def get(
        self,
        key: str,
        type: Any = Any,
        *,
        default: Any = None,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Any:
        """Return a key's value as ``type``, or ``default``; see ``Client.get``."""
        mode = read_mode(read, max_staleness, at_least)
        return await self._run(reads.get(key, type, default, mode), timeout)

    @overload
    async def get_entry(
        self,
        key: str,
        type: type[ValueT],
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> Entry[ValueT] | None: ...
    @overload
    async def get_entry(
        self,
        key: str,
        type: Any = ...,
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> Entry[Any] | None: ...
    async def get_entry(
        self,
        key: str,
        type: Any = Any,
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Entry[Any] | None:
        """Return a key's value, revisions and version, or None; see ``Client.get_entry``."""
        mode = read_mode(read, max_staleness, at_least)
        return await self._run(reads.get_entry(key, type, mode), timeout)

    @overload
    async def get_many(
        self,
        keys: Iterable[str],
        type: type[ValueT],
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> dict[str, ValueT]: ...
    @overload
    async def get_many(
        self,
        keys: Iterable[str],
        type: Any = ...,
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> dict[str, Any]: ...
    async def get_many(
        self,
        keys: Iterable[str],
        type: Any = Any,
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> dict[str, Any]:
        """Return the values of the keys that exist; see ``Client.get_many``."""
        mode = read_mode(read, max_staleness, at_least)
        return await self._run(reads.get_many(keys, type, mode), timeout)

    async def list_keys(
        self,
        prefix: str = "",
        *,
        limit: int | None = None,
        start_after: str | None = None,
        reverse: bool = False,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return the keys under a prefix, sorted; see ``Client.list_keys``."""
        mode = read_mode(read, max_staleness, at_least)
        return await self._run(
            reads.list_keys(prefix, limit, start_after, mode, reverse=reverse), timeout
        )

    async def get_prefixes(
        self,
        prefix: str = "",
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return every path that directly holds a key, sorted; see ``Client.get_prefixes``."""
        mode = read_mode(read, max_staleness, at_least)
        return await self._run(reads.get_prefixes(prefix, mode), timeout)

    async def count(
        self,
        prefix: str = "",
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Return the number of keys under a prefix; see ``Client.count``."""
        mode = read_mode(read, max_staleness, at_least)
        return await self._run(reads.count(prefix, mode), timeout)

    @overload
    def scan(
        self,
        prefix: str,
        type: type[ValueT],
        *,
        limit: int | None = ...,
        start_after: str | None = ...,
        reverse: bool = ...,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> AsyncIterator[Entry[ValueT]]: ...
    @overload
    def scan(
        self,
        prefix: str = ...,
        type: Any = ...,
        *,
        limit: int | None = ...,
        start_after: str | None = ...,
        reverse: bool = ...,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> AsyncIterator[Entry[Any]]: ...
    def scan(
        self,
        prefix: str = "",
        type: Any = Any,
        *,
        limit: int | None = None,
        start_after: str | None = None,
        reverse: bool = False,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> AsyncIterator[Entry[Any]]:
        """Yield the entries under a prefix at one revision; see ``Client.scan``."""
        mode = read_mode(read, max_staleness, at_least)
        pages = ScanPages(prefix, mode, start_after=start_after, reverse=reverse)
        return self._entries(Scan(pages, type, limit), timeout)

    async def _entries(self, scan: Scan, timeout: Timeout) -> AsyncIterator[Entry[Any]]:
        while not scan.is_over:
            for entry in await self._run(scan.read(), timeout):
                yield entry
