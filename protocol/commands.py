"""Commands of the state machine, as log entries carry them, and their results."""

import msgspec

from protocol.membership import NodeId
from protocol.ranges import Incarnation, Number


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Begin a client's session, whose number makes its later writes recognisable."""


class Insert(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Write a value; ``if_revision`` is the key's required revision, 0 for absent."""

    key: str
    value: bytes
    if_revision: Number | None = None


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Remove a key; ``if_revision`` is the key's required revision."""

    key: str
    if_revision: Number | None = None


Command = OpenSession | Insert | Remove


class Write(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A command with the session and sequence that make a retry of it harmless.

    Every sequence below ``acknowledged`` has been answered to the client, so that its result
    need not be kept any longer.
    """

    session: Number
    sequence: Number
    acknowledged: Number
    command: Command


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Writes that one gateway proposed together: the payload of one log entry.

    Origin, incarnation and number tell the proposing node, when it applies the entry, which of
    its waiting requests the results answer.
    """

    origin: NodeId
    incarnation: Incarnation
    number: Number
    writes: tuple[Write, ...]


class BatchOrigin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The beginning of a ``Batch``, for whoever need not read the rest."""

    origin: NodeId


class SessionOpened(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The session that the client writes under from now on."""

    session: int


class Inserted(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The revision at which the value was written."""

    revision: int


class Removed(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Whether there was a key to remove, and the revision after that."""

    existed: bool
    revision: int


class RevisionMismatch(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The key's revision was not the required one; 0 means that it is absent."""

    current: int


class SessionExpired(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The session is not known any more, or never was; the command was not applied now."""


Result = SessionOpened | Inserted | Removed | RevisionMismatch | SessionExpired


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one key; ``value`` is None for a removal."""

    revision: int
    key: str
    value: bytes | None
    prev_revision: int
