"""Records: the values with several fields that client methods return."""

import uuid
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from protocol.ranges import LEVEL_MIN

ValueT = TypeVar("ValueT")


class Entry(msgspec.Struct, Generic[ValueT], frozen=True):
    """A key's value and history.

    ``create_revision`` is the revision of the write that created the key, ``revision`` that of the
    last write, and ``version`` counts the writes from the first of them, which is 1. ``lease`` is
    the id of the lease that the key goes with, None without one. ``ttl`` is that of an insert with
    ``ttl=``, in seconds, which has no such id; None for other keys.
    """

    key: str
    value: ValueT
    revision: int
    create_revision: int
    version: int
    lease: int | None = None
    ttl: float | None = None


class EventKind(StrEnum):
    """The kind of an event: a change, or the end of the entries that a watch began with."""

    INSERT = "insert"
    REMOVE = "remove"
    EXPIRE = "expire"
    SYNCED = "synced"


class Event(msgspec.Struct, Generic[ValueT], frozen=True):
    """One change of one key.

    ``value`` is None for a removal, and for an expiry: the end of the key's lease, or of its TTL,
    for lack of keep-alives. ``prev_revision`` is the key's revision before the change, 0 if
    the key was absent. ``prev_value`` is its value before the change; None if the key was absent,
    or if the watch has not asked for it by ``prev_value=True``. It is also None, with a
    ``prev_revision`` other than 0, where the nodes have not kept it: beyond 4 MiB in one log entry,
    as a removal by a prefix may replace, and in the history of nodes of an older version.
    """

    kind: EventKind
    key: str
    value: ValueT | None
    revision: int
    prev_revision: int
    prev_value: ValueT | None = None


class Fence(msgspec.Struct, frozen=True):
    """The key and the token of a holder, for writes that are refused once it holds no longer.

    It can be passed to another process, as JSON or MessagePack by msgspec.
    """

    key: str
    token: int


class LeaseInfo(msgspec.Struct, frozen=True):
    """A lease of the cluster: its number, its TTL in seconds, and how many keys go with it."""

    id: int
    ttl: float
    keys: int


class UserInfo(msgspec.Struct, frozen=True):
    """A user of the cluster: its name, its one or two public keys as text, and its roles."""

    name: str
    keys: tuple[str, ...]
    roles: tuple[str, ...]


class GrantInfo(msgspec.Struct, frozen=True):
    """A right of a role, and the prefix of the keys for which it holds, empty for all."""

    right: str
    prefix: str


class RoleInfo(msgspec.Struct, frozen=True):
    """A role, with its rights."""

    name: str
    grants: tuple[GrantInfo, ...]


class Identity(msgspec.Struct, frozen=True):
    """The user as whom a client is known, with its roles.

    ``user`` is None where nodes have no keys, and for the key of the cluster: then there are no
    restrictions.
    """

    user: str | None
    roles: tuple[RoleInfo, ...]


class Member(msgspec.Struct, frozen=True):
    """A member of the cluster: a voter, or a learner, which receives the log without a vote.

    ``level`` is that of the commands that its version can apply, as the cluster has recorded it.
    """

    id: uuid.UUID
    address: str
    voter: bool
    level: int = LEVEL_MIN


class Role(StrEnum):
    """The role of a node in its current term."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Shortage(StrEnum):
    """The shortage of space on a node."""

    NONE = "none"
    QUOTA = "quota"  # keys and values have reached the node's quota
    LOW = "low"  # the free disk space is below the node's reserve
    CRITICAL = "critical"  # the disk is nearly full


class NodeStatus(msgspec.Struct, frozen=True):
    """The status of one node, as it reports it.

    ``free_bytes`` is the free space of its disk, ``state_bytes`` the size of all keys and values.
    ``silence_ms`` is the time in milliseconds since the last message from its leader or, on the
    leader, from a majority; None if there was none since the start. ``level`` is that of the
    commands that its version can apply, None where an older version does not report it, and
    ``cluster_level`` that of those which every member can apply, None before it has joined one.
    ``secure`` tells whether it has keys, ``refused_handshakes`` how many connections it has refused
    since its start, or has seen end before they were authenticated.
    """

    id: uuid.UUID
    cluster_id: uuid.UUID | None
    address: str
    role: Role
    term: int
    leader: uuid.UUID | None
    revision: int
    last_index: int
    commit_index: int
    applied_index: int
    removed: bool
    members: tuple[Member, ...]
    free_bytes: int = 0
    state_bytes: int = 0
    shortage: Shortage = Shortage.NONE
    silence_ms: int | None = None
    level: int | None = None
    cluster_level: int | None = None
    secure: bool = False
    refused_handshakes: int = 0
