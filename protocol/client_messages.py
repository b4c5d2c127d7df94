"""Messages between a client and a gateway, over TCP or ipc.

A request frame carries operations and is answered by one reply frame with as many outcomes in
the same order. A read sees what was acknowledged before it was sent; operations of one frame
run side by side.
"""

from enum import IntEnum
from typing import Annotated

import msgspec

from protocol.commands import Result, Write
from protocol.membership import Membership, NodeId
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.space import Room
from protocol.status import RoleName

CLIENT_PROTOCOL_VERSION = 1
OPERATIONS_MAX = 10_000  # in one request


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Ask whom one speaks to, who leads and who the members are."""


class Get(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Read one key; with ``lease``, on the word of a leader that trusts the clocks."""

    key: str
    lease: bool = False


class ListKeys(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Read the sorted keys under a prefix, at most ``limit``, after one of them."""

    prefix: str
    limit: int
    start_after: str | None = None
    lease: bool = False


class ListPrefixes(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """Read the sorted parent paths under a prefix, at most ``limit``, after one of them."""

    prefix: str
    limit: int
    start_after: str | None = None
    lease: bool = False


class Status(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Ask how the node stands."""


class RemoveNode(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Take a node out of the cluster; ``force`` if no majority may answer after it."""

    node: bytes  # of 16 bytes; ``validation`` refuses this operation alone where it is not
    force: bool = False


class AddNode(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Bring the standby node at this address into the cluster."""

    address: str


class ReadSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Read the chunk at a position of the snapshot that a backup has; at none, the first one.

    The snapshot is begun by the first question of its backup. Asked again, that begins no other.
    """

    backup: bytes  # its id, drawn by chance: several may be taken at the same time
    position: SnapshotPosition | None


class TransferLeadership(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Let this voter lead, or whichever other one is closest to the leader's log."""

    node: bytes = b""  # of 16 bytes, or empty for any


ReadOperation = Get | ListKeys | ListPrefixes | ReadSnapshot
Operation = Write | Hello | ReadOperation | Status | RemoveNode | AddNode | TransferLeadership


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Operations to be done within ``timeout_ms`` of arrival."""

    version: int
    id: int
    timeout_ms: int
    operations: Annotated[tuple[Operation, ...], msgspec.Meta(max_length=OPERATIONS_MAX)]


class ReadBatch(msgspec.Struct, frozen=True, array_like=True):
    """Reads of one or more clients that are confirmed and served together."""

    operations: tuple[ReadOperation, ...]

    @property
    def is_pure(self) -> bool:
        """Whether reading leaves nothing behind on which later reads rest."""
        return not any(type(each) is ReadSnapshot for each in self.operations)


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Whom the client speaks to, where changes are published and whom else it could ask."""

    cluster: bytes
    node: NodeId
    publish_endpoint: str
    leader: NodeId | None = None
    leader_address: str = ""
    membership: Membership = Membership()


class Found(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """A key's value and history."""

    revision: int  # of the whole store, when this was read
    create_revision: int
    mod_revision: int
    version: int
    value: bytes


class Missing(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """No such key."""

    revision: int


class Names(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """Keys or prefixes; ``more`` if there are others after them."""

    revision: int
    names: tuple[str, ...]
    more: bool


class NodeStatus(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """How one node stands."""

    cluster: bytes
    node: NodeId
    address: str
    role: RoleName
    term: int
    leader: NodeId | None
    last_index: int
    commit_index: int
    applied_index: int
    revision: int
    membership: Membership
    removed: bool
    room: Room = Room()
    # Milliseconds since it heard its leader or, as leader, a majority; None where it never has.
    silence_ms: int | None = None


class Done(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """It is done, and there is nothing more to say."""


class FailureCode(IntEnum):
    """Why an operation failed, and so what the client may conclude."""

    INVALID = 1  # never will succeed as it stands; nothing was written
    NOT_APPLIED = 2  # the deadline passed and it certainly was not applied
    UNKNOWN = 3  # the deadline passed and it may have been applied, or may yet be
    OVERLOADED = 4  # refused to protect the node; nothing was written
    NOT_MEMBER = 5  # this node was removed: ask another
    UNKNOWN_NODE = 6  # no such node is a member
    UNSUPPORTED = 7  # the node speaks another version of this protocol
    NO_STANDBY = 8  # the deadline passed and no node at the address has become a member
    STALLED = 9  # this node's storage does not answer: nothing was written; ask another
    TOO_LARGE = 10  # what was read does not fit into the reply: ask for less in one request
    STORAGE_FULL = 11  # no room for it, on too many disks or in the quota; nothing was written
    QUORUM_AT_RISK = 12  # after the change no majority might answer: nothing was changed


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=26, gc=False):
    """The operation failed."""

    code: FailureCode
    message: str


class SnapshotPart(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """A chunk of a snapshot, None where the node keeps that snapshot no more: begin anew."""

    chunk: SnapshotChunk | None
    rows_estimate: int  # of the whole snapshot


class Transferred(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """Leadership is where it was wanted."""

    leader: NodeId


ReadOutcome = Found | Missing | Names | SnapshotPart
OtherOutcome = Welcome | NodeStatus | Done | Failed | Transferred
Outcome = Result | ReadOutcome | OtherOutcome


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The outcomes of the request with this id, in its order."""

    id: int
    outcomes: tuple[Outcome, ...]


# --- published by the gateway, heard by subscribers

EVENT_TOPIC = b"\x01"  # followed by the key, so that the publisher filters by prefix
ESTABLISHED_TOPIC = b"\x02"  # followed by the subscriber's nonce
MARK_TOPIC = b"\x03"


class Published(msgspec.Struct, frozen=True, array_like=True):
    """One change; ``losses`` moves when a subscriber that was too slow missed some."""

    losses: int
    revision: int
    key: str
    value: bytes | None
    prev_revision: int


class Established(msgspec.Struct, frozen=True, array_like=True):
    """Every change after this revision will be published to the subscriber that asked."""

    losses: int
    revision: int


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """All changes up to this revision have been published."""

    losses: int
    revision: int
