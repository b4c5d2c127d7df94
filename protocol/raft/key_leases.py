"""Key leases: the leader ends the leases on keys that no client has kept alive.

The leader alone measures time. It proposes an entry that ends the leases which have expired by its
own clock, and that entry ends them on every node. A lease lasts, by that clock, for its TTL and a
third of it, so that its holder may count the whole TTL by a clock that is as much slower as leader
leases allow (``clock_rates``). The holder counts from the moment before it sent its request.

A keep-alive is no entry. It is confirmed as a read is: by a round of heartbeats that began after it
arrived, from whose beginning the lease lasts anew. No lease ends early by it:

- A new leader starts every lease anew after its election, thus after all rounds that a majority
  confirmed for earlier leaders.
- The read waits for an entry that ends the lease, so that storage answers that it is gone: for what
  is committed when the round is confirmed, and for what this leader has proposed. Entries of
  earlier leaders come before the first one of its own term, which every read waits for.
"""

from collections.abc import Iterable

from protocol.encoding import encode
from protocol.entry import EntryKind
from protocol.messages.replicator import LeasesApplied
from protocol.raft.proposals import why_not_append
from protocol.raft.replication import append
from protocol.raft.roles import Candidate, Follower, Leader
from protocol.raft.state import RaftState
from protocol.state.commands import Batch, ExpireLeases, Write
from protocol.state.limits import LEASES_NAMED_MAX


def on_leases_applied_elsewhere(
    state: RaftState, _: Follower | Candidate, message: LeasesApplied
) -> None:
    """Note which leases there are: this node may lead one day."""
    state.key_leases.update(message.granted)
    for lease in message.ended:
        state.key_leases.pop(lease, None)


def on_leases_applied(state: RaftState, leader: Leader, message: LeasesApplied) -> None:
    """Start the clock of the leases that were granted, and stop that of those which have ended."""
    state.key_leases.update(message.granted)
    for lease, _ in message.granted:
        leader.key_leases.add(lease)
    _drop(state, leader, message.ended)
    leader.key_leases.put_back(message.index)


def replace_all(state: RaftState, leases: Iterable[tuple[int, int]]) -> None:
    """Take the leases of a snapshot, which has become the state."""
    before, state.key_leases = state.key_leases, dict(leases)
    if isinstance(state.role, Leader):
        for lease in before.keys() - state.key_leases.keys():
            state.role.key_leases.drop(lease)
        for lease in state.key_leases.keys() - before.keys():
            state.role.key_leases.add(lease)


def _drop(state: RaftState, leader: Leader, leases: Iterable[int]) -> None:
    for lease in leases:
        state.key_leases.pop(lease, None)
        leader.key_leases.drop(lease)


def keep_alive(state: RaftState, leader: Leader, leases: Iterable[int], since: int) -> int:
    """Extend leases from the beginning of a confirmed round on.

    Returns the index of an entry from which on the state shows which of them this leader has ended.
    """
    index = state.commit_index
    for lease in leases:
        ttl_ms = state.key_leases.get(lease)
        if ttl_ms is not None:
            leader.key_leases.extend(lease, ttl_ms, since)
            index = max(index, leader.key_leases.ended_by(lease))
    return index


def expire(state: RaftState, leader: Leader) -> None:
    """Start the clock of new leases, and propose to end those that have expired."""
    clock = leader.key_leases
    clock.start_fresh(state.key_leases, state.now)
    if not clock.is_due(state.now) or why_not_append(state, leader, grows=False) is not None:
        return
    due = clock.take_due(state.now, LEASES_NAMED_MAX)
    if due:
        end = Write(0, 0, 0, ExpireLeases(tuple(due)))
        batch = Batch(state.id, state.incarnation, 0, (end,))
        append(state, leader, EntryKind.BATCH, encode(batch))
        clock.begin_end(due, state.log.last_index)
