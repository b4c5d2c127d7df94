"""Linearizable reads without a log entry: ReadIndex (dissertation §6.4), on any node.

A read is served at the commit index of a moment at which a majority confirmed the leader; a
follower asks its leader for that index. One round of heartbeats confirms all reads that arrived
before it began (``roles.ReadQueue``). A leader that holds a lease needs no round.

The leader's storage reads ahead for the leader's own gateway while a round is under way. This is
as good as reading after it: the read had arrived before, its value includes all entries committed
by then, and the round proves that the leader still led later. The gateway discards an unconfirmed
value. A read that begins a backup is not read ahead, because its snapshot is kept.
"""

from protocol.membership import NodeId, is_majority
from protocol.messages.gateway import ReadFailed, ReadsConfirmed
from protocol.messages.peer import ForwardRead, ReadIndex, ReadRefused
from protocol.messages.replicator import Read
from protocol.messages.storage import ReadAt
from protocol.raft import heartbeats
from protocol.raft.commit import send_commit
from protocol.raft.key_leases import keep_alive
from protocol.raft.leader_lease import holds_leader_lease
from protocol.raft.roles import Candidate, Follower, Leader, WaitingRead
from protocol.raft.state import RaftState

WAITING_READS_MAX = 10_000  # batches of reads that one node may have waiting for a leader

# --- of this node's gateway


def on_read(state: RaftState, leader: Leader, message: Read) -> None:
    """Queue reads for the next round."""
    _keep(state, message)
    how = (message.leader_lease, message.ahead, message.leases)
    leader.reads.add(WaitingRead(state.id, message.number, *how))


def on_read_elsewhere(state: RaftState, _: Follower | Candidate, message: Read) -> None:
    """Ask the leader for a read index, if there is a leader."""
    if state.leader is None:
        state.outbox.gateway.append(ReadFailed(message.number))
    else:
        _keep(state, message)
        forwarded = ForwardRead(message.number, message.leader_lease, message.leases)
        state.send(state.leader, forwarded)


def _keep(state: RaftState, message: Read) -> None:
    if len(state.reads) >= WAITING_READS_MAX:
        oldest = next(iter(state.reads))  # its request or its reply was most likely lost
        del state.reads[oldest]
        state.outbox.gateway.append(ReadFailed(oldest))
    state.reads[message.number] = message.payload


def on_read_index(state: RaftState, follower: Follower, sender: NodeId, message: ReadIndex) -> None:
    """Serve reads at the index that the leader has confirmed."""
    if sender == follower.leader:
        _serve(state, message.number, message.index)


def on_read_refused(state: RaftState, _: Follower, __: NodeId, message: ReadRefused) -> None:
    """Let the gateway repeat reads that the leader has not confirmed."""
    if state.reads.pop(message.number, None) is not None:
        state.outbox.gateway.append(ReadFailed(message.number))


# --- of other nodes


def on_forward_read(state: RaftState, leader: Leader, reader: NodeId, message: ForwardRead) -> None:
    """Queue a follower's reads for the next round."""
    if len(leader.reads.waiting) < WAITING_READS_MAX:
        how = (message.leader_lease, False, message.leases)
        leader.reads.add(WaitingRead(reader, message.number, *how))
    else:
        state.send(reader, ReadRefused(message.number))


def on_forward_read_elsewhere(
    state: RaftState, _: Follower | Candidate, reader: NodeId, message: ForwardRead
) -> None:
    """Refuse reads that a leader should have received."""
    state.send(reader, ReadRefused(message.number))


# --- the end of a leader's turn


def take_up(state: RaftState, leader: Leader) -> None:
    """Serve reads by a lease, and begin a round for the others."""
    if leader.reads.leased:
        _serve_leased(state, leader)
    if leader.reads.waiting:
        _begin_round(state, leader)


def _serve_leased(state: RaftState, leader: Leader) -> None:
    """Serve the reads for which a leader lease is enough; without one they wait for a round.

    All of them arrived before the last ``set_time``, whose time the lease is compared with.
    """
    leased = leader.reads.take_leased()
    if leased and holds_leader_lease(state, leader):
        for read in leased:
            _release(state, leader, read, state.commit_index)
    else:
        leader.reads.waiting.extend(leased)


def _begin_round(state: RaftState, leader: Leader) -> None:
    """Begin a round of heartbeats for the waiting reads, unless one is under way.

    A new leader knows which entries are committed only once one of its own term is (§6.4).
    """
    if state.commit_index < leader.first_index:
        return
    if not leader.reads.begin_round(state.commit_index, state.now):
        return
    if _is_confirmed(state, leader):  # this node is the only voter
        for read in leader.reads.take_confirmed():
            _release(state, leader, read, leader.reads.index)
    else:
        _read_ahead(state, leader)
        heartbeats.send_to_majority(state, leader)


def _read_ahead(state: RaftState, leader: Leader) -> None:
    """Let storage serve this gateway's reads, unconfirmed until the round ends."""
    for read in leader.reads.confirming:
        if read.ahead and (payload := state.reads.get(read.number)) is not None:
            ahead = ReadAt(read.number, leader.reads.index, payload, confirmed=False)
            state.outbox.storage.append(ahead)


def confirm_round(state: RaftState, leader: Leader) -> None:
    """Release the reads of the current round, if a majority has confirmed it."""
    if not _is_confirmed(state, leader):
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
    if read.leases:  # such a read was confirmed by a round
        index = max(index, keep_alive(state, leader, read.leases, leader.reads.began_at))
    if read.reader == state.id:
        _serve(state, read.number, index)
    else:
        send_commit(state, leader, read.reader)  # otherwise it may not apply up to there
        state.send(read.reader, ReadIndex(read.number, index))


def _serve(state: RaftState, number: int, index: int) -> None:
    """Let storage serve reads once it has applied the log up to an index."""
    payload = state.reads.pop(number, None)
    if payload is not None:
        state.outbox.storage.append(ReadAt(number, index, payload, confirmed=True))
