"""Log entries, and the kinds of payload that they carry."""

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from protocol.membership import Membership
from protocol.ranges import IdOrNone, Incarnation, Index, Number, Term


class EntryKind(IntEnum):
    """The encoding of an entry's payload."""

    NO_OP = 0  # a leader's first entry: it commits the entries before it (Raft §8)
    BATCH = 1  # commands.Batch
    MEMBERSHIP = 2  # MembershipChange


class LogEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of the replicated log; the payload stays encoded until it is applied."""

    index: Index  # place in the log, from 1
    term: Term  # of the leader that appended it
    kind: EntryKind  # encoding of the payload
    payload: bytes = b""  # empty for a no-op


def payload_bytes(entries: Iterable[LogEntry]) -> int:
    """Return the total size of the payloads, in bytes."""
    return sum(len(entry.payload) for entry in entries)


class MembershipChange(msgspec.Struct, frozen=True, array_like=True):
    """A new membership, and the request that asked for it, if any."""

    membership: Membership  # in force from this entry on
    origin: IdOrNone = b""  # id of the node whose gateway asked for it; empty for none
    incarnation: Incarnation = 0  # of that node
    number: Number = 0  # of the request at its gateway
