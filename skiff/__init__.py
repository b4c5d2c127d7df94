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

from skiff.backup import Backup  # noqa: E402 - only after the check above
from skiff.builder import Builder  # noqa: E402
from skiff.client import Client  # noqa: E402
from skiff.errors import (  # noqa: E402
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
from skiff.lease import Lease  # noqa: E402
from skiff.namespace import Namespace  # noqa: E402
from skiff.node import ElectionState, Skiff  # noqa: E402
from skiff.offline import (  # noqa: E402
    Recovery,
    Restored,
    Survivor,
    recover,
    restore,
)
from skiff.operations import (  # noqa: E402
    Check,
    Get,
    Increment,
    Insert,
    Remove,
    RemovePrefix,
    TransactionResult,
)
from skiff.pipeline import AsyncPipeline, Pipeline  # noqa: E402
from skiff.records import (  # noqa: E402
    Entry,
    Event,
    EventKind,
    LeaseInfo,
    Member,
    NodeStatus,
    Role,
    Shortage,
)
from skiff.subscriber import Subscriber  # noqa: E402
from skiff.transaction import AsyncTransaction, Transaction  # noqa: E402

if TYPE_CHECKING:
    from skiff.async_client import AsyncClient
    from skiff.async_lease import AsyncLease
    from skiff.async_namespace import AsyncNamespace
    from skiff.async_subscriber import AsyncSubscriber

__version__ = "0.1.0"

# Imported on first use: asyncio would be a quarter of the time that importing skiff takes.
_ON_FIRST_USE = {
    "AsyncClient": "skiff.async_client",
    "AsyncLease": "skiff.async_lease",
    "AsyncNamespace": "skiff.async_namespace",
    "AsyncSubscriber": "skiff.async_subscriber",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})


__all__ = [
    "AddressTaken",
    "AsyncClient",
    "AsyncLease",
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
    "LeaseInfo",
    "LeaseNotFound",
    "Member",
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
