"""Commit index: how the leader advances it, and how followers learn of it (Raft §5.3, §5.4.2)."""

from protocol.membership import MembershipAt, NodeId, majority_index
from protocol.messages.peer import RemovalNotice
from protocol.messages.replicator import CommitNoticeDue, Persisted
from protocol.raft import heartbeats
from protocol.raft.progress import Progress
from protocol.raft.replication import track_followers
from protocol.raft.roles import Leader, Role
from protocol.raft.state import RaftState


def on_persisted(state: RaftState, _: Role, message: Persisted) -> None:
    """Send the messages that waited for this node's own write."""
    state.release(message)


def on_leader_persisted(state: RaftState, leader: Leader, message: Persisted) -> None:
    """Count the leader's own disk like any other."""
    end = state.release(message)
    # The write may be of entries that have been truncated since: it proves nothing then.
    if end is not None and state.log.matches(*end):
        leader.durable_index = max(leader.durable_index, end[0])
        leader.held_more = True


# --- the leader advances the commit index


def advance(state: RaftState, leader: Leader) -> None:
    """Commit up to the highest entry of this term that a majority of disks holds (§5.4.2)."""
    held = [_held_by(state, leader, voter) for voter in state.membership.voters]
    index = majority_index(held)
    # Entries of earlier terms commit only by one of this term after them (figure 8).
    if index <= state.commit_index or state.log.term_at(index) != state.term:
        return
    before = state.commit_index
    membership = state.commit_to(index)
    leader.uncommitted_bytes -= state.log.payload_bytes(before + 1, index)
    _notify_proposers(state, leader, before)
    if membership is not None:
        _membership_committed(state, leader, membership)


def _held_by(state: RaftState, leader: Leader, voter: NodeId) -> int:
    if voter == state.id:
        return leader.durable_index
    return leader.progress[voter].match_index


def _notify_proposers(state: RaftState, leader: Leader, committed_before: int) -> None:
    """Send the commit index at once to followers whose own clients wait for these entries."""
    for proposer, index in list(leader.proposers.items()):
        if index > committed_before:
            send_commit(state, leader, proposer)
        if index <= state.commit_index:
            del leader.proposers[proposer]


def _membership_committed(state: RaftState, leader: Leader, committed: MembershipAt) -> None:
    """Notify removed members, and step down if this node is one of them (dissertation §4.2.2)."""
    for node in leader.progress:
        if committed.membership.get(node) is None:
            state.send(node, RemovalNotice(committed.index, node))
    if committed.membership.get(state.id) is None:
        for node in leader.progress:
            send_commit(state, leader, node)
        state.become_follower()
    else:
        track_followers(state, leader)


# --- followers learn of it


def on_commit_notice_due(state: RaftState, leader: Leader, _: CommitNoticeDue) -> None:
    """Send the commit index to followers that received it with no entries."""
    for peer in leader.progress:
        send_commit(state, leader, peer)


def owes_notice(state: RaftState) -> bool:
    """Whether some follower is to be sent a newer commit index."""
    if not isinstance(state.role, Leader):
        return False
    return any(_lacks_commit(state, progress) for progress in state.role.progress.values())


def _lacks_commit(state: RaftState, progress: Progress) -> bool:
    """Whether a follower could commit more entries than its last commit index covers."""
    return progress.commit_sent < min(state.commit_index, progress.match_index)


def send_commit(state: RaftState, leader: Leader, peer: NodeId) -> None:
    """Send a follower the commit index by a heartbeat, unless it was sent already."""
    progress = leader.progress.get(peer)
    if progress is not None and _lacks_commit(state, progress):
        heartbeats.send(state, leader, peer, progress)
