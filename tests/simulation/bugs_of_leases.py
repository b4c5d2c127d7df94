"""Bugs in leases on keys: some end early, some never, and keys go with the wrong ones."""

from protocol.messages.client import ReadBatch
from protocol.raft import election, key_lease_clock, key_leases, reads
from protocol.raft.key_lease_clock import KeyLeaseClock
from protocol.state.key_leases import KeyLeases
from protocol.state.key_value import KeyValue
from protocol.state.machine import StateMachine
from protocol.state.transactions import _Draft
from protocol.storage.lease_reads import LeaseReads
from protocol.storage.state_tables import StateView
from protocol.storage.writer import StorageWriter
from tests.simulation.bug import Bug, Edit

PROMISE = "the promise of leases"

BUGS = (
    Bug(
        "a keep-alive is confirmed without a quorum",
        PROMISE,
        Edit(
            reads.on_read,
            "leader.reads.add(WaitingRead(state.id, message.number, *how))",
            "read = WaitingRead(state.id, message.number, *how)\n"
            "    if message.leases and state.commit_index >= leader.first_index:\n"
            "        leader.reads.began_at = state.now\n"
            "        _release(state, leader, read, state.commit_index)\n"
            "    else:\n"
            "        leader.reads.add(read)",
        ),
    ),
    Bug(
        "a leader keeps the deadlines of leases from its earlier leadership",
        PROMISE,
        Edit(
            election._become_leader,
            "key_leases=KeyLeaseClock(state.key_leases),\n    )\n    state.role = leader",
            "key_leases=(clock := state.__dict__.setdefault('clock', KeyLeaseClock(()))),\n    )\n"
            "    for each in clock._deadlines.keys() - state.key_leases.keys():\n"
            "        clock.drop(each)\n"
            "    clock.put_back(1 << 62)\n"
            "    clock._fresh |= state.key_leases.keys() - clock._deadlines.keys()\n"
            "    state.role = leader",
        ),
    ),
    Bug(
        "a snapshot leaves out the leases",
        PROMISE,
        Edit(StateView.rows_after, "range(first_table, len(self))", "range(first_table, 3)"),
    ),
    Bug(
        "a key that goes with another lease still goes with its earlier one",
        PROMISE,
        Edit(KeyLeases.move, "self._detach(key, before)", "pass"),
    ),
    Bug(
        "an insert without a lease leaves the key in its earlier one",
        PROMISE,
        Edit(
            KeyValue.insert,
            "lease = command.lease",
            "lease = command.lease or (before.lease if before else 0)",
        ),
    ),
    Bug(
        "an increment takes a key out of its lease",
        PROMISE,
        Edit(_Draft._increment, "(before.lease, before.ttl_ms)", "(0, 0)"),
    ),
    Bug(
        "a keep-alive of a lease that is about to end is confirmed",
        PROMISE,
        Edit(
            key_leases.keep_alive,
            "index = max(index, leader.key_leases.ended_by(lease))",
            "pass",
        ),
    ),
    Bug(
        "a keep-alive is served as of the beginning of its round",
        PROMISE,
        Edit(key_leases.keep_alive, "index = state.commit_index", "index = 0"),
    ),
    Bug(
        "a keep-alive is read ahead",
        PROMISE,
        Edit(ReadBatch.is_pure, "(ReadSnapshot, KeepAlive)", "(ReadSnapshot,)"),
    ),
    Bug(
        "the leader makes no allowance for slower clocks",
        PROMISE,
        Edit(key_lease_clock._deadline, "ttl_ms * 1000 / LEASE_SHARE", "ttl_ms * 1000"),
    ),
    Bug(
        "a keep-alive is confirmed, and not counted",
        PROMISE,
        Edit(key_leases.keep_alive, "leader.key_leases.extend(lease, ttl_ms, since)", "pass"),
    ),
    Bug(
        "a follower does not tell the leader what it keeps alive",
        PROMISE,
        Edit(
            reads.on_read_elsewhere,
            "ForwardRead(message.number, message.leader_lease, message.leases)",
            "ForwardRead(message.number, message.leader_lease)",
        ),
    ),
    Bug(
        "a lease whose entry had no room for it is forgotten",
        PROMISE,
        Edit(key_leases.on_leases_applied, "leader.key_leases.put_back(message.index)", "pass"),
    ),
    Bug(
        "a node does not know its leases after a restart",
        PROMISE,
        Edit(
            StorageWriter.recover,
            "leases = self._table_sets.active.lease_times()",
            "leases: tuple[tuple[int, int, int], ...] = ()",
        ),
    ),
    Bug(
        "a node does not know the leases of a snapshot",
        PROMISE,
        Edit(
            StorageWriter._install,
            "leases = self._table_sets.active.lease_times()",
            "leases: tuple[tuple[int, int, int], ...] = ()",
        ),
    ),
    Bug(
        "a leader lets only those leases expire that began in its term",
        PROMISE,
        Edit(KeyLeaseClock.__init__, "self._fresh = set(leases)", "self._fresh: set[int] = set()"),
    ),
    Bug(
        "a lease of a key's own stays when its key is gone",
        PROMISE,
        Edit(KeyLeases._detach, "row.is_own and row.keys == 1", "False"),
    ),
    Bug(
        "the keys of a lease go one after another",
        PROMISE,
        Edit(
            KeyValue.end_lease,
            "self.write(key.decode(), key, self.read(key), None, events, position)",
            "self.revision += bool(position)\n"
            "            self.write(key.decode(), key, self.read(key), None, events, 0)",
        ),
    ),
    Bug(
        "watchers are not told that a key has expired",
        PROMISE,
        Edit(StateMachine._expire, "expired=True", "expired=False"),
    ),
    Bug(
        "a keep-alive is confirmed for the whole time, though less is recorded",
        PROMISE,
        Edit(key_leases.keep_alive, "max(index, restore(state, leader, leases))", "index"),
        Edit(LeaseReads._ttl_ms, "row.left_ms or row.ttl_ms", "row.ttl_ms"),
    ),
    Bug(
        "a leader records less than is left to a lease",
        PROMISE,
        Edit(KeyLeaseClock.left_ms, "LEASE_SHARE / 1000", "LEASE_SHARE / 2000"),
    ),
    Bug(
        "the ids of leases begin anew after a restart",
        PROMISE,
        Edit(KeyLeases.__init__, "self.granted = granted", "self.granted = count"),
    ),
    Bug(
        "a page of leases leaves out the first one",
        "the promise of lists of leases",
        Edit(LeaseReads.page, "operation.start_after + 1", "operation.start_after + 2"),
    ),
    Bug(
        "the list of leases has those of keys' own",
        "the promise of lists of leases",
        Edit(LeaseReads.page, "if not lease.is_own", "if True"),
    ),
    Bug(
        "a page of leases is called the last one too early",
        "the promise of lists of leases",
        Edit(LeaseReads.page, "more=True", "more=False"),
    ),
)
