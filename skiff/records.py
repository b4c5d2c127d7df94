"""Records that the client returns besides plain values."""

import uuid
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

ValueT = TypeVar("ValueT")


class Entry(msgspec.Struct, Generic[ValueT], frozen=True):
    """A key's value and history.

    ``create_revision`` is that of its first write, ``revision`` that of its last, ``version``
    the number of writes since it was created.
    """

    key: str
    value: ValueT
    revision: int
    create_revision: int
    version: int


class EventKind(StrEnum):
    """What happened to a key."""

    INSERT = "insert"
    REMOVE = "remove"


class Event(msgspec.Struct, Generic[ValueT], frozen=True):
    """One change of one key; a removal has no value, a key that was absent no ``prev_revision``."""

    kind: EventKind
    key: str
    value: ValueT | None
    revision: int
    prev_revision: int


class Member(msgspec.Struct, frozen=True):
    """One node of the cluster; a learner receives the log and does not vote yet."""

    id: uuid.UUID
    address: str
    voter: bool


class Role(StrEnum):
    """What a node does in its current term."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Shortage(StrEnum):
    """What a node lacks room for."""

    NONE = "none"
    QUOTA = "quota"  # the state has reached the node's quota
    LOW = "low"  # its disk has less left than its reserve
    CRITICAL = "critical"  # its disk is as good as full


class NodeStatus(msgspec.Struct, frozen=True):
    """How one node stands.

    ``free_bytes`` are what its disk has left, ``state_bytes`` those of all keys and values.
    ``silence_ms`` are the milliseconds since it heard its leader or, as the leader, a majority;
    None where it has not since its start.
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
