"""Keeping the followers' logs equal to the leader's, and knowing what is committed (§5.3, §5.4)."""

from protocol.entry import Entry, EntryKind, payload_bytes
from protocol.gateway.validation import InvalidOperation
from protocol.membership import Member, MembershipAt, NodeId, majority_index
from protocol.node_messages import (
    EndSnapshot,
    FetchLog,
    LogSlice,
    Propose,
    Refused,
)
from protocol.peer_messages import (
    AppendEntries,
    AppendEntriesReply,
    ForwardProposal,
    Heartbeat,
    HeartbeatReply,
    ProposalRefused,
    Removed,
    TimeoutNow,
)
from protocol.raft.heartbeats import tell_commit
from protocol.raft.leases import extend_lease
from protocol.raft.progress import Progress
from protocol.raft.reading import confirm_round
from protocol.raft.roles import Leader
from protocol.raft.space import is_spared, refusal_of_growth
from protocol.raft.state import RaftState
from protocol.refusal import Refusal

APPEND_BYTES_MAX = 1 << 20  # one message; a larger entry travels alone
UNCOMMITTED_BYTES_MAX = 32 << 20  # beyond this, proposals are refused until some are committed

# --- the leader takes proposals


def on_propose(state: RaftState, _: NodeId, message: Propose) -> None:
    """Append a batch of this node's own gateway, or pass it to the leader."""
    refusal = _append_proposal(state, message)
    if refusal is Refusal.NOT_LEADER and state.other_leader is not None:
        forwarded = ForwardProposal(message.number, message.payload, message.grows)
        state.send(state.other_leader, forwarded)
    elif refusal is not None:
        state.outbox.gateway.append(Refused(message.number, refusal))


def on_forward_proposal(state: RaftState, proposer: NodeId, message: ForwardProposal) -> None:
    """Append a batch of another node's gateway, as far as it is one."""
    refusal = _why_not_propose(state, grows=message.grows)
    if refusal is None:
        refusal = _append_forwarded(state, proposer, message.payload)
    if refusal is not None:
        state.send(proposer, ProposalRefused(message.number, refusal))
    elif isinstance(state.role, Leader):
        state.role.proposers[proposer] = state.log.last_index


def on_proposal_refused(state: RaftState, _: NodeId, message: ProposalRefused) -> None:
    """Tell the gateway that the leader did not take its batch."""
    state.outbox.gateway.append(Refused(message.number, message.refusal, message.detail))


def _append_proposal(state: RaftState, message: Propose) -> Refusal | None:
    refusal = _why_not_propose(state, grows=message.grows)
    if refusal is None:
        append(state, EntryKind.BATCH, message.payload)
    return refusal


def _append_forwarded(state: RaftState, proposer: NodeId, payload: bytes) -> Refusal | None:
    try:
        append(state, EntryKind.BATCH, state.check_proposal(payload, proposer))
    except InvalidOperation as error:
        state.complain(proposer, "proposal", f"refused its proposal, which is invalid: {error}")
        return Refusal.INVALID
    return None


def _why_not_propose(state: RaftState, *, grows: bool) -> Refusal | None:
    leader = state.role
    if not isinstance(leader, Leader) or leader.transfer_to is not None:
        return Refusal.NOT_LEADER
    if leader.uncommitted_bytes > UNCOMMITTED_BYTES_MAX:
        return Refusal.OVERLOADED
    return refusal_of_growth(state, leader) if grows else None


def append(state: RaftState, kind: EntryKind, payload: bytes = b"") -> None:
    """Append an entry of the leader's own term."""
    assert isinstance(state.role, Leader)
    state.role.uncommitted_bytes += len(payload)
    state.take_entries([Entry(state.log.last_index + 1, state.term, kind, payload)])


def append_no_op(state: RaftState) -> None:
    """Begin the leader's term with an entry that commits what earlier terms left (§8)."""
    append(state, EntryKind.NO_OP)


# --- the leader sends


def follow_members(state: RaftState) -> None:
    """Track every other member, a removed one until its removal is committed."""
    leader = state.role
    assert isinstance(leader, Leader)
    members = {member.id for member in state.membership.members}
    members |= {member.id for member in state.memberships.committed.membership.members}
    for node in sorted(members - {state.id} - leader.progress.keys()):
        leader.progress[node] = Progress(next_index=state.log.last_index + 1)
    for node in sorted(leader.progress.keys() - members):
        if leader.progress.pop(node).holding:
            state.outbox.storage.append(EndSnapshot(node))


def replicate(state: RaftState, leader: Leader) -> None:
    """Send every follower what it lacks and its window allows, once a turn."""
    built: dict[int, AppendEntries] = {}
    last_index = state.log.last_index
    for peer, progress in leader.progress.items():
        if progress.shortage and is_spared(state, leader, progress):
            continue
        while (progress.probing or progress.next_index <= last_index) and progress.may_send():
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
    progress.commit_told = state.commit_index


def _build(state: RaftState, first: int) -> AppendEntries | None:
    """Return the message that begins at an entry, or None if only the disk still has it."""
    prev_term = state.log.term_at(first - 1)
    if prev_term is None:
        return None
    entries = state.log.slice(first, APPEND_BYTES_MAX)
    return AppendEntries(state.term, first - 1, prev_term, entries, state.commit_index)


def on_log_slice(state: RaftState, _: NodeId, message: LogSlice) -> None:
    """Send a follower far behind what was read from disk for it."""
    progress = _progress_of(state, message.peer)
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


# --- the follower receives


