"""Quorum guard: whether the voters that a removal leaves would still answer as a majority.

A voter that answered a moment ago may have failed since, perhaps by the same hand that now removes
another one. Only replies to heartbeats sent after the removal was first requested count.
"""

from protocol.membership import Membership, NodeId, is_majority
from protocol.raft import heartbeats
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.refusal import Refusal

REQUEST_MICROSECONDS = 1_000_000  # after which a removal that was not repeated is a new request


def why_at_risk(state: RaftState, leader: Leader, node: NodeId) -> Refusal | None:
    """Return why a leader should not remove a node, or None if it may.

    ``BUSY`` asks to repeat the request while voters that are needed may still answer; a quorum
    check decides when they will not.
    """
    voters = state.membership.without(node).voters
    since = _requested_at(state, leader, node)
    if is_majority(len(_answering(state, leader, voters, since)), len(voters)):
        return None
    _ask_on_first_request(state, leader, since)
    may_answer = [each for each in voters if each == state.id or leader.progress[each].answers]
    return Refusal.BUSY if is_majority(len(may_answer), len(voters)) else Refusal.QUORUM_AT_RISK


def why_in_place(state: RaftState, leader: Leader, node: NodeId) -> Refusal | None:
    """Return why no other node may take a member's place, or None if the member is gone.

    ``BUSY`` as long as the member may still answer, and ``INVALID`` once it has.
    """
    if node == state.id:
        return Refusal.INVALID
    progress, since = leader.progress[node], _requested_at(state, leader, node)
    if _has_answered(progress, since):
        return Refusal.INVALID
    _ask_on_first_request(state, leader, since)
    return Refusal.BUSY if progress.answers else None


def describe(state: RaftState, leader: Leader, after: Membership) -> str:
    """Return the majority that a membership would need, and how many of its voters answer."""
    voters = after.voters
    needed, answering = len(voters) // 2 + 1, len(_answering(state, leader, voters, 1))
    answer = "answers" if answering == 1 else "answer"
    return f"a majority would then be {needed} of {len(voters)} voters, and {answering} {answer}"


def _requested_at(state: RaftState, leader: Leader, node: NodeId) -> int:
    """Return when a removal was first requested, not counting requests long ago."""
    asked, oldest = leader.removals_asked, state.now - REQUEST_MICROSECONDS
    if node not in asked or asked[node] < oldest:
        leader.removals_asked = {each: at for each, at in asked.items() if at >= oldest}
        leader.removals_asked[node] = state.now
    return leader.removals_asked[node]


def _ask_on_first_request(state: RaftState, leader: Leader, since: int) -> None:
    """Send heartbeats right after a removal was first requested: only replies to these count."""
    if since == state.now:
        heartbeats.send_to_all(state, leader)


def _answering(
    state: RaftState, leader: Leader, voters: frozenset[NodeId], since: int
) -> list[NodeId]:
    """Return this node and the voters that have answered since then, and still do.

    A removal may have waited for another change after they had answered.
    """
    return [
        each for each in voters if each == state.id or _has_answered(leader.progress[each], since)
    ]


def _has_answered(progress: Progress, since: int) -> bool:
    return progress.answers and 0 < progress.answered_at >= since
