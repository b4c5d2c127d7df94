"""Space in Raft: a leader refuses what grows the state where a majority has no room for it.

A leader whose own disk is short hands over to a voter with room (``relocation.py``). A follower
whose disk is critically short is sent no entries while a majority does without it. Where a
majority lacks space, all go on receiving: what is left takes removals, which make room.
"""

from protocol.membership import Member, is_majority
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.refusal import Refusal
from protocol.space import Shortage

RELOCATION_LAG_MAX = 100  # entries that a successor may lack: writes wait until it has them


def refusal_of_growth(state: RaftState, leader: Leader) -> Refusal | None:
    """Return why the leader appends nothing that grows the state, if it does not."""
    if state.shortage.is_of_disk and roomier_voters(state, leader):
        return Refusal.NOT_LEADER  # one of them will lead soon
    if state.shortage is not Shortage.NONE or not _majority_is_below(state, leader, Shortage.LOW):
        return Refusal.STORAGE_FULL
    return None


def roomier_voters(state: RaftState, leader: Leader) -> list[Member]:
    """Return the voters that are known to have space, and could lead at once."""
    return [
        each
        for each in state.membership.members
        if each.voter
        and each.id in leader.progress
        and _could_lead(state, leader.progress[each.id])
    ]


def _could_lead(state: RaftState, progress: Progress) -> bool:
    # A leader that presumed space where it has heard of none could move to and fro for ever.
    has_room = progress.shortage is not None and not progress.shortage.is_of_disk
    lag = state.commit_index - progress.match_index
    return has_room and progress.answers and progress.match_index > 0 and lag <= RELOCATION_LAG_MAX


def is_spared(state: RaftState, leader: Leader, progress: Progress) -> bool:
    """Whether a follower is to be sent no entries: its disk has none to spare, others have."""
    return progress.shortage is Shortage.CRITICAL and _majority_is_below(
        state, leader, Shortage.CRITICAL
    )


def _majority_is_below(state: RaftState, leader: Leader, shortage: Shortage) -> bool:
    """Whether the voters that lack less than this are a majority."""
    voters = state.membership.voters
    known = [
        state.shortage if voter == state.id else leader.progress[voter].shortage for voter in voters
    ]
    return is_majority(sum(each is None or each < shortage for each in known), len(voters))
