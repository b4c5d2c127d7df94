"""Quorum: whether the voters that a leader hears would still be a majority after a removal.

Who answered a moment ago may have died since, perhaps by the hand that now removes another one. So
only answers count to heartbeats that were sent after the removal was first asked for.
"""

from protocol.membership import Membership, NodeId, is_majority
from protocol.raft.heartbeats import send_all
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.refusal import Refusal

ASKED_MICROSECONDS = 1_000_000  # after which a removal that was not tried again is a new one


def why_at_risk(state: RaftState, leader: Leader, node: NodeId) -> Refusal | None:
    """Return why a leader should not remove a node, or None if it may.

    It is ``BUSY``, so that the removal is tried again in a moment, as long as voters that are
    needed may yet answer; a quorum check tells when they may not.
    """
    voters = state.membership.without(node).voters
    since = _asked_since(state, leader, node)
    if is_majority(len(_heard(state, leader, voters, since)), len(voters)):
        return None
    _ask_anew(state, leader, since)
    may_answer = [each for each in voters if each == state.id or leader.progress[each].answers]
    return Refusal.BUSY if is_majority(len(may_answer), len(voters)) else Refusal.QUORUM_AT_RISK


def why_in_place(state: RaftState, leader: Leader, node: NodeId) -> Refusal | None:
    """Return why another node should not take a member's place, or None if the member is gone.

    It is ``BUSY`` as long as the member may yet answer, and ``INVALID`` once it has.
    """
    if node == state.id:
        return Refusal.INVALID
    progress, since = leader.progress[node], _asked_since(state, leader, node)
    if _answers(progress, since):
        return Refusal.INVALID
    _ask_anew(state, leader, since)
    return Refusal.BUSY if progress.answers else None


def describe(state: RaftState, leader: Leader, after: Membership) -> str:
    """Return how many voters a majority would need after a change, and how many answer."""
    voters = after.voters
    needed, answering = len(voters) // 2 + 1, len(_heard(state, leader, voters, 1))
    answer = "answers" if answering == 1 else "answer"
    return f"{needed} of {len(voters)} voters would be needed then, and {answering} {answer}"


def _asked_since(state: RaftState, leader: Leader, node: NodeId) -> int:
    """Return when a removal was asked for first, of late."""
    asked, oldest = leader.removals_asked, state.now - ASKED_MICROSECONDS
    if node not in asked or asked[node] < oldest:
        leader.removals_asked = {each: at for each, at in asked.items() if at >= oldest}
        leader.removals_asked[node] = state.now
    return leader.removals_asked[node]


def _ask_anew(state: RaftState, leader: Leader, since: int) -> None:
    """Send heartbeats right after a removal was asked for: only their answers count."""
    if since == state.now:
        send_all(state, leader)


def _heard(state: RaftState, leader: Leader, voters: frozenset[NodeId], since: int) -> list[NodeId]:
    """Return the voters that have answered since then and still do, and this node.

    A removal may have waited for another change after they had answered.
    """
    return [each for each in voters if each == state.id or _answers(leader.progress[each], since)]


def _answers(progress: Progress, since: int) -> bool:
    return progress.answers and 0 < progress.answered_at >= since
