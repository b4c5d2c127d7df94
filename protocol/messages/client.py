"""Messages between a client and a gateway, over TCP or ipc.

A request frame carries operations and is answered by one reply frame with their outcomes in the
same order. A read sees every write that was acknowledged before the request was sent. The
operations of one frame run concurrently.
"""

from enum import IntEnum
from typing import Annotated

import msgspec

from protocol.membership import Membership, NodeId
from protocol.messages.rights import CheckRight, Identity, ListUsers, Users, WhoAmI
from protocol.ranges import LEVEL_MIN, NUMBER_MAX, Level, Number
from protocol.snapshot import SnapshotChunk, SnapshotPosition
from protocol.space import Room
from protocol.state.commands import Event, Found, Missing, Result, Write
from protocol.state.user_commands import Denied
from protocol.status import RoleName

CLIENT_PROTOCOL_VERSION = 1
OPERATIONS_MAX = 10_000  # in one request
WHOLE = (1 << 62) - 1  # as a position: after all changes of the revision
ANY_STALENESS = NUMBER_MAX  # as ``max_staleness_ms``: the state may have any age


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Ask for the node that answers, the leader and the members."""


class Get(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Read one key."""

    key: str  # 1 to 4096 bytes of UTF-8
    leader_lease: bool = False  # served by the leader's lease, without a round of heartbeats
    max_staleness_ms: int = 0  # by which the state may be out of date; 0: linearizable
    min_revision: int = 0  # that the state must have reached


