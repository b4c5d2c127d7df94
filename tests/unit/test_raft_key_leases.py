"""Key leases in Raft: none ends early by its holder's clock, and each ends soon in silence."""

import pytest
from msgspec.structs import replace

from protocol.messages.gateway import ReadFailed
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    ForwardRead,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
)
from protocol.messages.replicator import (
    LeasesApplied,
    Read,
    SnapshotInstalled,
    StepAside,
)
from protocol.raft import key_lease_clock, key_leases
from protocol.raft.clock_rates import LEASE_SHARE
from protocol.raft.key_lease_clock import KeyLeaseClock
from protocol.raft.node import RaftNode
from protocol.state.commands import ExpireLeases
from protocol.state.machine import decode_batch
from tests.harness.raft_cluster import CLUSTER, A, B, C, Cluster, led_by

TTL_MS = 3000
TTL = int(TTL_MS * 1000 / LEASE_SHARE)  # microseconds of the leader's clock


def with_leases(
    *leases: int, ttl_ms: int = TTL_MS, nodes: tuple[bytes, ...] = (A, B, C)
) -> Cluster:
    """Return a cluster led by A, whose nodes all know some leases."""
    cluster = led_by(*nodes)
    for node in nodes:
        cluster.step(node, LeasesApplied(1, tuple((lease, ttl_ms) for lease in leases), ()))
    return cluster


def expiring(cluster: Cluster, node: bytes = A) -> list[tuple[int, ...]]:
    """Return the leases of each entry in a log that lets some expire."""
    log = cluster[node].core._state.log
    entries = [each.payload for each in log.slice(1, 1 << 40) if each.payload]
    batches = [decode_batch(each) for each in entries]
    commands = [write.command for batch in batches for write in batch.writes]
    return [each.leases for each in commands if isinstance(each, ExpireLeases)]


def beat(cluster: Cluster, *, after: int, node: bytes = A) -> None:
    """Let time pass at a node, and then a heartbeat be due."""
    cluster[node].now += after
    cluster.beat(node)


def begin_term(cluster: Cluster, node: bytes) -> None:
    """Let a leader learn that its storage has applied the first entry of its term."""
    cluster.step(node, LeasesApplied(cluster[node].core._state.role.first_index, (), ()))  # type: ignore[union-attr]


def keep_alive(cluster: Cluster, *leases: int, number: int = 1, node: bytes = A) -> None:
    cluster.step(node, Read(number, b"", False, False, leases))


def served(cluster: Cluster, node: bytes = A) -> list[tuple[int, int]]:
    return [(read.number, read.index) for read in cluster[node].served]


# --- expiry


def test_a_lease_expires_after_its_ttl_by_the_slowest_clock_and_not_before() -> None:
    cluster = with_leases(5)
    beat(cluster, after=TTL - 1)
    assert expiring(cluster) == []
    beat(cluster, after=1)
    assert expiring(cluster) == [(5,)]
    cluster.settle()
    assert expiring(cluster, B) == [(5,)]


def test_a_lease_is_proposed_for_expiry_once() -> None:
    cluster = with_leases(5)
    for _ in range(3):
        beat(cluster, after=TTL)
    cluster.settle()
    beat(cluster, after=TTL)
    assert expiring(cluster) == [(5,)]


def test_only_the_leader_lets_leases_expire() -> None:
    cluster = with_leases(5)
    beat(cluster, after=2 * TTL, node=B)
    assert expiring(cluster, B) == []


def test_leases_expire_each_in_their_time() -> None:
    cluster = with_leases(7)
    cluster.step(A, LeasesApplied(1, ((8, 2 * TTL_MS),), ()))
    cluster.step(A, LeasesApplied(1, ((6, TTL_MS),), ()))
    beat(cluster, after=TTL)
    beat(cluster, after=TTL)
    assert expiring(cluster) == [(6, 7), (8,)]


def test_an_entry_ends_a_limited_number_of_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_leases, "LEASES_NAMED_MAX", 2)
    cluster = with_leases(1, 2, 3)
    beat(cluster, after=TTL)
    beat(cluster, after=0)
    assert expiring(cluster) == [(1, 2)]
    cluster.settle()
    beat(cluster, after=0)
    assert expiring(cluster) == [(1, 2)], "which is not applied yet"
    cluster.step(A, LeasesApplied(cluster[A].last_index, (), (1, 2)))
    assert expiring(cluster) == [(1, 2), (3,)]


def test_a_lease_that_ended_otherwise_does_not_expire() -> None:
    cluster = with_leases(5)
    cluster.step(A, LeasesApplied(2, (), (5,)))
    beat(cluster, after=TTL)
    assert expiring(cluster) == []


