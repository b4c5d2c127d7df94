"""Commands of the state machine, as log entries carry them, and their results and events."""

from enum import IntEnum
from typing import assert_never

import msgspec

from protocol.membership import NodeId
from protocol.ranges import Incarnation, Integer, Number
from protocol.state.user_commands import (
    AddUser,
    AddUserKey,
    AssignRole,
    Denied,
    Grant,
    RemoveRole,
    RemoveUser,
    RemoveUserKey,
    Revoke,
    RightsChanged,
    RightsRefused,
    UnassignRole,
    UserCommand,
)


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Open a client session, in which repeated writes are recognized."""


class Insert(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Write a value."""

    key: str  # 1 to 4096 bytes of UTF-8
    value: bytes  # opaque to the cluster; clients of this project use MessagePack
    if_revision: Number | None = None  # required revision of the key; 0: absent; None: any
    lease: Number = 0  # id of the lease that the key goes with; 0: none
    ttl_ms: Number = 0  # milliseconds of a lease of the key's own, granted with it; 0: none


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Remove a key."""

    key: str  # 1 to 4096 bytes of UTF-8
    if_revision: Number | None = None  # required revision of the key; None: any


class RemovePrefix(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Remove all keys that begin with a prefix."""

    prefix: str  # of the keys; ``""`` and ``"/"`` for all


