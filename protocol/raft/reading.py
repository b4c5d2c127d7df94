"""Serving linearizable reads on any node: from a gateway's question to a confirmed index (§6.4).

The leader's storage reads ahead for the leader's own gateway while the round is under way. That
is as good as reading after it: the read had arrived before, its value holds all that was committed
then, and the round says that the leader led at a moment after that. What is not confirmed in the
end, the gateway tells nobody. A read that begins a backup waits: what it begins with is kept.
"""

from protocol.membership import NodeId, is_majority
from protocol.messages.gateway import ReadFailed, ReadsConfirmed
from protocol.messages.peer import ForwardRead, ReadIndex, ReadRefused
from protocol.messages.replicator import Read
from protocol.messages.storage import ReadAt
from protocol.raft.heartbeats import tell_commit
from protocol.raft.leases import holds_lease
from protocol.raft.reads import WaitingRead
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState

WAITING_READS_MAX = 10_000  # batches of reads that one node may have waiting for a leader


def on_read(state: RaftState, _: NodeId, message: Read) -> None:
    """Take reads of this node's own gateway; a follower asks the leader for the index."""
    if state.leader is None:
        state.outbox.gateway.append(ReadFailed(message.number))
        return
    if len(state.reads) >= WAITING_READS_MAX:
        oldest = next(iter(state.reads))  # most likely its question or its answer was lost
        del state.reads[oldest]
        state.outbox.gateway.append(ReadFailed(oldest))
    state.reads[message.number] = message.payload
    if isinstance(state.role, Leader):
        read = WaitingRead(state.id, message.number, message.lease, message.ahead)
        state.role.reads.add(read)
    else:
        state.send(state.leader, ForwardRead(message.number, message.lease))


def on_forward_read(state: RaftState, reader: NodeId, message: ForwardRead) -> None:
    """Take a follower's question into the next round."""
    if isinstance(state.role, Leader) and len(state.role.reads.waiting) < WAITING_READS_MAX:
        state.role.reads.add(WaitingRead(reader, message.number, message.lease))
    else:
        state.send(reader, ReadRefused(message.number))


def on_read_index(state: RaftState, leader: NodeId, message: ReadIndex) -> None:
    """Let storage serve the read once it has applied what the leader had committed."""
    if leader != state.leader:
        return
    payload = state.reads.pop(message.number, None)
    if payload is not None:
        read = ReadAt(message.number, message.index, payload, confirmed=True)
        state.outbox.storage.append(read)


def on_read_refused(state: RaftState, _: NodeId, message: ReadRefused) -> None:
    """Let the gateway ask again."""
    if state.reads.pop(message.number, None) is not None:
        state.outbox.gateway.append(ReadFailed(message.number))


def serve_leased(state: RaftState, leader: Leader) -> None:
    """Release the reads that trust the clocks, if the lease holds; the others wait for a round.

    All of them arrived before the time was told that the lease is compared with.
    """
    leased = leader.reads.take_leased()
    if leased and holds_lease(state, leader):
        for read in leased:
            _release(state, leader, read, state.commit_index)
    else:
        leader.reads.waiting.extend(leased)


def begin_round(state: RaftState, leader: Leader) -> bool:
    """Begin a round for the reads that wait; return whether heartbeats must carry it.

    A new leader knows what is committed only after an entry of its own term is (§6.4).
    """
    if state.commit_index < leader.first_index:
        return False
    if not leader.reads.begin_round(state.commit_index):
        return False
    if _is_confirmed(state, leader):  # nobody else votes
        for read in leader.reads.take_confirmed():
            _release(state, leader, read, leader.reads.index)
        return False
    _read_ahead(state, leader)
    return True


def _read_ahead(state: RaftState, leader: Leader) -> None:
    """Let storage serve the own gateway's reads; until the round is confirmed, they may fail."""
    for read in leader.reads.confirming:
        if read.ahead and (payload := state.reads.get(read.number)) is not None:
            ahead = ReadAt(read.number, leader.reads.index, payload, confirmed=False)
            state.outbox.storage.append(ahead)


def confirm_round(state: RaftState, leader: Leader) -> None:
    """Release the reads of the present round, if a majority has confirmed it."""
    if not leader.reads.confirming or not _is_confirmed(state, leader):
        return
    confirmed: list[int] = []
    for read in leader.reads.take_confirmed():
        if not read.ahead:
            _release(state, leader, read, leader.reads.index)
        elif state.reads.pop(read.number, None) is not None:
            confirmed.append(read.number)
    if confirmed:
        state.outbox.gateway.append(ReadsConfirmed(tuple(confirmed)))


def _is_confirmed(state: RaftState, leader: Leader) -> bool:
    voters = state.membership.voters
    confirmed = sum(_has_confirmed(state, leader, voter) for voter in voters)
    return is_majority(confirmed, len(voters))


def _has_confirmed(state: RaftState, leader: Leader, voter: NodeId) -> bool:
    if voter == state.id:
        return True
    return leader.progress[voter].confirmed_round >= leader.reads.round


def _release(state: RaftState, leader: Leader, read: WaitingRead, index: int) -> None:
    answer = ReadIndex(read.number, index)
    if read.reader == state.id:
        on_read_index(state, state.id, answer)
    else:
        tell_commit(state, leader, read.reader)  # it may not apply up to there otherwise
        state.send(read.reader, answer)
