"""Quorum: whether the voters that a leader hears would still be a majority after a removal.

Who answered a moment ago may have died since, perhaps by the hand that now removes another one. So
only answers count to heartbeats that were sent after the removal was first asked for.
"""

from protocol.membership import Membership, NodeId, is_majority
from protocol.raft.heartbeats import send_all
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader, Probe
from protocol.raft.state import RaftState
from protocol.refusal import Refusal

PROBE_MICROSECONDS = 1_000_000  # after which answers to a former request count no more


def why_at_risk(state: RaftState, leader: Leader, node: NodeId) -> Refusal | None:
    """Return why a leader should not remove a node, or None if it may.

    It is ``BUSY``, so that the removal is tried again in a moment, as long as voters that are
    needed may yet answer; a quorum check tells when they may not.
    """
    voters = state.membership.without(node).voters
    probe = leader.probe
    is_new = probe is None or probe.node != node or state.now > probe.at + PROBE_MICROSECONDS
    if is_new:
        leader.probe = Probe(node, state.now)
    if is_majority(len(_heard(state, leader, voters)), len(voters)):
        return None
    if is_new:
        send_all(state, leader)
    may_answer = [each for each in voters if each == state.id or leader.progress[each].answers]
    return Refusal.BUSY if is_majority(len(may_answer), len(voters)) else Refusal.QUORUM_AT_RISK


def describe(state: RaftState, leader: Leader, after: Membership) -> str:
    """Return how many voters a majority would need after a change, and how many answer."""
    voters = after.voters
    needed, answering = len(voters) // 2 + 1, len(_heard(state, leader, voters))
    answer = "answers" if answering == 1 else "answer"
    return f"{needed} of {len(voters)} voters would be needed then, and {answering} {answer}"


def _heard(state: RaftState, leader: Leader, voters: frozenset[NodeId]) -> list[NodeId]:
    """Return the voters that have answered since the removal was asked for, and this node.

    The removal may have waited for another change since, so they must answer still.
    """
    since = leader.probe.at if leader.probe is not None else state.now
    return [each for each in voters if each == state.id or _answers(leader.progress[each], since)]


def _answers(progress: Progress, since: int) -> bool:
    return progress.answers and 0 < progress.answered_at >= since
