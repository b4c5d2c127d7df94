"""Key leases: the leader ends the leases on keys that no client has kept alive.

The leader alone measures time. It proposes an entry that ends the leases which have expired by its
own clock, and that entry ends them on every node. A lease lasts, by that clock, for its TTL and a
third of it, so that its holder may count the whole TTL by a clock that is as much slower as leader
leases allow (``clock_rates``). The holder counts from the moment before it sent its request.

A keep-alive is no entry. It is confirmed as a read is: by a round of heartbeats that began after it
arrived, from whose beginning the lease lasts anew. No lease ends early by it:

- A new leader starts every lease anew after its election, thus after all rounds that a majority
  confirmed for earlier leaders, or with the rest that they have recorded (``lease_checkpoints``).
- The read waits for an entry that ends the lease, so that storage answers that it is gone: for what
  is committed when the round is confirmed, and for what this leader has proposed. Entries of
  earlier leaders come before the first one of its own term, which every read waits for.
"""

from collections.abc import Iterable

from protocol.encoding import encode
from protocol.entry import EntryKind
from protocol.messages.replicator import LeasesApplied
from protocol.raft.lease_checkpoints import record, restore
from protocol.raft.lease_records import by_lease
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
    _note(state, message)


def on_leases_applied(state: RaftState, leader: Leader, message: LeasesApplied) -> None:
    """Start the clock of the leases that were granted, and stop that of those which have ended."""
    _note(state, message)
    for lease, _ in message.granted:
        leader.key_leases.add(lease)
    for lease in message.ended:
        leader.key_leases.drop(lease)
        leader.lease_records.drop(lease)
    for lease, left_ms in message.left:
        if not left_ms and lease in state.key_leases:  # perhaps by an earlier leader
            leader.key_leases.extend(lease, state.key_leases[lease], state.now)
    leader.key_leases.put_back(message.index)
    leader.lease_records.applied(message.index)
    leader.own_term_applied = message.index >= leader.first_index


def _note(state: RaftState, message: LeasesApplied) -> None:
    state.key_leases.update(message.granted)
    state.leases_left.update(message.left)
    for lease in message.ended:
        state.key_leases.pop(lease, None)
        state.leases_left.pop(lease, None)


def replace_all(state: RaftState, leases: Iterable[tuple[int, int, int]]) -> None:
    """Take the leases of a snapshot, which has become the state."""
    before, short = state.key_leases, state.leases_left
    state.key_leases, state.leases_left = by_lease(leases)
    if isinstance(state.role, Leader):
        clock = state.role.key_leases
        for lease in before.keys() - state.key_leases.keys():
            clock.drop(lease)
        for lease in state.key_leases.keys() - before.keys():
            clock.add(lease)
        for lease in short.keys() & (state.key_leases.keys() - state.leases_left.keys()):
            clock.extend(lease, state.key_leases[lease], state.now)


def keep_alive(state: RaftState, leader: Leader, leases: tuple[int, ...], since: int) -> int:
    """Extend leases from the beginning of a confirmed round on.

    Returns the index of an entry from which on the state shows which of them this leader has ended,
    and how long the others last.
    """
    index = state.commit_index
    for lease in leases:
        ttl_ms = state.key_leases.get(lease)
        if ttl_ms is not None:
            leader.key_leases.extend(lease, ttl_ms, since)
            index = max(index, leader.key_leases.ended_by(lease))
    return max(index, restore(state, leader, leases))


def proceed(state: RaftState, leader: Leader) -> None:
    """Start the clock of new leases, and propose what is due by it."""
    leader.key_leases.start_fresh(state.key_leases, state.leases_left, state.now)
    if leader.own_term_applied:  # else an earlier entry may give a lease its whole time again
        _expire(state, leader)
        record(state, leader)


def _expire(state: RaftState, leader: Leader) -> None:
    clock = leader.key_leases
    if not clock.is_due(state.now) or why_not_append(state, leader, grows=False) is not None:
        return
    # Further ones wait until these are applied: other entries would wait for all of them.
    due = clock.take_due(state.now, LEASES_NAMED_MAX - clock.ending)
    if due:
        end = Write(0, 0, 0, ExpireLeases(tuple(due)))
        batch = Batch(state.id, state.incarnation, 0, (end,))
        append(state, leader, EntryKind.BATCH, encode(batch))
        clock.begin_end(due, state.log.last_index)
