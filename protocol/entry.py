"""One place in the log: index, term and what is to be applied there."""

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from protocol.membership import Membership
from protocol.ranges import IdOrNone, Incarnation, Index, Number, Term


class EntryKind(IntEnum):
    """How an entry's payload is to be read."""

    NO_OP = 0  # a leader's first entry: commits what came before it (Raft §8)
    BATCH = 1  # commands.Batch
    MEMBERSHIP = 2  # MembershipChange


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of the replicated log; the payload stays encoded until it is applied."""

    index: Index
    term: Term
    kind: EntryKind
    payload: bytes = b""


def payload_bytes(entries: Iterable[Entry]) -> int:
    """Return the size of what some entries carry."""
    return sum(len(entry.payload) for entry in entries)


class MembershipChange(msgspec.Struct, frozen=True, array_like=True):
    """The members from this entry on, and the waiting request that it answers, if any."""

    membership: Membership
    origin: IdOrNone = b""
    incarnation: Incarnation = 0
    number: Number = 0
