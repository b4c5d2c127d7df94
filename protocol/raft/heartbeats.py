"""Heartbeats: the leader's sign of life, its commit index, and the round that they confirm."""

from protocol.membership import NodeId
from protocol.messages.peer import Heartbeat
from protocol.messages.replicator import CommitNoticeDue, HeartbeatDue
from protocol.messages.storage import FetchSnapshot
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState


def on_heartbeat_due(state: RaftState, _: NodeId, __: HeartbeatDue) -> None:
    """Tell every follower that the leader lives, in the round that confirms reads."""
    if isinstance(state.role, Leader):
        send_all(state, state.role)
        for peer, progress in state.role.progress.items():
            if progress.is_chunk_overdue():
                state.outbox.storage.append(FetchSnapshot(peer, progress.position))


def send_all(state: RaftState, leader: Leader) -> None:
    """Send every follower a heartbeat."""
    for peer, progress in leader.progress.items():
        _send(state, leader, peer, progress)


def on_commit_notice_due(state: RaftState, _: NodeId, __: CommitNoticeDue) -> None:
    """Tell the commit index to followers to which no entries have carried it."""
    if isinstance(state.role, Leader):
        for peer in state.role.progress:
            tell_commit(state, state.role, peer)


def owes_commit_notice(state: RaftState) -> bool:
    """Whether some follower could be told of a higher commit index than it was."""
    if not isinstance(state.role, Leader):
        return False
    for progress in state.role.progress.values():
        if progress.commit_told < min(state.commit_index, progress.match_index):
            return True
    return False


def tell_commit(state: RaftState, leader: Leader, peer: NodeId) -> None:
    """Tell a follower what is committed, if it has not been told."""
    progress = leader.progress.get(peer)
    if progress is not None and progress.commit_told < min(
        state.commit_index, progress.match_index
    ):
        _send(state, leader, peer, progress)


def ask_enough(state: RaftState, leader: Leader) -> None:
    """Ask just a majority to confirm this round: those first who confirmed the latest ones.

    Should one of them be gone, the next heartbeats, which everybody gets, ask for the rest.
    """
    voters = state.membership.voters
    others = [each for each in leader.progress.items() if each[0] in voters]
    others.sort(key=lambda each: each[1].confirmed_round, reverse=True)
    needed = len(voters) // 2 + (state.id not in voters)
    for peer, progress in others[:needed]:
        _send(state, leader, peer, progress)


def _send(state: RaftState, leader: Leader, peer: NodeId, progress: Progress) -> None:
    # A heartbeat does not check the log, so it may only commit what is known to match.
    progress.commit_told = min(state.commit_index, progress.match_index)
    beat = Heartbeat(state.term, leader.reads.round, progress.commit_told, state.now)
    state.send(peer, beat)
