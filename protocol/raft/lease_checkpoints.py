"""Lease checkpoints: the leader records from time to time how much of a long lease is left.

A new leader lets a lease last for what was recorded last, else for its whole time. So each change
of leader delays the end of a silent lease by no more than the time since its last checkpoint.

A keep-alive gives the lease its whole time again. If the log may hold a checkpoint, the leader
proposes an entry that undoes it, and the read waits for that. Should the entry be lost, storage
answers with the time that is recorded: a later leader lets the lease last at least so long, from
its election on, which comes after the round that confirmed the keep-alive.
"""

from collections.abc import Iterator

from protocol.encoding import encode
from protocol.entry import EntryKind
from protocol.raft.lease_records import LeaseRecord
from protocol.raft.proposals import why_not_append
from protocol.raft.replication import append
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.state.commands import Batch, CheckpointLeases, Write
from protocol.state.limits import LEASES_NAMED_MAX

TTL_MS_MIN = 600_000  # of the leases that are recorded: shorter ones end soon enough
CHECKPOINT_MS = 300_000  # of the leader's clock between two checkpoints


def record(state: RaftState, leader: Leader) -> None:
    """Propose to record what is left to long leases, if that is due."""
    records = leader.lease_records
    if records.next_at is None:
        records.next_at = state.now + CHECKPOINT_MS * 1000
    if state.now >= records.next_at and not records.due:
        records.next_at = state.now + CHECKPOINT_MS * 1000
        records.due = [lease for lease, ttl in state.key_leases.items() if ttl >= TTL_MS_MIN]
    if records.due and _may_append(state, leader):
        due, records.due = records.due[:LEASES_NAMED_MAX], records.due[LEASES_NAMED_MAX:]
        _propose(state, leader, list(_left(state, leader, due)))


def restore(state: RaftState, leader: Leader, leases: tuple[int, ...]) -> int:
    """Propose that leases kept alive have their whole time again, where less was recorded.

    Returns the index of an entry from which on the state shows what this leader has proposed.
    """
    short = [(lease, 0) for lease in leases if _recorded_ms(state, leader, lease)]
    if short and _may_append(state, leader):
        _propose(state, leader, short)
    return leader.lease_records.last_index(leases)


def _left(state: RaftState, leader: Leader, leases: list[int]) -> Iterator[tuple[int, int]]:
    """Yield what is left to each of these leases, if that is notably less than recorded."""
    for lease in leases:
        ttl_ms = state.key_leases.get(lease)
        left_ms = leader.key_leases.left_ms(lease, state.now)
        if ttl_ms is not None and left_ms > 0:
            before = _recorded_ms(state, leader, lease) or ttl_ms
            if before - left_ms >= CHECKPOINT_MS // 2:
                yield lease, left_ms


def _recorded_ms(state: RaftState, leader: Leader, lease: int) -> int:
    """Return the milliseconds that the log records for a lease; 0 for its whole time."""
    proposed = leader.lease_records.proposed.get(lease)
    return state.leases_left.get(lease, 0) if proposed is None else proposed.left_ms


def _may_append(state: RaftState, leader: Leader) -> bool:
    return why_not_append(state, leader, grows=False) is None


def _propose(state: RaftState, leader: Leader, left: list[tuple[int, int]]) -> None:
    if not left:
        return
    write = Write(0, 0, 0, CheckpointLeases(tuple(left)))
    payload = encode(Batch(state.id, state.incarnation, 0, (write,)))
    append(state, leader, EntryKind.BATCH, payload)
    for lease, left_ms in left:
        leader.lease_records.proposed[lease] = LeaseRecord(state.log.last_index, left_ms)
