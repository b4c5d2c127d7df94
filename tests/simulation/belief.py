"""Belief: no node acts on what only a stranger or one broken member has said."""

from collections.abc import Container
from itertools import pairwise

from protocol.entry import Entry, EntryKind
from protocol.membership import Membership, NodeId, is_majority
from protocol.messages.storage import Append
from protocol.raft.node import RaftNode
from protocol.raft.roles import Leader
from protocol.raft.senders import TERM_JUMP_MAX
from protocol.state_machine import decode_membership_change
from tests.simulation.breach import expect
from tests.simulation.committed_log import CommittedLog


class Belief:
    """Compares what nodes believe of terms, leaders, removals and quorums with what is so."""

    def __init__(self, log: CommittedLog, nodes: Container[NodeId]) -> None:
        self._log = log
        self._nodes = nodes  # all that there are
        self._in_force: dict[NodeId, Membership] = {}
        self._removed: set[NodeId] = set()
        self.forced: set[NodeId] = set()  # whose removal was asked for by force

    def turn_over(self, core: RaftNode) -> None:
        """Check what a turn has left a node believing."""
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
        """Forget what a crash takes with it.

        Who was still being brought up then begins as if removed, until it is invited again.
        """
        self._in_force.pop(node, None)
        self._removed.discard(node)

    def appends(self, core: RaftNode, append: Append) -> None:
        """Check that a leader gives no quorum away, unless it is forced."""
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
        """Whether some committed membership has left a node out that was a member before."""
        has = [
            _members(entry).get(node) is not None
            for entry in self._log.entries
            if entry.kind is EntryKind.MEMBERSHIP
        ]
        return any(had and not still for had, still in pairwise(has))


def _members(entry: Entry) -> Membership:
    return decode_membership_change(entry.payload).membership
