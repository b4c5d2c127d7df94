"""Senders: whose frames a node believes, which incarnation of each, and how far they move its term.

Members of any membership that may still count are believed. A follower that is behind may not know
its leader, or the candidate that needs its vote (dissertation §4.1): it asks the members that it
knows, and believes the voters of the memberships that they tell, until its own log is as far.

What is promised here holds against one member that is broken, not against one that lies well: a
member can move the term by a step, campaign, and vouch for another as broken as itself.
"""

import msgspec

from protocol.membership import MembershipAt, NodeId, is_majority
from protocol.messages.peer import PeerFrame
from protocol.raft.state import RaftState

TERM_JUMP_MAX = 100_000  # hours of elections without a pause; a majority may show more
INCARNATION_JUMP_MAX = 1000  # starts that a node may have had unheard
LAPSE_MICROSECONDS = 10_000_000  # of silence, after which an incarnation mutes no other
VOUCHED_MAX = 64
REMEMBERED_MAX = 1024  # senders, most of them members no more by then


class _Life(msgspec.Struct):
    """The newest incarnation of a sender, and when it was heard last."""

    incarnation: int
    heard_at: int  # microseconds of this node's clock


class Senders:
    """What a node knows of those whose frames reach it."""

    def __init__(self, state: RaftState) -> None:
        self._state = state
        self._lives: dict[NodeId, _Life] = {}
        self._vouched: dict[NodeId, int] = {}  # until the commit index is as high
        self._shown: dict[NodeId, int] = {}  # terms too far ahead to be entered for one sender
        self._told_term = 0
        self.wants_vouchers = False  # somebody unknown has spoken, or of a removal

    def believes(self, sender: NodeId) -> bool:
        """Whether a sender is a member, or vouched for until this log tells."""
        if self._state.memberships.ever_had(sender):
            return True
        return self._vouched.get(sender, 0) > self._state.commit_index

    def vouch(self, told: MembershipAt, term: int) -> None:
        """Believe the voters of a membership that is newer than what is committed here.

        A node that knows of no members begins with the term of those who tell of them.
        """
        self._told_term = max(self._told_term, term)
        committed = self._state.commit_index
        if told.index <= committed:
            return
        self._vouched = {node: at for node, at in self._vouched.items() if at > committed}
        for node in sorted(told.membership.voters):
            if len(self._vouched) < VOUCHED_MAX or node in self._vouched:
                self._vouched[node] = max(told.index, self._vouched.get(node, 0))

    def why_strange(self, frame: PeerFrame) -> str:
        """Return what is wrong with the incarnation of a believed sender, or nothing."""
        now = self._state.now
        life = self._lives.get(frame.sender)
        if life is None or now - life.heard_at >= LAPSE_MICROSECONDS:
            self._remember(frame, now)
            return ""
        if frame.incarnation < life.incarnation:
            return f"a former life of the sender, {frame.incarnation}"
        if frame.incarnation > life.incarnation + INCARNATION_JUMP_MAX:
            return f"incarnation {frame.incarnation}, after {life.incarnation} a moment ago"
        life.incarnation, life.heard_at = frame.incarnation, now
        return ""

    def may_enter(self, sender: NodeId, term: int) -> bool:
        """Whether a newer term is near enough, or shown by a majority of the voters."""
        voters = self._state.membership.voters
        known = self._state.term if voters else max(self._state.term, self._told_term)
        if term <= known + TERM_JUMP_MAX:
            return True
        self._shown[sender] = max(term, self._shown.get(sender, 0))
        shown = sum(self._shown.get(voter, 0) >= term for voter in voters)
        return is_majority(shown, len(voters))

    def _remember(self, frame: PeerFrame, now: int) -> None:
        if len(self._lives) >= REMEMBERED_MAX:
            self._lives = {node: it for node, it in self._lives.items() if self.believes(node)}
            self._shown.clear()
        self._lives[frame.sender] = _Life(frame.incarnation, now)
