"""Belief: no node acts on the claims of a stranger or of a single broken member."""

from collections.abc import Container
from itertools import pairwise

from protocol.entry import EntryKind, LogEntry
from protocol.membership import Membership, NodeId, is_majority
from protocol.messages.storage import Append
from protocol.raft.node import RaftNode
from protocol.raft.roles import Leader
from protocol.raft.senders import TERM_JUMP_MAX
from protocol.state.machine import decode_membership_change
from tests.harness.breach import expect
from tests.simulation.committed_log import CommittedLog


class Belief:
    """Compares the terms, leaders, removals and quorums that nodes assume with the real ones."""

    def __init__(self, log: CommittedLog, nodes: Container[NodeId]) -> None:
        self._log = log
        self._nodes = nodes  # all of the run
        self._in_force: dict[NodeId, Membership] = {}
        self._removed: set[NodeId] = set()
        self.forced: set[NodeId] = set()  # with a forced removal

    def turn_over(self, core: RaftNode) -> None:
        """Check the state of a node after a turn."""
        expect(core.term < TERM_JUMP_MAX, "a term jumped")
        leader = core._state.leader
        expect(leader is None or leader in self._nodes, "a stranger leads")
        if not core.removed:
            self._removed.discard(core.id)
        elif core.id not in self._removed:
            self._removed.add(core.id)
            began = core.id not in self._in_force
            expect(began or self._was_removed(core.id), "a member thinks itself removed")
        self._in_force[core.id] = core.membership

    def ended(self, node: NodeId) -> None:
        """Forget state that a crash loses.

        A learner that crashes starts as if removed, until it is invited again.
        """
        self._in_force.pop(node, None)
        self._removed.discard(node)

    def appends(self, core: RaftNode, append: Append) -> None:
        """Check that a leader risks no quorum, unless it is forced."""
        role, before = core._state.role, self._in_force.get(core.id, Membership())
        for entry in append.entries:
            if not isinstance(role, Leader) or entry.kind is not EntryKind.MEMBERSHIP:
                continue
            after = _members(entry)
            gone = before.voters - after.voters
            if gone and not gone & self.forced:
                progress = role.progress
                answer = [
                    each
                    for each in after.voters
                    if each == core.id or (each in progress and progress[each].answers)
                ]
                expect(is_majority(len(answer), len(after.voters)), "a quorum was given away")
            before = after

    def _was_removed(self, node: NodeId) -> bool:
        """Return whether a committed membership has dropped this member."""
        has = [
            _members(entry).get(node) is not None
            for entry in self._log.entries
            if entry.kind is EntryKind.MEMBERSHIP
        ]
        return any(had and not still for had, still in pairwise(has))


def _members(entry: LogEntry) -> Membership:
    return decode_membership_change(entry.payload).membership
