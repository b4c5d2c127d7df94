"""Levels: no command is committed, or applied by a node, that a member or the node cannot apply."""

from protocol.entry import EntryKind, LogEntry
from protocol.membership import Membership, NodeId
from protocol.messages.client import Failed, FailureCode
from protocol.state.batches import InvalidOperation, check_proposal
from protocol.state.levels import STATE_LEVEL, level_of_writes
from protocol.state.machine import decode_batch, decode_membership_change
from tests.harness.breach import expect

OLD_LEVEL = 1  # of a build without transactions and leases
UNREADABLE = Failed(FailureCode.INVALID, "malformed request")  # to an older build


def check_as_older(payload: bytes, proposer: NodeId, _: int) -> bytes:
    """Check a proposal as an older build does, which cannot decode newer commands."""
    checked = check_proposal(payload, proposer, STATE_LEVEL)
    if level_of_writes(decode_batch(checked).writes) > OLD_LEVEL:
        raise InvalidOperation("an unknown tag")
    return checked


class Levels:
    """The level of each node's build, and the commands committed in a run of two builds."""

    def __init__(self) -> None:
        self._running: dict[NodeId, int] = {}
        self._newer_from = 1 << 62  # index of the first entry that an older build does not know
        self._returned: set[NodeId] = set()  # to an older build; they may have to end
        self._members = Membership()  # by the committed log

    def started(self, node: NodeId, level: int) -> None:
        """Note the level of a node's build."""
        if level < self._running.get(node, level):
            self._returned.add(node)
        elif level == STATE_LEVEL:
            self._returned.discard(node)
        self._running[node] = level

    def committed(self, entry: LogEntry) -> None:
        """Check an entry that a node is the first to commit."""
        if entry.kind is EntryKind.MEMBERSHIP:
            self._members = decode_membership_change(entry.payload).membership
        level = _level_of(entry)
        if level > OLD_LEVEL:
            self._newer_from = min(self._newer_from, entry.index)
        for member in self._members.members:
            able = self._running.get(member.id, level) >= level or member.id in self._returned
            expect(able, "a command is committed that a member cannot apply")

    def applied(self, level: int, index: int) -> None:
        """Check that a node knows all committed commands up to an index, which it applies."""
        is_known = level == STATE_LEVEL or index < self._newer_from
        expect(is_known, "a node applies a command that it does not know")

    def changed(self, before: Membership, after: Membership) -> None:
        """Check a membership that a leader appends."""
        fell = bool(before.members) and after.level < before.level
        expect(not fell, "the level of the cluster has fallen")


def _level_of(entry: LogEntry) -> int:
    is_batch = entry.kind is EntryKind.BATCH
    return level_of_writes(decode_batch(entry.payload).writes) if is_batch else 1
