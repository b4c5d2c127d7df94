"""Disk space: a leader refuses growth that a majority of the voters has no room for.

A leader whose own disk is short hands over to a voter with room (``transfer.py``). A follower
whose disk is critically short receives no entries while the others are a majority without it. Once
a majority lacks space, all followers receive entries again: the rest of the reserve is for the
deletes that make room.
"""

from protocol.membership import Member, is_majority
from protocol.raft.progress import SUCCESSOR_LAG_MAX, Progress
from protocol.raft.roles import Leader, Role
from protocol.raft.state import RaftState
from protocol.refusal import Refusal
from protocol.space import Shortage, SpaceChanged


def on_space_changed(state: RaftState, _: Role, message: SpaceChanged) -> None:
    """Record this node's shortage; a leader may hand over at the end of the turn."""
    state.shortage = message.shortage


def refusal_of_growth(state: RaftState, leader: Leader) -> Refusal | None:
    """Return why the leader may not append a command that lets the state grow, or None."""
    if state.shortage.is_of_disk and roomier_voters(state, leader):
        return Refusal.NOT_LEADER  # one of them will lead soon
    if state.shortage is not Shortage.NONE or not _majority_is_below(state, leader, Shortage.LOW):
        return Refusal.STORAGE_FULL
    return None


def roomier_voters(state: RaftState, leader: Leader) -> list[Member]:
    """Return the voters that have reported space and could lead at once."""
    return [
        each
        for each in state.membership.members
        if each.voter
        and each.id in leader.progress
        and _could_lead(state, leader.progress[each.id])
    ]


def _could_lead(state: RaftState, progress: Progress) -> bool:
    # If unreported space counted as room, leadership could move to and fro for ever.
    has_room = progress.shortage is not None and not progress.shortage.is_of_disk
    lag = state.commit_index - progress.match_index
    return has_room and progress.answers and progress.match_index > 0 and lag <= SUCCESSOR_LAG_MAX


def is_spared(state: RaftState, leader: Leader, progress: Progress) -> bool:
    """Whether to send a follower no entries: its disk is nearly full, a majority's is not."""
    return progress.shortage is Shortage.CRITICAL and _majority_is_below(
        state, leader, Shortage.CRITICAL
    )


def _majority_is_below(state: RaftState, leader: Leader, shortage: Shortage) -> bool:
    """Whether the voters with a lesser shortage, or an unreported one, are a majority."""
    voters = state.membership.voters
    known = [
        state.shortage if voter == state.id else leader.progress[voter].shortage for voter in voters
    ]
    return is_majority(sum(each is None or each < shortage for each in known), len(voters))
