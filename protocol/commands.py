"""Commands of the state machine, as log entries carry them, and their results and events."""

import msgspec

from protocol.membership import NodeId
from protocol.ranges import Incarnation, Number

BATCH_BYTES_MAX = 1 << 20  # of the values in a batch; a single one may exceed it
BATCH_OPERATIONS_MAX = 1000


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Open a client session, in which repeated writes are recognized."""


class Insert(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Write a value."""

    key: str  # 1 to 4096 bytes of UTF-8
    value: bytes  # opaque to the cluster; clients of this project use MessagePack
    if_revision: Number | None = None  # required revision of the key; 0: absent; None: any


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Remove a key."""

    key: str  # 1 to 4096 bytes of UTF-8
    if_revision: Number | None = None  # required revision of the key; None: any


Command = OpenSession | Insert | Remove


def command_size(command: Command) -> int:
    """Return a command's size in bytes: that of its value, as the rest is negligible."""
    return len(command.value) if isinstance(command, Insert) else 0


class Write(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A command with the session and sequence that make retries harmless."""

    session: Number  # number from ``SessionOpened``; 0 to open one
    sequence: Number  # number of this write within its session, from 1
    acknowledged: Number  # lowest sequence whose result the client may still ask for
    command: Command  # to apply at most once


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


Result = SessionOpened | Inserted | Removed | RevisionMismatch | SessionExpired


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one key."""

    revision: int  # of the store after this change
    key: str  # that changed
    value: bytes | None  # None for a removal
    prev_revision: int  # the key's revision before; 0 where it was absent