class ListKeys(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Read a page of the sorted keys that begin with a prefix."""

    prefix: str  # of the keys; ``""`` and ``"/"`` for all
    limit: int  # names in the reply; above 10,000 like 10,000
    start_after: str | None = None  # last name of the page before; None for the first page
    leader_lease: bool = False  # served by the leader's lease, without a round of heartbeats
    max_staleness_ms: int = 0  # by which the state may be out of date; 0: linearizable
    min_revision: int = 0  # that the state must have reached
    reverse: bool = False  # from the last name down


class ListPrefixes(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """Read a page of the sorted paths that directly hold a key and begin with a prefix."""

    prefix: str  # of the paths; ``""`` and ``"/"`` for all
    limit: int  # names in the reply; above 10,000 like 10,000
    start_after: str | None = None  # last name of the page before; None for the first page
    leader_lease: bool = False  # served by the leader's lease, without a round of heartbeats
    max_staleness_ms: int = 0  # by which the state may be out of date; 0: linearizable
    min_revision: int = 0  # that the state must have reached


class GetMany(msgspec.Struct, frozen=True, array_like=True, tag=29):
    """Read several keys at one revision."""

    keys: tuple[str, ...]  # 1,000 at most
    leader_lease: bool = False  # served by the leader's lease, without a round of heartbeats
    max_staleness_ms: int = 0  # by which the state may be out of date; 0: linearizable
    min_revision: int = 0  # that the state must have reached


class Scan(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """Read a page of the entries under a prefix; the node keeps a view for the next pages.

    The first page is read from the state, which the view keeps as it is then; repeating that
    request may begin a newer view.
    """

    scan: bytes  # id of 16 random bytes, as scans may run concurrently
    prefix: str  # of the keys; ``""`` and ``"/"`` for all
    limit: int  # entries to return or count; above 4,096 and 10,000 like these
    start_after: str | None = None  # last key of the page before; None for the first page
    leader_lease: bool = False  # served by the leader's lease, without a round of heartbeats
    max_staleness_ms: int = 0  # by which the state may be out of date; 0: linearizable
    min_revision: int = 0  # that the state must have reached
    reverse: bool = False  # from the last key down
    counts: bool = False  # return only the number of entries
    revision: int = 0  # of the first page, whose view is read; 0 for the first page
    is_last: bool = False  # once ``limit`` entries are returned, no page follows: the view ends


class ReadChanges(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """Read a page of the changes of the keys under a prefix, after a place in their order."""

    prefix: str  # of the keys; ``""`` and ``"/"`` for all
    after: int  # revision of the place
    position: int  # of the place, among the changes of its revision
    min_revision: int = 0  # that the state must have reached
    prev_value: bool = False  # whether to return the values before the changes, too


class Status(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Ask a node for its status."""


class RemoveNode(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Remove a member from the cluster."""

    node: bytes  # id of 16 bytes; ``validation`` checks it: a wrong one fails this operation only
    force: bool = False  # even if the voters that answer would be no majority


class AddNode(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Bring the standby node at this address into the cluster."""

    address: str  # host:port of the standby node; without a port, the default one


class ReadSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Read the chunk at a position of a backup's snapshot; without a position, the first one.

    The first request of a backup takes its snapshot. Repeating that request takes no other.
    """

    backup: bytes  # id of 16 random bytes, as backups may run concurrently
    position: SnapshotPosition | None  # start of the chunk; None to begin the snapshot


class TransferLeadership(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Hand leadership over to this voter, or to the one closest to the leader's log."""

    node: bytes = b""  # id of the voter, 16 bytes; empty for any


class KeepAlive(msgspec.Struct, frozen=True, array_like=True, tag=39):
    """Let leases last anew, from some moment after this was sent."""

    leases: tuple[Number, ...]  # ids; 1,000 at most


class ListLeases(msgspec.Struct, frozen=True, array_like=True, tag=41, gc=False):
    """Read a page of the leases, by their ids; those of keys' own are left out."""

    limit: int  # leases in the reply; above 10,000 like 10,000
    start_after: Number = 0  # ``end`` of the page before; 0 for the first page


ModalRead = Get | GetMany | ListKeys | ListPrefixes | Scan
LeaseRead = KeepAlive | ListLeases
RightsRead = ListUsers | WhoAmI | CheckRight
ReadOperation = ModalRead | ReadChanges | ReadSnapshot | LeaseRead | RightsRead
Operation = Write | Hello | ReadOperation | Status | RemoveNode | AddNode | TransferLeadership


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Operations with one deadline."""

    version: int  # ``CLIENT_PROTOCOL_VERSION``
    id: int  # chosen by the client, repeated by the reply
    timeout_ms: int  # milliseconds from arrival; an hour at most
    # Run concurrently.
    operations: Annotated[tuple[Operation, ...], msgspec.Meta(max_length=OPERATIONS_MAX)]


class ReadBatch(msgspec.Struct, frozen=True, array_like=True):
    """Reads of one or more clients that are confirmed and served together."""

    operations: tuple[ReadOperation, ...]  # in the order of their outcomes
    # Public key of each one's user, empty for no restrictions; none of them if all are empty.
    users: tuple[bytes, ...] = ()

    @property
    def is_pure(self) -> bool:
        """Whether reading has no effect, as taking a snapshot and keeping leases alive have."""
        return not any(type(each) in (ReadSnapshot, KeepAlive) for each in self.operations)


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The node that answers, its publisher, the leader and the members."""

    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    node: NodeId  # id of the node that answers
    publish_endpoint: str  # tcp://host:port of its publisher
    leader: NodeId | None = None  # id; None where none is known
    leader_address: str = ""  # host:port of its gateway; empty where none is known
    membership: Membership = Membership()  # last committed one that the node knows
    level: Level = LEVEL_MIN  # of the operations that the node can read
    membership_index: Number = 0  # of the entry of this membership; 0 from older versions


class Names(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """A page of keys or of paths."""

    revision: int  # of the whole store, when this was read
    names: tuple[str, ...]  # sorted by their bytes
    more: bool  # whether further names follow


class FoundMany(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """The values of several keys at one revision."""

    revision: int  # of the whole store, when this was read
    found: tuple[Found | Missing, ...]  # in the order of the keys


class ScannedEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of a scan's page."""

    key: str  # under the prefix
    create_revision: int  # of the write that created the key
    mod_revision: int  # of its last write
    version: int  # number of writes since it was created
    value: bytes  # MessagePack
    lease: int = 0  # id of the lease that the key goes with; 0: none, or one of its own
    ttl_ms: int = 0  # milliseconds of a lease of the key's own; 0: it has none


class Page(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """A page of a scan."""

    revision: int  # of the state that all pages of the scan show
    entries: tuple[ScannedEntry, ...]  # in order of their keys; none if they are only counted
    count: int  # number of entries of this page
    end: str  # key of the last one; empty if there is none
    more: bool  # whether further entries follow


class ChangePage(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """A page of changes, and the place up to which it has all of them."""

    events: tuple[Event, ...]  # in order of revision and position
    revision: int  # of the place
    position: int  # of the place
    more: bool  # whether the node has further changes
    prev_values: bool = False  # whether the events have the values before them


class Compacted(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """The node no longer has all changes after the place."""

    oldest: int  # revision after which it has all changes


class KeptAlive(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """The leases last anew, unless they have ended."""

    ttls_ms: tuple[int, ...]  # milliseconds of each lease, in the order asked for; 0: it has ended
    granted: int = 0  # last id given to a lease: those above were never granted


class ListedLease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lease of a page."""

    lease: int  # its id
    ttl_ms: int  # milliseconds that it lasts without a keep-alive, at least
    keys: int  # number of keys that go with it


class LeasePage(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """A page of the leases."""

    revision: int  # of the whole store, when this was read
    leases: tuple[ListedLease, ...]  # by their ids
    end: int  # id up to which the page has all of them
    more: bool  # whether further ones may follow


class NodeStatus(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """The status of one node, as reported by itself."""

    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    node: NodeId  # its id
    address: str  # host:port of its gateway
    role: RoleName  # in its current term
    term: int  # its current one
    leader: NodeId | None  # id; None where none is known
    last_index: int  # of the last entry of its log
    commit_index: int  # of the last entry that it knows to be committed
    applied_index: int  # of the last entry applied to its tables
    revision: int  # of its tables
    membership: Membership  # last committed one that it knows
    removed: bool  # whether it knows that it was removed
    room: Room = Room()  # of its disk and its quota
    # Milliseconds since contact with the leader or, if it leads, a majority; None before any.
    silence_ms: int | None = None
    level: int = 0  # of the commands that it can apply; 0 from a version that does not tell
    secure: bool = False  # whether it has keys, so that connections are authenticated
    refused_handshakes: int = 0  # of connections to its ports since its start


class Done(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Success of an operation that has no result."""


class FailureCode(IntEnum):
    """Why an operation failed, and what the client may conclude."""

    INVALID = 1  # can never succeed as it stands; nothing was changed
    NOT_APPLIED = 2  # the deadline passed; it was not and will not be applied
    UNKNOWN = 3  # the deadline passed; it may have been applied, or may yet be
    OVERLOADED = 4  # refused to protect the node; nothing was written
    NOT_MEMBER = 5  # this node was removed: ask another
    UNKNOWN_NODE = 6  # no such node is a member
    UNSUPPORTED = 7  # a node or a member runs another version, which cannot do it; nothing changed
    NO_STANDBY = 8  # the deadline passed; no node at the address has become a member
    STALLED = 9  # this node's storage does not answer; nothing was changed; ask another
    TOO_LARGE = 10  # the outcome does not fit into the reply: ask for less in one request
    STORAGE_FULL = 11  # no space, on the disks of a majority or in the quota; nothing was written
    QUORUM_AT_RISK = 12  # the answering voters would be no majority after it; nothing was changed
    VIEW_GONE = 13  # the node no longer has the view of the scan: begin a new one


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=26, gc=False):
    """The operation failed."""

    code: FailureCode  # consequence for the client
    message: str  # for people
    retry_after_ms: int = 0  # milliseconds until it may succeed; 0 where that is unknown


class SnapshotPart(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """A chunk of the snapshot that a backup reads."""

    chunk: SnapshotChunk | None  # None if the node has dropped that snapshot: start again
    rows_estimate: int  # approximate number of rows in the whole snapshot


class Transferred(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """Leadership has moved as requested."""

    leader: NodeId  # id of the new leader


ReadOutcome = (
    Found
    | Missing
    | FoundMany
    | Names
    | Page
    | ChangePage
    | Compacted
    | SnapshotPart
    | KeptAlive
    | LeasePage
    | Users
    | Identity
    | Done
    | Denied
    | Failed
)
OtherOutcome = Welcome | NodeStatus | Transferred
Outcome = Result | ReadOutcome | OtherOutcome


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The outcomes of the request with this id, in its order."""

    id: int  # of the request
    outcomes: tuple[Outcome, ...]  # one for each operation, in their order


# --- published by the gateway to subscribers

# A new connection subscribes in the order of the topics' bytes, so those of changes come first: the
# confirmation of a subscription must not precede the changes that it promises.
EVENT_TOPIC = b"\x01"  # followed by the key, so that the publisher filters by prefix
PREV_TOPIC = b"\x00"  # likewise, for changes with the values before them
ESTABLISHED_TOPIC = b"\x02"  # followed by the subscriber's nonce
MARK_TOPIC = b"\x03"


class Published(msgspec.Struct, frozen=True, array_like=True):
    """One change; a changed ``losses`` means that some were missed."""

    losses: int  # number of times that this publisher dropped changes
    revision: int  # of the store after this change
    key: str  # that changed
    value: bytes | None  # None for a removal
    prev_revision: int  # the key's revision before; 0 where it was absent
    position: int = 0  # among the changes of this revision
    last: bool = True  # whether it is the last change of this revision
    # Value before this change; None where the key was absent, or it is not kept or not asked for.
    prev_value: bytes | None = None
    expired: bool = False  # whether it is a removal because the key's lease expired


class Established(msgspec.Struct, frozen=True, array_like=True):
    """Every change after this revision will be published to the subscriber that asked."""

    losses: int  # number of times that this publisher dropped changes
    revision: int  # after which every change is published
    prev_values: bool = False  # whether the node publishes the values before changes, too


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """All changes up to this revision have been published."""

    losses: int  # number of times that this publisher dropped changes
    revision: int  # up to which every change is published
