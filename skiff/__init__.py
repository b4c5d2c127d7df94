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
        InsertFailed,
        InvalidAddress,
        InvalidConfig,
        InvalidRequest,
        LeaderElectionTimeout,
        LeaseExpired,
        LeaseNotFound,
        MissingClusterConfig,
        NodeRemoved,
        NoNodeReached,
        NotInteger,
        NotSent,
        OutcomeUnknown,
        Overloaded,
        PeerConnectFailed,
        PeerNotFound,
        PipelineFailed,
        RequestTimeout,
        RevisionMismatch,
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
    )
    from skiff.lease import Lease
    from skiff.mirror import Mirror
    from skiff.namespace import Namespace
    from skiff.node import (
        ElectionState,
        Skiff,
    )
    from skiff.offline import (
        Recovery,
        Restored,
        Survivor,
        recover,
        restore,
    )
    from skiff.operations import (
        Check,
        Get,
        Increment,
        Insert,
        Remove,
        RemovePrefix,
        TransactionResult,
    )
    from skiff.pipeline import (
        AsyncPipeline,
        Pipeline,
    )
    from skiff.records import (
        Entry,
        Event,
        EventKind,
        Member,
        NodeStatus,
        Role,
        Shortage,
    )
    from skiff.subscriber import Subscriber
    from skiff.transaction import (
        AsyncTransaction,
        Transaction,
    )

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
    "InsertFailed": "skiff.errors",
    "InvalidAddress": "skiff.errors",
    "InvalidConfig": "skiff.errors",
    "InvalidRequest": "skiff.errors",
    "LeaderElectionTimeout": "skiff.errors",
    "LeaseExpired": "skiff.errors",
    "LeaseNotFound": "skiff.errors",
    "MissingClusterConfig": "skiff.errors",
    "NoNodeReached": "skiff.errors",
    "NodeRemoved": "skiff.errors",
    "NotInteger": "skiff.errors",
    "NotSent": "skiff.errors",
    "OutcomeUnknown": "skiff.errors",
    "Overloaded": "skiff.errors",
    "PeerConnectFailed": "skiff.errors",
    "PeerNotFound": "skiff.errors",
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
    "Entry": "skiff.records",
    "Event": "skiff.records",
    "EventKind": "skiff.records",
    "Member": "skiff.records",
    "NodeStatus": "skiff.records",
    "Role": "skiff.records",
    "Shortage": "skiff.records",
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
    "AsyncClient",
    "AsyncLease",
    "AsyncMirror",
    "AsyncNamespace",
    "AsyncPipeline",
    "AsyncSubscriber",
    "AsyncTransaction",
    "Backup",
    "Builder",
    "Check",
    "Client",
    "ClientClosed",
    "ClientConnectFailed",
    "ClusterInitFailed",
    "ClusterJoinFailed",
    "Compacted",
    "CounterOverflow",
    "DataDirectoryCreateFailed",
    "DeserializeFailed",
    "DirectoryCopied",
    "ElectionState",
    "Entry",
    "Event",
    "EventKind",
    "Get",
    "Increment",
    "Insert",
    "InsertFailed",
    "InvalidAddress",
    "InvalidConfig",
    "InvalidRequest",
    "LeaderElectionTimeout",
    "Lease",
    "LeaseExpired",
    "LeaseNotFound",
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
    "PeerConnectFailed",
    "PeerNotFound",
    "Pipeline",
    "PipelineFailed",
    "RPCBindFailed",
    "RPCCallFailed",
    "Recovery",
    "Remove",
    "RemovePrefix",
    "RequestTimeout",
    "Restored",
    "RevisionMismatch",
    "Role",
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
    "__version__",
    "recover",
    "restore",
]
