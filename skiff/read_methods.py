"""ReadMethods: the operations of a blocking client that read keys and their values."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, overload

from skiff import reads
from skiff.arguments import CLIENT_DEFAULT, Consistency, Timeout, read_mode
from skiff.method import Runner
from skiff.records import Entry
from skiff.scan import Scan, ScanPages

ValueT = TypeVar("ValueT")


class ReadMethods(Runner):
    """Reading operations; see ``Client``, which describes their modes."""

    @overload
    def get(
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
    def get(
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
    def get(
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
    def get(
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
        """Return a key's value as ``type``, or ``default`` if the key is absent.

        Raises:
            InvalidRequest: the key or the mode of the read is invalid, or ``at_least`` is from the
                future.
            DeserializeFailed: the value is not of this type.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        return self._run(reads.get(key, type, default, mode), timeout)

    @overload
    def get_entry(
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
    def get_entry(
        self,
        key: str,
        type: Any = ...,
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> Entry[Any] | None: ...
    def get_entry(
        self,
        key: str,
        type: Any = Any,
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Entry[Any] | None:
        """Return a key's value with its revisions and version, or None if it is absent.

        Raises:
            InvalidRequest: the key or the mode of the read is invalid, or ``at_least`` is from the
                future.
            DeserializeFailed: the value is not of this type.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        return self._run(reads.get_entry(key, type, mode), timeout)

    @overload
    def get_many(
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
    def get_many(
        self,
        keys: Iterable[str],
        type: Any = ...,
        *,
        read: Consistency = ...,
        max_staleness: float | None = ...,
        at_least: int | None = ...,
        timeout: Timeout = ...,
    ) -> dict[str, Any]: ...
    def get_many(
        self,
        keys: Iterable[str],
        type: Any = Any,
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> dict[str, Any]:
        """Return the values of the keys that exist, as they are at one revision.

        Up to 1,000 keys, and 8 MiB of values.

        Raises:
            InvalidRequest: a key or the mode of the read is invalid, there are too many keys or too
                large values, or ``at_least`` is from the future.
            DeserializeFailed: a value is not of this type.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        return self._run(reads.get_many(keys, type, mode), timeout)

    def list_keys(
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
        """Return the keys under a prefix, sorted; ``""`` and ``"/"`` mean all keys.

        At most ``limit`` keys, None for all, that come after ``start_after``; with ``reverse``, in
        descending order. Keys are read in pages of up to 10,000, each with a request, and so at a
        revision, of its own; ``scan`` shows one revision.

        Raises:
            InvalidRequest: an argument is invalid, or ``at_least`` is from the future.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        return self._run(
            reads.list_keys(prefix, limit, start_after, mode, reverse=reverse), timeout
        )

    def get_prefixes(
        self,
        prefix: str = "",
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[str]:
        """Return every path under a prefix that directly holds a key, sorted: ``["a", "a/b"]``.

        Paths are read in pages of up to 10,000, each with a request of its own.

        Raises:
            InvalidRequest: an argument is invalid, or ``at_least`` is from the future.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        return self._run(reads.get_prefixes(prefix, mode), timeout)

    def count(
        self,
        prefix: str = "",
        *,
        read: Consistency = "linearizable",
        max_staleness: float | None = None,
        at_least: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Return the number of keys under a prefix, at one revision.

        Each request counts up to 10,000 keys.

        Raises:
            InvalidRequest: an argument is invalid, or ``at_least`` is from the future.
            StreamClosed: the nodes have lost the revision of the first request again and again.
            Overloaded: the node has 1,024 scans; see ``scan``.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        return self._run(reads.count(prefix, mode), timeout)

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
    ) -> Iterator[Entry[ValueT]]: ...
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
    ) -> Iterator[Entry[Any]]: ...
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
    ) -> Iterator[Entry[Any]]:
        """Yield the entries under a prefix, sorted by key, all at one revision.

        At most ``limit`` entries, None for all, after the key ``start_after``; with ``reverse``, in
        descending order. Pages of up to 1,000 entries are read as they are needed, from a view that
        one node keeps; ``timeout`` holds for each.

        Raises:
            InvalidRequest: an argument is invalid, or ``at_least`` is from the future.
            DeserializeFailed: a value is not of this type.
            StreamClosed: the node no longer has the revision of the first page: it was restarted,
                or the scan was idle, for a minute and many changes or, when the node had 1,024, for
                5 seconds or as one of the user with the most.
            Overloaded: the node has 1,024 scans, and none was idle before the deadline.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        mode = read_mode(read, max_staleness, at_least)
        pages = ScanPages(prefix, mode, start_after=start_after, reverse=reverse)
        return self._entries(Scan(pages, type, limit), timeout)

    def _entries(self, scan: Scan, timeout: Timeout) -> Iterator[Entry[Any]]:
        while not scan.is_over:
            yield from self._run(scan.read(), timeout)