def test_a_lease_that_its_entry_has_left_is_proposed_again() -> None:
    cluster = with_leases(5, 6)
    beat(cluster, after=TTL)
    cluster.settle()
    cluster.step(A, LeasesApplied(cluster[A].last_index, (), (5,)))
    assert expiring(cluster) == [(5, 6), (6,)]


def test_a_lease_that_begins_and_ends_at_once_leaves_nothing() -> None:
    cluster = with_leases()
    cluster.step(A, LeasesApplied(2, ((5, TTL_MS),), (5,)))
    beat(cluster, after=2 * TTL)
    assert expiring(cluster) == []
    assert cluster[A].core._state.key_leases == {}


def test_nothing_expires_while_leadership_is_handed_over() -> None:
    cluster = with_leases(5)
    cluster[A].now += TTL - 1
    cluster.step(A, StepAside())
    beat(cluster, after=1)
    assert expiring(cluster) == []


# --- keep-alives


def test_a_confirmed_keep_alive_lets_the_lease_last_from_the_beginning_of_the_round() -> None:
    cluster = with_leases(5)
    cluster[A].now += TTL - 10
    keep_alive(cluster, 5)
    cluster[A].now += 4
    cluster.settle()
    assert served(cluster) == [(1, 1)]
    beat(cluster, after=TTL - 5)
    assert expiring(cluster) == []
    beat(cluster, after=1)
    assert expiring(cluster) == [(5,)]


def test_a_keep_alive_of_another_nodes_gateway_counts() -> None:
    cluster = with_leases(5)
    cluster[A].now += TTL - 10
    keep_alive(cluster, 5, node=B)
    assert cluster.sent(ForwardRead) == [ForwardRead(1, leases=(5,))]
    cluster.settle()
    assert served(cluster, B) == [(1, 1)]
    beat(cluster, after=TTL - 1)
    assert expiring(cluster) == []


def test_a_keep_alive_that_no_majority_has_confirmed_extends_nothing() -> None:
    cluster = with_leases(5)
    cluster[A].now += TTL - 10
    keep_alive(cluster, 5)
    cluster.drop()
    beat(cluster, after=10)
    assert expiring(cluster) == [(5,)]
    assert served(cluster) == []


def test_a_deposed_leader_confirms_no_keep_alive() -> None:
    cluster = with_leases(5)
    cluster.partition([A], [B, C])
    cluster.elect(B, among=[B, C])
    keep_alive(cluster, 5)
    keep_alive(cluster, 5, number=2, node=B)
    cluster.beat(B)
    cluster.settle()
    assert served(cluster) == []
    assert served(cluster, B) == [(2, 2)]
    cluster.heal()
    cluster.beat(B)
    cluster.settle()
    assert served(cluster) == []
    assert cluster[A].told(ReadFailed) == [ReadFailed(1)]


def test_a_keep_alive_is_not_served_by_a_leader_lease() -> None:
    cluster = with_leases(5)
    cluster.beat(A)
    cluster.settle()
    cluster.step(A, Read(1, b"", True, True, (5,)))
    cluster.write(A)
    assert served(cluster) == []
    cluster.step(B, Read(2, b"", True, True, (5,)))
    cluster.deliver(ForwardRead)
    assert cluster.sent(ReadIndex) == []


def test_a_keep_alive_of_an_ending_lease_is_served_after_the_entry_that_ends_it() -> None:
    cluster = with_leases(5)
    beat(cluster, after=TTL)
    end = cluster[A].last_index
    cluster.drop(AppendEntries)
    keep_alive(cluster, 5)
    keep_alive(cluster, 5, number=2, node=B)
    cluster.deliver(ForwardRead)
    cluster.deliver(Heartbeat)
    cluster.deliver(HeartbeatReply)
    cluster.deliver(Heartbeat)
    cluster.deliver(HeartbeatReply)
    cluster.write(A)
    assert served(cluster) == []
    assert cluster.sent(ReadIndex) == [ReadIndex(2, end)]
    cluster.beat(A)
    cluster.settle()
    assert served(cluster) == [(1, end)]
    assert served(cluster, B) == [(2, end)]


def test_a_keep_alive_during_the_round_in_which_the_lease_expires_is_served_after_it() -> None:
    cluster = with_leases(5)
    cluster[A].now += TTL - 1
    keep_alive(cluster, 5)
    beat(cluster, after=1)
    assert expiring(cluster) == [(5,)]
    cluster.settle()
    assert served(cluster) == [(1, cluster[A].last_index)]


