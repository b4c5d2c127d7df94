"""Check-quorum: a leader steps down when no majority answers it (dissertation §6.2).

The check runs once in each maximum election timeout. A pending transfer, and the snapshots of
followers that were silent for too long, end with it.
"""

from protocol.membership import is_majority
from protocol.messages.replicator import QuorumCheckDue
from protocol.messages.storage import EndSnapshot
from protocol.raft.membership_changes import drop_silent_learner
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState


def on_quorum_check_due(state: RaftState, leader: Leader, _: QuorumCheckDue) -> None:
    """Step down where no majority has replied since the last check."""
    has_quorum = _has_quorum(state, leader)
    _count_check(state, leader)
    leader.end_transfer()  # the successor has had its time
    if has_quorum:
        drop_silent_learner(state, leader)
    else:
        state.become_follower()


def _has_quorum(state: RaftState, leader: Leader) -> bool:
    voters = state.membership.voters
    active = sum(
        each == state.id or (each in leader.progress and leader.progress[each].recently_active)
        for each in voters
    )
    return is_majority(active, len(voters))


def _count_check(state: RaftState, leader: Leader) -> None:
    """Count the check for every follower; release the snapshots of those silent for too long."""
    for peer, progress in leader.progress.items():
        if progress.is_silent_too_long():
            progress.end_snapshot()
            state.outbox.storage.append(EndSnapshot(peer))
        progress.checks_since_reply += 1
