"""Heartbeats: the leader's periodic contact, with its commit index, read round and lease."""

from protocol.membership import NodeId
from protocol.messages.peer import Heartbeat, HeartbeatReply
from protocol.messages.replicator import HeartbeatDue
from protocol.messages.storage import FetchSnapshot
from protocol.raft import levels
from protocol.raft.leader_lease import extend_leader_lease
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader, Role
from protocol.raft.state import RaftState

# --- the leader sends


def on_heartbeat_due(state: RaftState, leader: Leader, _: HeartbeatDue) -> None:
    """Send every follower a heartbeat, and repeat snapshot chunks without a reply."""
    send_to_all(state, leader)
    for peer, progress in leader.progress.items():
        if progress.is_chunk_overdue():
            state.outbox.storage.append(FetchSnapshot(peer, progress.position))


def send_to_all(state: RaftState, leader: Leader) -> None:
    """Send every follower a heartbeat."""
    for peer, progress in leader.progress.items():
        send(state, leader, peer, progress)


def send_to_majority(state: RaftState, leader: Leader) -> None:
    """Ask just enough voters to confirm the read round, those first that confirmed the last ones.

    If one of them is down, the next periodic heartbeats ask all the others.
    """
    voters = state.membership.voters
    others = [each for each in leader.progress.items() if each[0] in voters]
    others.sort(key=lambda each: each[1].confirmed_round, reverse=True)
    needed = len(voters) // 2 + (state.id not in voters)
    for peer, progress in others[:needed]:
        send(state, leader, peer, progress)


def send(state: RaftState, leader: Leader, peer: NodeId, progress: Progress) -> None:
    """Send a follower a heartbeat."""
    # A heartbeat does not check the log, so it commits only entries known to match.
    progress.commit_sent = min(state.commit_index, progress.match_index)
    beat = Heartbeat(state.term, leader.reads.round, progress.commit_sent, state.now)
    state.send(peer, beat)


# --- the follower replies


def on_heartbeat(state: RaftState, _: Role, leader: NodeId, message: Heartbeat) -> None:
    """Follow the leader, confirm its round and grant it a lease."""
    state.follow(leader)
    times = (message.round, message.stamp, state.election_timeout_min_us)
    reply = HeartbeatReply(state.term, *times, state.shortage, state.level)
    state.send_in_term(leader, reply)
    # A leader sends no index beyond the log that it knows; it was meant for a node that had this
    # address before, or forged, and says nothing of the entries here.
    is_own = message.commit_index <= state.log.last_index
    if is_own and not state.chunks_staging:  # else memberships could overwrite the snapshot's
        state.commit_to(message.commit_index)


# --- the leader takes the reply


def on_heartbeat_reply(
    state: RaftState, leader: Leader, peer: NodeId, message: HeartbeatReply
) -> None:
    """Record the confirmed round, the lease, and the follower's space and level."""
    progress = leader.progress.get(peer)
    if progress is None:
        return
    progress.checks_since_reply = 0
    progress.answered_at = max(progress.answered_at, message.stamp)
    progress.confirmed_round = max(progress.confirmed_round, message.round)
    progress.shortage = message.shortage
    if message.level != progress.level:
        levels.announced(state, leader, peer, message.level)
    extend_leader_lease(progress, message)
    leader.answered.add(peer)
    leader.heartbeat_answers.add(peer)
