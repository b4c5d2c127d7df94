"""Errors of skiff: each message tells what happened, to which address or key, and what to do.

``pickle`` and ``copy`` make an error from its message alone and add its attributes then, so that
every other argument has a default.
"""

from collections.abc import Sequence
from typing import Any


class SkiffError(Exception):
    """Base class of all errors of skiff."""


class ClusterJoinFailed(SkiffError):
    """The node could not become a member of the cluster that it should join."""


class AddressTaken(SkiffError):
    """The node's address belongs to a member of another cluster than its directory does."""


class DirectoryCopied(SkiffError):
    """The node's directory is a copy: its original runs as a node at another address."""


class NodeRemoved(SkiffError):
    """The node was removed from its cluster, and must not rejoin by itself."""


class ClusterInitFailed(SkiffError):
    """The node is not running: its processes failed to start, or were not started."""


class InvalidAddress(SkiffError, ValueError):
    """A text does not parse as ``host`` or ``host:port``."""


class InvalidConfig(SkiffError, ValueError):
    """A setting of the node is invalid."""


class InvalidKey(SkiffError, ValueError):
    """A key, or a key file, cannot be used."""


class RPCBindFailed(SkiffError, OSError):
    """The node cannot bind its address."""


class DataDirectoryCreateFailed(SkiffError, OSError):
    """The node's directory cannot be created or written to."""


class StorageError(SkiffError):
    """The node's data, or a backup, cannot be used; it was left unchanged."""


class ClientConnectFailed(SkiffError, ConnectionError):
    """No node could be reached at any known address."""


class NoNodeReached(ClientConnectFailed):
    """No node accepted a connection or replied at any known address."""


class ClientClosed(SkiffError):
    """The client or subscriber was closed; a write in progress may have been done or may yet be."""


class RPCCallFailed(SkiffError):
    """A node sent a reply that the client does not understand."""


class Unsupported(RPCCallFailed):
    """A node, or a member of its cluster, runs a version that cannot do it; nothing was changed."""


class InvalidRequest(SkiffError, ValueError):
    """The request is invalid and will never succeed; nothing was written."""


class DeserializeFailed(SkiffError, ValueError):
    """A stored value is not of the requested type.

    ``stored``: its bytes, MessagePack. ``event``: the change of a watch, an ``Event`` with values
    as they are stored; None elsewhere. A watch goes on with the next change.
    """

    def __init__(self, message: str, stored: bytes = b"") -> None:
        """Keep the value as it is stored."""
        super().__init__(message)
        self.stored = stored
        self.event: Any = None


class SerializeFailed(SkiffError, TypeError):
    """A value cannot be stored: MessagePack cannot encode it."""


class InsertFailed(SkiffError):
    """The write was refused; nothing was written."""


class StorageFull(InsertFailed):
    """The disks of a majority are full, or the quota is reached; nothing was written."""


class RevisionMismatch(InsertFailed):
    """The key's revision is ``current``, not the required one; 0 means that the key is absent."""

    def __init__(self, message: str, current: int = 0) -> None:
        super().__init__(message)
        self.current = current


class NotInteger(InsertFailed, ValueError):
    """The value to increment is not a 64-bit integer; nothing was written."""


class CounterOverflow(InsertFailed, OverflowError):
    """The sum would be outside of -2**63 to 2**63 - 1; nothing was written."""


class LeaseNotFound(InsertFailed, LookupError):
    """There is no such lease, and there never was; nothing was written."""


class LeaseExpired(InsertFailed):
    """The lease has expired, or was revoked; nothing was written."""


class TooManyLeases(InsertFailed):
    """The cluster has as many leases as it can have; nothing was written."""


class Fenced(InsertFailed):
    """The holder that the fence names holds no longer, or never did; nothing was written."""


class PermissionDenied(SkiffError, PermissionError):
    """The nodes do not know the client's key, or its user lacks a right; nothing was changed.

    ``right`` is the name of the missing right, and ``prefix`` the key or prefix that it is needed
    for, empty for all keys. ``right`` is None if no user has the client's key.
    """

    def __init__(self, message: str, right: str | None = None, prefix: str = "") -> None:
        super().__init__(message)
        self.right = right
        self.prefix = prefix


class UserExists(SkiffError):
    """There is a user of this name, or with this key; nothing was changed."""


class UserNotFound(SkiffError, LookupError):
    """There is no user of this name; nothing was changed."""


class RoleNotFound(SkiffError, LookupError):
    """There is no such role, or the user or role does not have it; nothing was changed."""


class LastAdministrator(SkiffError):
    """No user with the role admin would be left; nothing was changed."""


class LockTimeout(SkiffError, TimeoutError):
    """The lock, or another turn of a recipe, was not free in time; it is not held."""


class LockLost(SkiffError):
    """The lock was lost before the end of its block: another holder may have had it meanwhile."""


class LockMisused(SkiffError, RuntimeError):
    """A lock was acquired twice, released while not held, or used by another thread or process."""


class TransactionConflict(SkiffError):
    """A key that the transaction has read was changed meanwhile; nothing was written."""


class PipelineFailed(SkiffError):
    """Some operations of a pipeline failed; ``results`` holds a result or an error for each."""

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.results = list(results)


class NotSent(SkiffError):
    """An operation of a pipeline was not sent, because of the ones before it; it did nothing."""


class Overloaded(SkiffError):
    """The node refused the request because it, or this user, has too many; nothing was written.

    ``retry_after`` is the number of seconds until it may succeed; 0.0 where that is unknown.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class MissingClusterConfig(SkiffError):
    """No address is known: neither an argument nor SKIFF_URL names one."""


class PeerNotFound(SkiffError, LookupError):
    """No member of the cluster has this id or address."""


class UnsafeMembershipChange(SkiffError):
    """The change would leave fewer than a majority of voters that answer; nothing was changed."""


class PeerConnectFailed(SkiffError, ConnectionError):
    """No standby node was found at the address in time."""


class Compacted(SkiffError):
    """The changes that a watch needs are no longer kept by any node, or by any that answers.

    A majority has refused them, and the others have not answered for three seconds.
    ``oldest`` is the revision after which all changes are kept: the earliest one to watch from.
    """

    def __init__(self, message: str, oldest: int = 0) -> None:
        super().__init__(message)
        self.oldest = oldest


class StreamClosed(SkiffError, ConnectionError):
    """A scan or a backup broke off, or a watch or mirror is used in a forked process.

    A broken scan lacks entries; a broken backup leaves no file. A mirror, or a watch that is asked
    for initial entries, begins with a scan.
    """


class LeaderElectionTimeout(SkiffError, TimeoutError):
    """No leader was elected in time."""


class RequestTimeout(SkiffError, TimeoutError):
    """The deadline passed; the request changed nothing and never will."""


class OutcomeUnknown(SkiffError, TimeoutError):
    """The deadline passed; the write may have been done, or may yet be."""
