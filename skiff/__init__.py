"""skiff: a strongly consistent, replicated key-value store to embed, and its clients."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import actors
import protocol

for _package in (actors, protocol):
    _place = Path(str(_package.__file__)).resolve()
    if _place.parent.parent != Path(__file__).resolve().parent.parent:
        raise ImportError(
            f"skiff needs its own package {_package.__name__!r} and found another one at {_place}: "
            "rename or remove that, or install skiff in an environment of its own"
        )

if TYPE_CHECKING:
    from skiff.async_client import AsyncClient
    from skiff.async_lease import AsyncLease
    from skiff.async_mirror import AsyncMirror
    from skiff.async_namespace import AsyncNamespace
    from skiff.async_subscriber import AsyncSubscriber
    from skiff.backup import Backup
    from skiff.builder import Builder
    from skiff.client import Client
    from skiff.errors import (
        AddressTaken,
        ClientClosed,
        ClientConnectFailed,
        ClusterInitFailed,
        ClusterJoinFailed,
        Compacted,
        CounterOverflow,
        DataDirectoryCreateFailed,
        DeserializeFailed,
        DirectoryCopied,
        Fenced,
        InsertFailed,
        InvalidAddress,
        InvalidConfig,
        InvalidKey,
        InvalidRequest,
        LastAdministrator,
        LeaderElectionTimeout,
        LeaseExpired,
        LeaseNotFound,
        LockLost,
        LockMisused,
        LockTimeout,
        MissingClusterConfig,
        NodeRemoved,
        NoNodeReached,
        NotInteger,
        NotSent,
        OutcomeUnknown,
        Overloaded,
        PeerConnectFailed,
        PeerNotFound,
        PermissionDenied,
        PipelineFailed,
        RequestTimeout,
        RevisionMismatch,
        RoleNotFound,
        RPCBindFailed,
        RPCCallFailed,
        SerializeFailed,
        SkiffError,
        StorageError,
        StorageFull,
        StreamClosed,
        TooManyLeases,
        TransactionConflict,
        UnsafeMembershipChange,
        Unsupported,
        UserExists,
        UserNotFound,
    )
    from skiff.lease import Lease
    from skiff.mirror import Mirror
    from skiff.namespace import Namespace
    from skiff.node import ElectionState, Skiff
    from skiff.offline import Recovery, Restored, Survivor, recover, restore
    from skiff.operations import (
        Check,
        Get,
        Increment,
        Insert,
        Remove,
        RemovePrefix,
        TransactionResult,
    )
    from skiff.pipeline import AsyncPipeline, Pipeline
    from skiff.recipes.async_barrier import AsyncBarrier
    from skiff.recipes.async_counter import AsyncCounter
    from skiff.recipes.async_double_barrier import AsyncDoubleBarrier
    from skiff.recipes.async_election import AsyncElection
    from skiff.recipes.async_lock import AsyncLock
    from skiff.recipes.async_party import AsyncParty
    from skiff.recipes.async_queue import AsyncQueue
    from skiff.recipes.async_read_write_lock import AsyncReadWriteLock
    from skiff.recipes.async_semaphore import AsyncSemaphore
    from skiff.recipes.barrier import Barrier
    from skiff.recipes.counter import Counter
    from skiff.recipes.double_barrier import DoubleBarrier
    from skiff.recipes.election import Election
    from skiff.recipes.lock import Lock
    from skiff.recipes.party import Party
    from skiff.recipes.queue import Queue
    from skiff.recipes.read_write_lock import ReadWriteLock
    from skiff.recipes.semaphore import Semaphore
    from skiff.records import (
        Entry,
        Event,
        EventKind,
        Fence,
        GrantInfo,
        Identity,
        LeaseInfo,
        Member,
        NodeStatus,
        Role,
        RoleInfo,
        Shortage,
        UserInfo,
    )
    from skiff.subscriber import Subscriber
    from skiff.transaction import AsyncTransaction, Transaction

__version__ = "0.1.0"

# Imported on first use: pytest loads this package for its plugin, whatever the tests need.
_ON_FIRST_USE = {
    "AsyncClient": "skiff.async_client",
    "AsyncLease": "skiff.async_lease",
    "AsyncMirror": "skiff.async_mirror",
    "AsyncNamespace": "skiff.async_namespace",
    "AsyncSubscriber": "skiff.async_subscriber",
    "Backup": "skiff.backup",
    "Builder": "skiff.builder",
    "Client": "skiff.client",
    "AddressTaken": "skiff.errors",
    "ClientClosed": "skiff.errors",
    "ClientConnectFailed": "skiff.errors",
    "ClusterInitFailed": "skiff.errors",
    "ClusterJoinFailed": "skiff.errors",
    "Compacted": "skiff.errors",
    "CounterOverflow": "skiff.errors",
    "DataDirectoryCreateFailed": "skiff.errors",
    "DeserializeFailed": "skiff.errors",
    "DirectoryCopied": "skiff.errors",
    "Fenced": "skiff.errors",
    "InsertFailed": "skiff.errors",
    "InvalidAddress": "skiff.errors",
    "InvalidConfig": "skiff.errors",
    "InvalidKey": "skiff.errors",
    "InvalidRequest": "skiff.errors",
    "LeaderElectionTimeout": "skiff.errors",
    "LeaseExpired": "skiff.errors",
    "LeaseNotFound": "skiff.errors",
    "LockLost": "skiff.errors",
    "LockMisused": "skiff.errors",
    "LockTimeout": "skiff.errors",
    "MissingClusterConfig": "skiff.errors",
    "NoNodeReached": "skiff.errors",
    "NodeRemoved": "skiff.errors",
    "NotInteger": "skiff.errors",
    "NotSent": "skiff.errors",
    "OutcomeUnknown": "skiff.errors",
    "Overloaded": "skiff.errors",
    "PeerConnectFailed": "skiff.errors",
    "PeerNotFound": "skiff.errors",
    "PermissionDenied": "skiff.errors",
    "PipelineFailed": "skiff.errors",
    "RPCBindFailed": "skiff.errors",
    "RPCCallFailed": "skiff.errors",
    "RequestTimeout": "skiff.errors",
    "RevisionMismatch": "skiff.errors",
    "SerializeFailed": "skiff.errors",
    "SkiffError": "skiff.errors",
    "StorageError": "skiff.errors",
    "StorageFull": "skiff.errors",
    "StreamClosed": "skiff.errors",
    "TooManyLeases": "skiff.errors",
    "TransactionConflict": "skiff.errors",
    "UnsafeMembershipChange": "skiff.errors",
    "Unsupported": "skiff.errors",
    "UserNotFound": "skiff.errors",
    "UserExists": "skiff.errors",
    "RoleNotFound": "skiff.errors",
    "LastAdministrator": "skiff.errors",
    "Lease": "skiff.lease",
    "Mirror": "skiff.mirror",
    "Namespace": "skiff.namespace",
    "ElectionState": "skiff.node",
    "Skiff": "skiff.node",
    "Recovery": "skiff.offline",
    "Restored": "skiff.offline",
    "Survivor": "skiff.offline",
    "recover": "skiff.offline",
    "restore": "skiff.offline",
    "Check": "skiff.operations",
    "Get": "skiff.operations",
    "Increment": "skiff.operations",
    "Insert": "skiff.operations",
    "Remove": "skiff.operations",
    "RemovePrefix": "skiff.operations",
    "TransactionResult": "skiff.operations",
    "AsyncPipeline": "skiff.pipeline",
    "Pipeline": "skiff.pipeline",
    "AsyncBarrier": "skiff.recipes.async_barrier",
    "AsyncCounter": "skiff.recipes.async_counter",
    "AsyncDoubleBarrier": "skiff.recipes.async_double_barrier",
    "AsyncElection": "skiff.recipes.async_election",
    "AsyncLock": "skiff.recipes.async_lock",
    "AsyncParty": "skiff.recipes.async_party",
    "AsyncQueue": "skiff.recipes.async_queue",
    "AsyncReadWriteLock": "skiff.recipes.async_read_write_lock",
    "AsyncSemaphore": "skiff.recipes.async_semaphore",
    "Barrier": "skiff.recipes.barrier",
    "Counter": "skiff.recipes.counter",
    "DoubleBarrier": "skiff.recipes.double_barrier",
    "Election": "skiff.recipes.election",
    "Lock": "skiff.recipes.lock",
    "Party": "skiff.recipes.party",
    "Queue": "skiff.recipes.queue",
    "ReadWriteLock": "skiff.recipes.read_write_lock",
    "Semaphore": "skiff.recipes.semaphore",
    "Entry": "skiff.records",
    "Event": "skiff.records",
    "EventKind": "skiff.records",
    "Fence": "skiff.records",
    "LeaseInfo": "skiff.records",
    "Member": "skiff.records",
    "NodeStatus": "skiff.records",
    "Role": "skiff.records",
    "Shortage": "skiff.records",
    "UserInfo": "skiff.records",
    "RoleInfo": "skiff.records",
    "Identity": "skiff.records",
    "GrantInfo": "skiff.records",
    "Subscriber": "skiff.subscriber",
    "AsyncTransaction": "skiff.transaction",
    "Transaction": "skiff.transaction",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_ON_FIRST_USE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})


__all__ = [
    "AddressTaken",
    "AsyncBarrier",
    "AsyncClient",
    "AsyncCounter",
    "AsyncDoubleBarrier",
    "AsyncElection",
    "AsyncLease",
    "AsyncLock",
    "AsyncMirror",
    "AsyncNamespace",
    "AsyncParty",
    "AsyncPipeline",
    "AsyncQueue",
    "AsyncReadWriteLock",
    "AsyncSemaphore",
    "AsyncSubscriber",
    "AsyncTransaction",
    "Backup",
    "Barrier",
    "Builder",
    "Check",
    "Client",
    "ClientClosed",
    "ClientConnectFailed",
    "ClusterInitFailed",
    "ClusterJoinFailed",
    "Compacted",
    "Counter",
    "CounterOverflow",
    "DataDirectoryCreateFailed",
    "DeserializeFailed",
    "DirectoryCopied",
    "DoubleBarrier",
    "Election",
    "ElectionState",
    "Entry",
    "Event",
    "EventKind",
    "Fence",
    "Fenced",
    "Get",
    "GrantInfo",
    "Identity",
    "Increment",
    "Insert",
    "InsertFailed",
    "InvalidAddress",
    "InvalidConfig",
    "InvalidKey",
    "InvalidRequest",
    "LastAdministrator",
    "LeaderElectionTimeout",
    "Lease",
    "LeaseExpired",
    "LeaseInfo",
    "LeaseNotFound",
    "Lock",
    "LockLost",
    "LockMisused",
    "LockTimeout",
    "Member",
    "Mirror",
    "MissingClusterConfig",
    "Namespace",
    "NoNodeReached",
    "NodeRemoved",
    "NodeStatus",
    "NotInteger",
    "NotSent",
    "OutcomeUnknown",
    "Overloaded",
    "Party",
    "PeerConnectFailed",
    "PeerNotFound",
    "PermissionDenied",
    "Pipeline",
    "PipelineFailed",
    "Queue",
    "RPCBindFailed",
    "RPCCallFailed",
    "ReadWriteLock",
    "Recovery",
    "Remove",
    "RemovePrefix",
    "RequestTimeout",
    "Restored",
    "RevisionMismatch",
    "Role",
    "RoleInfo",
    "RoleNotFound",
    "Semaphore",
    "SerializeFailed",
    "Shortage",
    "Skiff",
    "SkiffError",
    "StorageError",
    "StorageFull",
    "StreamClosed",
    "Subscriber",
    "Survivor",
    "TooManyLeases",
    "Transaction",
    "TransactionConflict",
    "TransactionResult",
    "UnsafeMembershipChange",
    "Unsupported",
    "UserExists",
    "UserInfo",
    "UserNotFound",
    "__version__",
    "recover",
    "restore",
]
