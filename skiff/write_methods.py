"""WriteMethods: the operations of a blocking client that change keys."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from skiff import writes
from skiff.arguments import CLIENT_DEFAULT, FenceLike, LeaseLike, Timeout
from skiff.method import Runner
from skiff.operations import Check, Operation, TransactionResult
from skiff.records import Entry, Fence

ValueT = TypeVar("ValueT")


class WriteMethods(Runner):
    """Changing operations; see ``Client``."""

    def insert(
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
        """Write a value; return the revision of the write.

        With ``if_revision``, write only if the key has this revision; 0 requires its absence. With
        ``lease``, a lease or its id, the key is removed when that lease ends; with ``ttl``, in
        seconds from 1 on, when this time has passed since the insert. Any later insert takes the
        key out of its lease. With ``fence``, a lock that is held, or its ``fence``, it is refused
        once that holds no longer.

        Raises:
            Fenced: the holder of ``fence`` has lost its turn; nothing was written.
            RevisionMismatch: the key has another revision; nothing was written.
            LeaseExpired: the lease has ended; nothing was written.
            LeaseNotFound: the lease was never granted; nothing was written.
            TooManyLeases: the cluster has 100,000 leases; nothing was written.
            InvalidRequest: an argument is invalid, the value is too large, or the lease has 10,000
                keys.
            SerializeFailed: MessagePack cannot encode the value.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; the value may have been written, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        return self._run(writes.insert(key, value, if_revision, lease, ttl, fence), timeout)

    def remove(
        self,
        key: str,
        *,
        if_revision: int | None = None,
        fence: FenceLike | Fence | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> bool:
        """Remove a key; return whether it existed.

        With ``if_revision``, remove it only if it has this revision. With ``fence``, a lock that is
        held, or its ``fence``, it is refused once that holds no longer.

        Raises:
            Fenced: the holder of ``fence`` has lost its turn; nothing was removed.
            RevisionMismatch: the key's revision is not ``if_revision``; nothing was removed.
            InvalidRequest: the key or ``if_revision`` is invalid.
            OutcomeUnknown: the deadline passed; the key may have been removed, or may yet be.
            RequestTimeout: the deadline passed; nothing was removed.
        """
        return self._run(writes.remove(key, if_revision, fence), timeout)

    @overload
    def swap(
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
    def swap(
        self,
        key: str,
        value: object,
        type: Any = ...,
        *,
        lease: LeaseLike | int | None = ...,
        ttl: float | None = ...,
        timeout: Timeout = ...,
    ) -> Entry[Any] | None: ...
    def swap(
        self,
        key: str,
        value: object,
        type: Any = Any,
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Entry[Any] | None:
        """Write a value; return the entry that it replaced, its value as ``type``, or None.

        ``lease`` and ``ttl`` are as in ``insert``.

        Raises:
            LeaseExpired: the lease has ended; nothing was written.
            LeaseNotFound: the lease was never granted; nothing was written.
            TooManyLeases: the cluster has 100,000 leases; nothing was written.
            InvalidRequest: an argument is invalid, the value is too large, the replaced one has
                more than 64 KiB, or the lease has 10,000 keys; nothing was written.
            SerializeFailed: MessagePack cannot encode the value.
            DeserializeFailed: the replaced value is not of this type; it was replaced.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; the value may have been written, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        return self._run(writes.swap(key, value, type, lease, ttl), timeout)

    @overload
    def pop(
        self, key: str, type: type[ValueT], *, timeout: Timeout = ...
    ) -> Entry[ValueT] | None: ...
    @overload
    def pop(self, key: str, type: Any = ..., *, timeout: Timeout = ...) -> Entry[Any] | None: ...
    def pop(
        self, key: str, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> Entry[Any] | None:
        """Remove a key; return the entry that it had, its value as ``type``, or None.

        Raises:
            InvalidRequest: the key is invalid, or its value has more than 64 KiB; nothing was
                removed.
            DeserializeFailed: the value is not of this type; it was removed.
            OutcomeUnknown: the deadline passed; the key may have been removed, or may yet be.
            RequestTimeout: the deadline passed; nothing was removed.
        """
        return self._run(writes.pop(key, type), timeout)

    def insert_many(
        self,
        values: Mapping[str, object],
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Write several values as one change; return its revision.

        One to 1,000 keys, and up to 4 MiB of values. All of them go with ``lease``; ``ttl`` gives
        each a lease of its own, as in ``insert``.

        Raises:
            LeaseExpired: the lease has ended; nothing was written.
            LeaseNotFound: the lease was never granted; nothing was written.
            TooManyLeases: the cluster would have more than 100,000 leases; nothing was written.
            InvalidRequest: an argument is invalid, there are no, too many or too large values, or
                the lease would have more than 10,000 keys.
            SerializeFailed: MessagePack cannot encode a value.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; all may have been written, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        return self._run(writes.insert_many(values, lease, ttl), timeout)

    def increment(self, key: str, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Add to the integer that a key holds, 0 if it is absent; return the sum.

        Sums have 64 bits, from -2**63 to 2**63 - 1; a larger value may be decreased to one.

        Raises:
            NotInteger: the key holds no integer of 64 bits; nothing was written.
            CounterOverflow: the sum would be outside of -2**63 to 2**63 - 1; nothing was written.
            InvalidRequest: the key or ``by`` is invalid.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; it may have been added, or may yet be.
            RequestTimeout: the deadline passed; nothing was written.
        """
        return self._run(writes.increment(key, by), timeout)

    def remove_prefix(self, prefix: str, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Remove all keys under a prefix as one change; return their number, 10,000 at most.

        ``""`` and ``"/"`` mean all keys.

        Raises:
            InvalidRequest: the prefix is invalid, or more than 10,000 keys begin with it.
            OutcomeUnknown: the deadline passed; they may have been removed, or may yet be.
            RequestTimeout: the deadline passed; nothing was removed.
        """
        return self._run(writes.remove_prefix(prefix), timeout)

    def transact(
        self,
        checks: Iterable[Check],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
        *,
        fence: FenceLike | Fence | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> TransactionResult:
        """Perform ``then`` if all checks hold, else ``otherwise``, as one change of the state.

        All writes have one revision; if an operation cannot be performed, none is. One to 1,000
        checks and operations, 4 MiB of values, 10,000 keys removed by prefixes and 64 KiB of
        values read; no key is written twice in a branch. With ``fence``, a lock that is held, or
        its ``fence``, neither branch is performed once that holds no longer.

        Raises:
            Fenced: the holder of ``fence`` has lost its turn; nothing was changed.
            NotInteger: a key to increment holds another value; nothing was written.
            CounterOverflow: a sum would be outside of -2**63 to 2**63 - 1; nothing was written.
            LeaseExpired: the lease of an insert has ended; nothing was written.
            LeaseNotFound: the lease of an insert was never granted; nothing was written.
            TooManyLeases: the cluster would have more than 100,000 leases; nothing was written.
            InvalidRequest: a check or an operation is invalid, or a limit exceeded.
            SerializeFailed: MessagePack cannot encode a value.
            DeserializeFailed: a value that was read is not of its type; the transaction counts.
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; it may have been performed, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._run(writes.transact(checks, then, otherwise, fence), timeout)