def on_append_entries(state: RaftState, leader: NodeId, message: AppendEntries) -> None:
    """Take the entries if the log agrees up to them, or say where it could agree (§5.3)."""
    state.hear_leader(leader)
    if state.chunks_staging or state.durability.stalled:
        return  # the log may be about to begin anew, or nobody writes it; the leader asks again
    if not state.log.matches(message.prev_index, message.prev_term):
        hint = state.log.find_agreement(message.prev_index, message.prev_term)
        state.say(leader, AppendEntriesReply(state.term, False, message.prev_index, *hint))
        return
    new = state.log.new_among(message.entries)
    if new:
        state.take_entries(new)
    last = message.prev_index + len(message.entries)
    state.durability.promise(leader, AppendEntriesReply(state.term, True, last))
    # Beyond the last entry of the message, the log may still differ from the leader's.
    state.commit_to(min(message.commit_index, last))


def on_heartbeat(state: RaftState, leader: NodeId, message: Heartbeat) -> None:
    """Confirm that this node follows the leader."""
    state.hear_leader(leader)
    times = (message.round, message.stamp, state.election_timeout_min_us)
    state.say(leader, HeartbeatReply(state.term, *times, state.shortage))
    if not state.chunks_staging:  # else memberships could be stored over those of the snapshot
        state.commit_to(min(message.commit_index, state.log.last_index))


# --- the leader hears back


def on_append_entries_reply(state: RaftState, peer: NodeId, message: AppendEntriesReply) -> None:
    """Note what the follower holds; commit what a majority holds by now."""
    progress = _progress_of(state, peer)
    leader = state.role
    if progress is None or not isinstance(leader, Leader):
        return
    progress.active = True
    if not message.accepted:
        agreement, _ = state.log.find_agreement(message.hint_index, message.hint_term)
        progress.refused(message.index, min(agreement, message.hint_index))
    elif progress.accepted(message.index):
        _release_snapshot(state, peer, progress)
        advance_commit(state, leader)
        hand_over(state, leader)


def _release_snapshot(state: RaftState, peer: NodeId, progress: Progress) -> None:
    """Let storage drop the log again, once it is not needed to bring this follower up."""
    if progress.holding and state.log.term_at(progress.match_index) is not None:
        progress.holding = False
        state.outbox.storage.append(EndSnapshot(peer))


def on_heartbeat_reply(state: RaftState, peer: NodeId, message: HeartbeatReply) -> None:
    """Count the confirmation, and resume what a lost message may have stopped."""
    progress = _progress_of(state, peer)
    leader = state.role
    if progress is None or not isinstance(leader, Leader):
        return
    progress.active = True
    progress.answered_at = max(progress.answered_at, message.stamp)
    progress.confirmed_round = max(progress.confirmed_round, message.round)
    progress.shortage = message.shortage
    extend_lease(progress, message)
    confirm_round(state, leader)
    _resume(state, peer, progress)


def _resume(state: RaftState, peer: NodeId, progress: Progress) -> None:
    """Provoke an answer from a follower that has not yet answered for everything sent."""
    if progress.installing:
        return
    if progress.probing:
        progress.paused = False
    elif progress.match_index < state.log.last_index and not progress.paused:
        if not progress.may_send():
            progress.in_flight.drop_oldest()
        prev_term = state.log.term_at(progress.next_index - 1)
        if prev_term is not None:
            probe = (progress.next_index - 1, prev_term, (), state.commit_index)
            state.send(peer, AppendEntries(state.term, *probe))


def advance_commit(state: RaftState, leader: Leader) -> None:
    """Commit up to the highest entry of this term that a majority of disks holds (§5.4.2)."""
    held = [_held_by(state, leader, voter) for voter in state.membership.voters]
    index = majority_index(held)
    # Entries of earlier terms are committed only by one of this term after them (figure 8).
    if index <= state.commit_index or state.log.term_at(index) != state.term:
        return
    before = state.commit_index
    membership = state.commit_to(index)
    leader.uncommitted_bytes -= state.log.payload_bytes(before + 1, index)
    _tell_proposers(state, leader, before)
    if membership is not None:
        _membership_committed(state, leader, membership)


def _held_by(state: RaftState, leader: Leader, voter: NodeId) -> int:
    if voter == state.id:
        return leader.durable_index
    return leader.progress[voter].match_index


def _tell_proposers(state: RaftState, leader: Leader, committed_before: int) -> None:
    """Tell followers at once whose own clients wait for what is committed now."""
    for proposer, index in list(leader.proposers.items()):
        if index > committed_before:
            tell_commit(state, leader, proposer)
        if index <= state.commit_index:
            del leader.proposers[proposer]


def _membership_committed(state: RaftState, leader: Leader, committed: MembershipAt) -> None:
    """Let removed members know, and stop leading if this node is one of them (§4.2.2)."""
    for node in leader.progress:
        if committed.membership.get(node) is None:
            state.send(node, Removed(committed.index, node))
    if committed.membership.get(state.id) is None:
        for node in leader.progress:
            tell_commit(state, leader, node)
        state.become_follower()
    else:
        follow_members(state)


def hand_over(state: RaftState, leader: Leader) -> None:
    """Let the chosen successor campaign, once it holds the whole log (dissertation §3.10)."""
    if leader.transfer_to is None:
        return
    progress = leader.progress.get(leader.transfer_to)
    if progress is not None and progress.match_index == state.log.last_index:
        leader.timeout_now_sent = True
        state.send(leader.transfer_to, TimeoutNow(state.term))


def _progress_of(state: RaftState, peer: NodeId) -> Progress | None:
    return state.role.progress.get(peer) if isinstance(state.role, Leader) else None


def is_caught_up(state: RaftState, member: Member, lag_entries_max: int) -> bool:
    """Whether a member holds the log up to a few entries before its end."""
    progress = _progress_of(state, member.id)
    return (
        progress is not None
        and progress.match_index >= state.commit_index - lag_entries_max
        and progress.match_index > 0
    )
