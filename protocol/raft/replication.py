"""Log replication: the leader makes every follower's log equal to its own (Raft §5.3)."""

from protocol.entry import EntryKind, LogEntry, payload_bytes
from protocol.membership import NodeId
from protocol.messages.peer import AppendEntries, AppendEntriesReply
from protocol.messages.replicator import LogSlice
from protocol.messages.storage import EndSnapshot, FetchLog
from protocol.raft.progress import Progress, ProgressState
from protocol.raft.roles import Leader, Role
from protocol.raft.space import is_spared
from protocol.raft.state import RaftState

APPEND_BYTES_MAX = 1 << 20  # of one message; a larger entry travels alone

# --- the leader appends


def append(state: RaftState, leader: Leader, kind: EntryKind, payload: bytes = b"") -> None:
    """Append an entry of the leader's own term."""
    leader.uncommitted_bytes += len(payload)
    state.append_entries([LogEntry(state.log.last_index + 1, state.term, kind, payload)])


def begin_term(state: RaftState, leader: Leader) -> None:
    """Track all followers, and append the no-op that commits entries of earlier terms (§8)."""
    track_followers(state, leader)
    append(state, leader, EntryKind.NO_OP)


def track_followers(state: RaftState, leader: Leader) -> None:
    """Track every other member, a removed one until its removal is committed."""
    members = {member.id for member in state.membership.members}
    members |= {member.id for member in state.memberships.committed.membership.members}
    for node in sorted(members - {state.id} - leader.progress.keys()):
        leader.progress[node] = Progress(next_index=state.log.last_index + 1)
    for node in sorted(leader.progress.keys() - members):
        if leader.progress.pop(node).holding:
            state.outbox.storage.append(EndSnapshot(node))


# --- the leader sends


def replicate(state: RaftState, leader: Leader) -> None:
    """Send every follower the entries that it lacks, as far as its window allows."""
    built: dict[int, AppendEntries] = {}
    last_index = state.log.last_index
    for peer, progress in leader.progress.items():
        if progress.shortage and is_spared(state, leader, progress):
            continue
        while (
            progress.next_index <= last_index or progress.state is ProgressState.PROBE
        ) and progress.may_send():
            _send_entries(state, peer, progress, built)


def _send_entries(
    state: RaftState, peer: NodeId, progress: Progress, built: dict[int, AppendEntries]
) -> None:
    first = progress.next_index
    message = built.get(first) or _build(state, first)
    if message is None:
        progress.paused = True
        fetch = FetchLog(peer, first, APPEND_BYTES_MAX, progress.match_index)
        state.outbox.storage.append(fetch)
        return
    built[first] = message
    state.send(peer, message)
    progress.sent(first - 1 + len(message.entries), payload_bytes(message.entries))
    progress.commit_sent = state.commit_index


def _build(state: RaftState, first: int) -> AppendEntries | None:
    """Return the message that begins at an entry, or None if only the disk still has the entry."""
    prev_term = state.log.term_at(first - 1)
    if prev_term is None:
        return None
    entries = state.log.slice(first, APPEND_BYTES_MAX)
    return AppendEntries(state.term, first - 1, prev_term, entries, state.commit_index)


def on_log_slice(state: RaftState, leader: Leader, message: LogSlice) -> None:
    """Send a follower that lags far behind the entries that storage has read for it."""
    progress = leader.progress.get(message.peer)
    if progress is None or progress.next_index != message.prev_index + 1:
        return
    progress.paused = False
    state.send(
        message.peer,
        AppendEntries(
            state.term, message.prev_index, message.prev_term, message.entries, state.commit_index
        ),
    )
    progress.sent(message.prev_index + len(message.entries), payload_bytes(message.entries))


def resume(state: RaftState, leader: Leader) -> None:
    """Resume replication to followers that have replied to a heartbeat: messages may be lost."""
    for peer in sorted(leader.heartbeat_answers & leader.progress.keys()):
        _resume(state, peer, leader.progress[peer])
    leader.heartbeat_answers.clear()


def _resume(state: RaftState, peer: NodeId, progress: Progress) -> None:
    """Provoke a reply from a follower that has not acknowledged all entries yet."""
    if progress.state is ProgressState.SNAPSHOT:
        return
    if progress.state is ProgressState.PROBE:
        progress.paused = False
    elif progress.match_index < state.log.last_index and not progress.paused:
        if not progress.may_send():
            progress.in_flight.drop_oldest()
        prev_term = state.log.term_at(progress.next_index - 1)
        if prev_term is not None:
            probe = (progress.next_index - 1, prev_term, (), state.commit_index)
            state.send(peer, AppendEntries(state.term, *probe))


# --- the follower appends


def on_append_entries(state: RaftState, _: Role, leader: NodeId, message: AppendEntries) -> None:
    """Append the entries if the log matches before them, or reply where it could match (§5.3)."""
    state.follow(leader)
    if state.chunks_staging or state.durability.stalled:
        return  # a snapshot may be about to replace the log, or it cannot be written
    if not state.log.matches(message.prev_index, message.prev_term):
        hint = state.log.find_agreement(message.prev_index, message.prev_term)
        refusal = AppendEntriesReply(state.term, False, message.prev_index, *hint)
        state.send_in_term(leader, refusal)
        return
    new = state.log.new_among(message.entries)
    if new:
        state.append_entries(new)
    last = message.prev_index + len(message.entries)
    state.durability.promise(leader, AppendEntriesReply(state.term, True, last))
    # Beyond the last entry of the message, the log may still conflict with the leader's.
    state.commit_to(min(message.commit_index, last))


# --- the leader takes the reply


def on_append_entries_reply(
    state: RaftState, leader: Leader, peer: NodeId, message: AppendEntriesReply
) -> None:
    """Record which entries the follower holds, or probe where its log could match."""
    progress = leader.progress.get(peer)
    if progress is None:
        return
    progress.checks_since_reply = 0
    leader.answered.add(peer)
    if not message.accepted:
        agreement, _ = state.log.find_agreement(message.hint_index, message.hint_term)
        progress.refused(message.index, min(agreement, message.hint_index))
    elif progress.accepted(message.index):
        leader.held_more = True
        _release_snapshot(state, peer, progress)


def _release_snapshot(state: RaftState, peer: NodeId, progress: Progress) -> None:
    """Let storage compact the log again, once memory can serve this follower."""
    if progress.holding and state.log.term_at(progress.match_index) is not None:
        progress.holding = False
        state.outbox.storage.append(EndSnapshot(peer))