class Increment(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Add to the integer that is a key's value; an absent key counts as 0."""

    key: str  # 1 to 4096 bytes of UTF-8
    by: Integer = 1  # added to the value, which is a MessagePack integer


class Lookup(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Read a key within a transaction, after its writes so far."""

    key: str  # 1 to 4096 bytes of UTF-8


class Check(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Conditions on one key before a transaction; null for no condition."""

    key: str  # 1 to 4096 bytes of UTF-8
    exists: bool | None = None  # whether it does
    revision: Number | None = None  # of its last write; 0: absent
    create_revision: Number | None = None  # of the write that created it; 0: absent
    version: Number | None = None  # number of writes since it was created; 0: absent
    value: bytes | None = None  # its bytes


class GrantLease(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Begin a lease, with which the keys that are attached to it go when it ends."""

    ttl_ms: Number  # milliseconds without a keep-alive that it lasts at least


class RevokeLease(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """End a lease now, and remove its keys."""

    lease: Number  # id from ``LeaseGranted``


class ExpireLeases(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """End leases whose time has passed, and remove their keys; only a leader proposes it.

    It has no session, and ignores leases that have ended. What would remove too many keys at once
    is left for another one.
    """

    leases: tuple[Number, ...]  # ids


class Fence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The condition that a holder's key is still the one that it created."""

    key: str  # of the holder, 1 to 4096 bytes of UTF-8
    token: Number  # revision that created it, from 1; each later holder's is greater


class CheckpointLeases(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Record how long leases last for the next leader; only a leader proposes it.

    It has no session, and ignores leases that have ended.
    """

    leases: tuple[tuple[Number, Number], ...]  # id and milliseconds left; 0 for its whole time


TransactionOperation = Insert | Remove | RemovePrefix | Increment | Lookup


class Transact(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Several operations as one change, which is made as a whole or not at all."""

    checks: tuple[Check, ...]  # of the state before
    then: tuple[TransactionOperation, ...]  # performed in order, if all checks hold
    otherwise: tuple[TransactionOperation, ...] = ()  # performed in order, if one does not
    fences: tuple[Fence, ...] = ()  # of the state before; if one does not hold, nothing is done


KeyCommand = Insert | Remove | RemovePrefix | Increment | Transact
StateCommand = KeyCommand | GrantLease | RevokeLease | UserCommand
Command = OpenSession | ExpireLeases | CheckpointLeases | StateCommand


def grows(command: Command) -> bool:
    """Whether a command may need space, so that it is refused when there is none."""
    match command:
        case Insert() | Increment() | GrantLease():
            return True
        case Transact(then=then, otherwise=otherwise):
            return any(isinstance(each, Insert | Increment) for each in (*then, *otherwise))
        case _:
            return False


def keys_of(command: Command) -> list[str]:
    """Return the keys that a command names, repeated ones included."""
    match command:
        case Insert(key=key) | Remove(key=key) | Increment(key=key):
            return [key]
        case Transact(checks=checks, then=then, otherwise=otherwise, fences=fences):
            operations = (*then, *otherwise)
            return [
                *(check.key for check in checks),
                *(fence.key for fence in fences),
                *(each.key for each in operations if not isinstance(each, RemovePrefix)),
            ]
        case OpenSession() | RemovePrefix() | GrantLease() | RevokeLease():
            return []
        case ExpireLeases() | CheckpointLeases():
            return []
        case AddUser() | RemoveUser() | AddUserKey() | RemoveUserKey():
            return []
        case AssignRole() | UnassignRole() | Grant() | Revoke() | RemoveRole():
            return []
        case unknown:
            assert_never(unknown)


def command_size(command: Command) -> int:
    """Return a command's size in bytes: that of its values, as the rest is negligible."""
    match command:
        case Insert(value=value):
            return len(value)
        case Transact(checks=checks, then=then, otherwise=otherwise):
            checked = sum(len(check.value or b"") for check in checks)
            written = (each for each in (*then, *otherwise) if isinstance(each, Insert))
            return checked + sum(len(each.value) for each in written)
        case _:
            return 0


class Write(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A command with the session and sequence that make retries harmless."""

    session: Number  # number from ``SessionOpened``; 0 to open one
    sequence: Number  # number of this write within its session, from 1
    acknowledged: Number  # lowest sequence whose result the client may still ask for
    command: Command  # to apply at most once
    # Public key of the user, 32 bytes, whose rights it needs; empty for no restrictions. Gateways
    # set it, whatever a client sends.
    user: bytes = b""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Writes that one gateway proposed together: the payload of one log entry.

    When the proposing node applies the entry, origin, incarnation and number identify the pending
    request that the results answer.
    """

    origin: NodeId  # id of the proposing node
    incarnation: Incarnation  # of the proposing node
    number: Number  # of the proposal at its gateway
    writes: tuple[Write, ...]  # in the order in which they are applied


class BatchOrigin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first field of a ``Batch``, decoded without the rest."""

    origin: NodeId  # id of the proposing node


class SessionOpened(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A session was opened for the client's writes."""

    session: int  # its number


class Inserted(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The value was written."""

    revision: int  # of the store after this write


class Removed(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """The key is absent now."""

    existed: bool  # whether there was such a key
    revision: int  # of the store afterwards


class RevisionMismatch(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The key does not have the required revision; nothing was changed."""

    current: int  # the key's revision; 0 where it is absent


class SessionExpired(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The session is unknown or expired; this attempt was not applied."""


class PrefixRemoved(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """No key begins with the prefix now."""

    count: int  # of the keys removed
    revision: int  # of the store afterwards


class Incremented(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The integer was increased."""

    value: int  # after the addition
    revision: int  # of the store after this write


class Obstacle(IntEnum):
    """Why a command cannot be applied to the present state."""

    NOT_INTEGER = 1  # the value to increment is no MessagePack integer
    OUT_OF_RANGE = 2  # the sum is outside of -2^63 to 2^63 - 1
    TOO_MANY_KEYS = 3  # more keys begin with the prefixes than one change may remove
    TOO_LARGE = 4  # the values read by a transaction exceed its limit
    TOO_MANY_LEASES = 5  # the cluster has no room for another lease
    LEASE_FULL = 6  # the lease has as many keys as one change may remove
    FENCED = 7  # the key of a fence is absent, or was created by another holder


class Inapplicable(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """The command was not applied; nothing was changed."""

    obstacle: Obstacle  # why not
    detail: str = ""  # the key or prefix concerned, or the id of the lease


class Found(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """A key's value and history."""

    revision: int  # of the whole store, when this was read
    create_revision: int  # of the write that created the key
    mod_revision: int  # of the last write to the key
    version: int  # number of writes since the key was created, from 1
    value: bytes  # as inserted
    lease: int = 0  # id of the lease that the key goes with; 0: none, or one of its own
    ttl_ms: int = 0  # milliseconds of a lease of the key's own; 0: it has none


class Missing(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """No such key."""

    revision: int  # of the whole store, when this was read


OperationResult = Inserted | Removed | PrefixRemoved | Incremented | Found | Missing


class LeaseGranted(msgspec.Struct, frozen=True, array_like=True, tag=36, gc=False):
    """A lease has begun."""

    lease: int  # its id, from 1 on; none is given twice


class LeaseEnded(msgspec.Struct, frozen=True, array_like=True, tag=37, gc=False):
    """A lease has ended, or several have, and their keys are absent now."""

    count: int  # of the keys removed
    revision: int  # of the store afterwards


class NoLease(msgspec.Struct, frozen=True, array_like=True, tag=38, gc=False):
    """There is no such lease; nothing was changed."""

    lease: int  # id as asked for
    has_ended: bool  # whether there was one, which was revoked or has expired


class Transacted(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The transaction was performed."""

    succeeded: bool  # whether all checks held
    revision: int  # of the store afterwards
    results: tuple[OperationResult, ...]  # of the operations performed, in their order


Result = (
    SessionOpened
    | Inserted
    | Removed
    | RevisionMismatch
    | SessionExpired
    | PrefixRemoved
    | Incremented
    | Inapplicable
    | Transacted
    | LeaseGranted
    | LeaseEnded
    | NoLease
    | RightsChanged
    | RightsRefused
    | Denied
)


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one key."""

    revision: int  # of the store after this change
    key: str  # that changed
    value: bytes | None  # None for a removal
    prev_revision: int  # the key's revision before; 0 where it was absent
    position: int = 0  # among the changes of this revision
    # Value before this change; None where the key was absent, or where it is not kept.
    prev_value: bytes | None = None
    expired: bool = False  # whether it is a removal because the key's lease expired
