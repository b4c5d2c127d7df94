"""Every error that skiff raises: what happened, to which address or key, and what to do."""

from typing import Any


class SkiffError(Exception):
    """The root of all errors of skiff."""


class ClusterJoinFailed(SkiffError):
    """The node could not become a member of the cluster it was to join."""


class AddressTaken(SkiffError):
    """The node's address is that of a member of a cluster which this directory is not of."""


class DirectoryCopied(SkiffError):
    """The node's directory is a copy of that of a node which runs at another address."""


class NodeRemoved(SkiffError):
    """The node was removed from its cluster and is not to come back by itself."""


class ClusterInitFailed(SkiffError):
    """The node's processes did not come up."""


class InvalidAddress(SkiffError, ValueError):
    """Text that names no host and port."""


class InvalidConfig(SkiffError, ValueError):
    """A setting that no node can run with."""


class RPCBindFailed(SkiffError, OSError):
    """The node cannot listen at its address."""


class DataDirectoryCreateFailed(SkiffError, OSError):
    """The node's directory cannot be created or written to."""


class StorageError(SkiffError):
    """The node's data cannot be used; it was left as it is."""


class ClientConnectFailed(SkiffError, ConnectionError):
    """No node could be reached at any known address."""


class NoNodeReached(ClientConnectFailed):
    """Nobody listens at any known address, or nobody is heard from there."""


class ClientClosed(SkiffError):
    """The client or subscriber was closed; a write in progress may have been done or may yet be."""


class RPCCallFailed(SkiffError):
    """A node answered with something that the client does not understand."""


class InvalidRequest(SkiffError, ValueError):
    """The request never will succeed as it stands; nothing was written."""


class DeserializeFailed(SkiffError, ValueError):
    """A stored value is not of the requested type."""


class SerializeFailed(SkiffError, TypeError):
    """A value cannot be stored: it is of no type that MessagePack can carry."""


class InsertFailed(SkiffError):
    """The write was refused; nothing was written."""


class StorageFull(InsertFailed):
    """There is no room: on the disks of too many nodes, or in the quota; nothing was written."""


class RevisionMismatch(InsertFailed):
    """The key's revision is not the required one; ``current`` is 0 where the key is absent."""

    def __init__(self, message: str, current: int) -> None:
        super().__init__(message)
        self.current = current


class PipelineFailed(SkiffError):
    """Some operations of a pipeline failed; ``results`` has each result or error in its place."""

    def __init__(self, message: str, results: list[Any]) -> None:
        super().__init__(message)
        self.results = results


class Overloaded(SkiffError):
    """The node had to refuse the request to protect itself; nothing was written."""


class MissingClusterConfig(SkiffError):
    """There is no node to ask: give addresses, or set SKIFF_URL."""


class PeerNotFound(SkiffError, LookupError):
    """No member of the cluster has this id."""


class UnsafeMembershipChange(SkiffError):
    """After the change, no majority of voters might answer; nothing was changed."""


class PeerConnectFailed(SkiffError, ConnectionError):
    """No node that could be added was found at the address in time."""


class StreamClosed(SkiffError, ConnectionError):
    """A watch ended, and changes may have been missed since; or a backup did, and left no file."""


class LeaderElectionTimeout(SkiffError, TimeoutError):
    """No leader was elected in time."""


class RequestTimeout(SkiffError, TimeoutError):
    """The deadline passed, and the request certainly changed nothing."""


class OutcomeUnknown(SkiffError, TimeoutError):
    """The deadline passed, and the write may have been done or may yet be."""