def test_a_keep_alive_is_served_after_the_end_of_its_lease_during_the_round() -> None:
    cluster = with_leases(5)
    cluster[A].now += TTL - 1
    keep_alive(cluster, 5, node=B)
    cluster.deliver(ForwardRead)
    beat(cluster, after=1)
    cluster.deliver(AppendEntries)
    cluster.sync()
    cluster.deliver(AppendEntriesReply)
    cluster.drop()
    end = cluster[A].last_index
    assert cluster[A].commit_index == end
    cluster.step(A, LeasesApplied(end, (), (5,)))
    assert served(cluster, B) == []
    cluster.beat(A)
    cluster.settle()
    assert served(cluster, B) == [(1, end)]


def test_a_keep_alive_of_an_unknown_lease_is_served_like_any_read() -> None:
    cluster = with_leases(5)
    keep_alive(cluster, 99)
    cluster.settle()
    assert served(cluster) == [(1, 1)]


def test_a_lone_node_keeps_leases_alive() -> None:
    cluster = with_leases(5, nodes=(A,))
    cluster[A].now += TTL - 1
    keep_alive(cluster, 5)
    cluster.settle()
    assert served(cluster) == [(1, 1)]
    beat(cluster, after=TTL - 1)
    assert expiring(cluster) == []
    beat(cluster, after=1)
    assert expiring(cluster) == [(5,)]


def test_a_keep_alive_at_the_last_moment_at_a_lone_node_is_in_time() -> None:
    cluster = with_leases(5, nodes=(A,))
    cluster[A].now += TTL
    keep_alive(cluster, 5)
    assert expiring(cluster) == []


# --- changes of leadership, restarts and snapshots


def test_a_new_leader_starts_every_lease_anew() -> None:
    cluster = with_leases(5)
    for node in (A, B, C):
        cluster[node].now += TTL - 1
    cluster.elect(B)
    begin_term(cluster, B)
    beat(cluster, after=TTL - 1, node=B)
    assert expiring(cluster, B) == []
    beat(cluster, after=1, node=B)
    assert expiring(cluster, B) == [(5,)]


def test_a_leader_that_leads_again_starts_every_lease_anew() -> None:
    cluster = with_leases(5)
    cluster.elect(B)
    cluster[A].now += TTL
    cluster.elect(A)
    begin_term(cluster, A)
    beat(cluster, after=TTL - 1)
    assert expiring(cluster) == []
    beat(cluster, after=1)
    assert expiring(cluster) == [(5,)]


def test_a_node_that_was_not_told_of_leases_since_its_start_has_those_it_recovered() -> None:
    cluster = led_by(A)
    recovered = cluster[A].disk.recover(A, CLUSTER, None)
    leases = ((5, TTL_MS, 0),)
    core = RaftNode(replace(recovered, leases=leases))
    core.set_time(100)
    core.flush()
    assert core._state.key_leases == {5: TTL_MS}


def test_the_leases_of_a_snapshot_replace_those_before() -> None:
    cluster = with_leases(5, 6)
    membership = cluster[B].core._state.memberships.committed
    cluster[B].core._state.chunks_staging = 1
    cluster.step(B, SnapshotInstalled(1, 1, membership, ((6, TTL_MS, 0), (7, TTL_MS, 0))))
    assert cluster[B].core._state.key_leases == {6: TTL_MS, 7: TTL_MS}


def test_a_lease_lasts_from_after_the_messages_of_a_turn_were_received() -> None:
    """A turn may last while its process is suspended, and take in messages that are newer."""
    cluster = with_leases()
    core, now = cluster[A].core, cluster[A].now
    core.set_time(now)
    core.step(LeasesApplied(1, ((5, TTL_MS),), ()))
    core.set_time(now + TTL)
    core.flush()
    cluster[A].now = now + TTL
    beat(cluster, after=TTL - 1)
    assert expiring(cluster) == []


# --- the clock


def test_the_clock_forgets_leases_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_lease_clock, "STALE_MAX", 10)
    clock = KeyLeaseClock(())
    for lease in range(1, 1000):
        clock.add(lease)
        clock.start_fresh({lease: 1 << 31}, {}, lease)
        if lease > 3:
            clock.drop(lease)
    assert len(clock._queue) <= 20
    assert set(clock._deadlines) == {1, 2, 3}
    assert clock.take_due(1 << 60, 10) == [1, 2, 3]


def test_a_keep_alive_of_a_longer_past_shortens_nothing() -> None:
    clock = KeyLeaseClock([1])
    clock.start_fresh({1: TTL_MS}, {}, 100)
    clock.extend(1, TTL_MS, 50)
    assert not clock.take_due(99 + TTL, 10)
    assert clock.take_due(100 + TTL, 10) == [1]
