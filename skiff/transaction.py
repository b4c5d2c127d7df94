"""Transaction: reads and buffered writes that take effect together, unless a read is outdated."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from protocol.state import commands
from skiff.arguments import LeaseLike, check_change, check_key, lease_fields
from skiff.bound import BoundToProcess
from skiff.errors import (
    DeserializeFailed,
    InvalidRequest,
    SerializeFailed,
    SkiffError,
    TransactionConflict,
)
from skiff.functions import check_result
from skiff.operations import Check, Insert, Operation, Remove, TransactionResult
from skiff.records import Entry
from skiff.values import check_type, decode_value, encode_value

VALUE_ERRORS = (DeserializeFailed, SerializeFailed, InvalidRequest)  # that values lead to
TORN = "a key that the transaction has read was changed before it failed; nothing was written"

ReturnT = TypeVar("ReturnT")


class _Buffer(BoundToProcess):
    """The keys that a transaction has read, and its writes."""

    def __init__(self) -> None:
        self._read: dict[str, Entry[msgspec.Raw] | None] = {}
        self._written: dict[str, bytes | None] = {}  # stored values; None for removals
        self._operations: dict[str, Operation] = {}
        self._is_over = False
        self.revision: int | None = None  # of the store after the commit, if that did anything

    def __repr__(self) -> str:
        reads, writes = len(self._read), len(self._operations)
        return f"<{type(self).__name__} with {reads} reads and {writes} writes>"

    def insert(
        self,
        key: str,
        value: object,
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
    ) -> None:
        """Write a value when the transaction is committed, with a lease as in ``Client.insert``.

        Raises:
            InvalidRequest: an argument is invalid, or the transaction is over.
            SerializeFailed: MessagePack cannot encode the value.
        """
        key = check_key(key)
        self._check_open()
        stored = encode_value(key, value)
        if lease is not None or ttl is not None:
            check_change(commands.Insert(key, b"", None, *lease_fields(lease, ttl)))
        self._written[key] = stored
        self._operations[key] = Insert(key, msgspec.Raw(stored), lease, ttl)

    def remove(self, key: str) -> None:
        """Remove a key, if it exists, when the transaction is committed.

        Raises:
            InvalidRequest: the key is invalid, or the transaction is over.
        """
        key = check_key(key)
        self._check_open()
        self._written[key] = None
        self._operations[key] = Remove(key)

    def _is_known(self, key: str, type_: Any) -> bool:
        """Whether a key was read or written before; its first read is the one that counts."""
        check_key(key)
        check_type(type_)
        self._check_open()
        return key in self._written or key in self._read

    def _value(self, key: str, type_: Any, default: Any) -> Any:
        if key in self._written:
            stored = self._written[key]
        else:
            entry = self._read[key]
            stored = None if entry is None else bytes(entry.value)
        return default if stored is None else decode_value(key, stored, type_)

    def _begin_commit(self) -> tuple[list[Check], list[Operation]]:
        self._check_open()
        self._is_over = True
        return self._checks(), list(self._operations.values())

    def _checks(self) -> list[Check]:
        """Return that no key has changed since it was read."""
        return [
            Check(key, revision=0 if entry is None else entry.revision)
            for key, entry in self._read.items()
        ]

    def _may_be_torn(self, failure: Exception) -> bool:
        """Whether values that were never there together may be why a function has failed."""
        is_of_value = not isinstance(failure, SkiffError) or isinstance(failure, VALUE_ERRORS)
        return is_of_value and len(self._read) > 1 and not self._is_over

    def _end_commit(self, result: TransactionResult) -> None:
        if not result.succeeded:
            raise TransactionConflict(
                f"one of the {len(self._read)} keys that the transaction has read was changed "
                "meanwhile; nothing was written"
            )
        self.revision = result.revision

    def _check_open(self) -> None:
        if self._is_over:
            raise InvalidRequest("the transaction is over; begin another one")


class Transaction(_Buffer):
    """Transaction of a ``Client``.

    Reads are linearizable, each a request of its own, and repeatable. Leaving the ``with`` block
    commits: it checks that no key read has changed, and makes all writes as one change. A block
    that raises writes nothing.
    """

    def __init__(
        self,
        read: Callable[[str], Entry[msgspec.Raw] | None],
        transact: Callable[[list[Check], list[Operation]], TransactionResult],
    ) -> None:
        super().__init__()
        self._read_entry = read
        self._transact = transact

    def get(self, key: str, type: Any = Any, *, default: Any = None) -> Any:
        """Return a key's value as ``type``, or ``default``, after the writes of this transaction.

        Raises:
            InvalidRequest: the key is invalid, or the transaction is over.
            DeserializeFailed: the value is not of the type.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        if not self._is_known(key, type):
            self._read[key] = self._read_entry(key)
        return self._value(key, type, default)

    def commit(self) -> None:
        """Check the reads and make the writes, all or none; without any, do nothing.

        Raises:
            TransactionConflict: a key that was read has changed; nothing was written.
            LeaseExpired: the lease of an insert has ended; nothing was written.
            LeaseNotFound: the lease of an insert was never granted; nothing was written.
            TooManyLeases: the cluster would have more than 100,000 leases; nothing was written.
            InvalidRequest: the transaction is over, or too large.
            OutcomeUnknown: the deadline passed; it may have been committed, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        checks, writes = self._begin_commit()
        if checks or writes:
            self._end_commit(self._transact(checks, writes))

    def perform(self, function: Callable[["Transaction"], ReturnT]) -> ReturnT:
        """Call a function with this transaction, commit it, and return the function's result.

        Raises:
            TransactionConflict: a key that was read has changed, which ``commit`` has found, or
                which may be why the function has failed; nothing was written.
            SkiffError: as ``commit`` raises.
        """
        with self:
            try:
                return check_result(function(self))
            except Exception as failure:
                if self._may_be_torn(failure) and not self._are_reads_current():
                    raise TransactionConflict(TORN) from failure
                raise

    def _are_reads_current(self) -> bool:
        with suppress(SkiffError):  # the function's own failure tells more
            return self._transact(self._checks(), []).succeeded
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and not self._is_over:
            self.commit()
        self._is_over = True


class AsyncTransaction(_Buffer):
    """Transaction of an ``AsyncClient``; see ``Transaction``."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[Entry[msgspec.Raw] | None]],
        transact: Callable[[list[Check], list[Operation]], Awaitable[TransactionResult]],
    ) -> None:
        super().__init__()
        self._read_entry = read
        self._transact = transact

    async def get(self, key: str, type: Any = Any, *, default: Any = None) -> Any:
        """Return a key's value as ``type``, or ``default``; see ``Transaction.get``."""
        if not self._is_known(key, type):
            entry = await self._read_entry(key)
            self._read.setdefault(key, entry)  # else a concurrent read of it would be unchecked
        return self._value(key, type, default)

    async def commit(self) -> None:
        """Check the reads and make the writes; see ``Transaction.commit``."""
        checks, writes = self._begin_commit()
        if checks or writes:
            self._end_commit(await self._transact(checks, writes))

    async def perform(
        self, function: Callable[["AsyncTransaction"], Awaitable[ReturnT]]
    ) -> ReturnT:
        """Call a function with this transaction, and commit it; see ``Transaction.perform``."""
        async with self:
            try:
                return await function(self)
            except Exception as failure:
                if self._may_be_torn(failure) and not await self._are_reads_current():
                    raise TransactionConflict(TORN) from failure
                raise

    async def _are_reads_current(self) -> bool:
        with suppress(SkiffError):
            return (await self._transact(self._checks(), [])).succeeded
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and not self._is_over:
            await self.commit()
        self._is_over = True
