"""Senders: the nodes whose frames are accepted, their incarnations, and the terms they may show.

Frames are accepted from members of any membership that may be in force. A follower whose log is
behind may not know its leader, or the candidate that needs its vote (dissertation §4.1). It asks
the members that it knows for their memberships, and trusts the voters of these until its own
log has caught up.

These rules hold against one broken member, not against a malicious one: a member can raise the
term step by step, campaign, and vouch for another node as broken as itself.
"""

import msgspec

from protocol.membership import MembershipAt, NodeId, is_majority
from protocol.messages.peer import PeerFrame
from protocol.raft.state import RaftState

TERM_JUMP_MAX = 100_000  # hours of elections without a pause; a majority may show more
INCARNATION_JUMP_MAX = 1000  # starts of a node between two of its frames
LAPSE_MICROSECONDS = 10_000_000  # of silence, after which any incarnation is accepted again
VOUCHED_MAX = 64
REMEMBERED_MAX = 1024  # senders, most of which are no longer members by then


class RejectedFrame(ValueError):
    """A frame of another cluster, protocol version or incarnation of its sender."""


class UnknownSender(RejectedFrame):
    """A frame of this cluster whose sender no known membership lists and no member vouches for.

    ``is_answered`` if the sender is notified that it was removed.
    """

    def __init__(self, *, is_answered: bool) -> None:
        super().__init__("a sender for which no known member vouches")
        self.is_answered = is_answered


class _Sender(msgspec.Struct):
    """The newest incarnation of a sender, and the time of its last frame."""

    incarnation: int
    received_at: int  # microseconds of this node's clock


class Senders:
    """The senders of frames, as one node knows them."""

    def __init__(self, state: RaftState) -> None:
        self._state = state
        self._known: dict[NodeId, _Sender] = {}
        self._vouched: dict[NodeId, int] = {}  # until the commit index is as high
        self._shown: dict[NodeId, int] = {}  # terms too far ahead to be entered for one sender
        self._vouched_term = 0
        self.wants_vouchers = False  # a frame of an unknown sender has arrived

    def trusts(self, sender: NodeId) -> bool:
        """Whether a sender is a member, or a member vouches for it and this log is behind."""
        if self._state.memberships.ever_had(sender):
            return True
        return self._vouched.get(sender, 0) > self._state.commit_index

    def vouch(self, listed: MembershipAt, term: int) -> None:
        """Trust the voters of a membership that is newer than the commit index.

        A node that knows no members yet takes their term as its starting point.
        """
        self._vouched_term = max(self._vouched_term, term)
        committed = self._state.commit_index
        if listed.index <= committed:
            return
        self._vouched = {node: at for node, at in self._vouched.items() if at > committed}
        for node in sorted(listed.membership.voters):
            if len(self._vouched) < VOUCHED_MAX or node in self._vouched:
                self._vouched[node] = max(listed.index, self._vouched.get(node, 0))

    def why_rejected(self, frame: PeerFrame) -> str:
        """Return what is wrong with the incarnation of a trusted sender, or ''."""
        now = self._state.now
        known = self._known.get(frame.sender)
        if known is None or now - known.received_at >= LAPSE_MICROSECONDS:
            self._remember(frame, now)
            return ""
        if frame.incarnation < known.incarnation:
            return f"an earlier incarnation of the sender, {frame.incarnation}"
        if frame.incarnation > known.incarnation + INCARNATION_JUMP_MAX:
            return f"incarnation {frame.incarnation}, after {known.incarnation} a moment ago"
        known.incarnation, known.received_at = frame.incarnation, now
        return ""

    def may_enter(self, sender: NodeId, term: int) -> bool:
        """Whether a newer term is near enough, or shown by a majority of the voters."""
        voters = self._state.membership.voters
        current = self._state.term if voters else max(self._state.term, self._vouched_term)
        if term <= current + TERM_JUMP_MAX:
            return True
        self._shown[sender] = max(term, self._shown.get(sender, 0))
        shown = sum(self._shown.get(voter, 0) >= term for voter in voters)
        return is_majority(shown, len(voters))

    def _remember(self, frame: PeerFrame, now: int) -> None:
        if len(self._known) >= REMEMBERED_MAX:
            self._known = {node: it for node, it in self._known.items() if self.trusts(node)}
            self._shown.clear()
        self._known[frame.sender] = _Sender(frame.incarnation, now)
