"""Lease checkpoints: a silent lease ends though leaders change, and one kept alive never early."""

import pytest

from protocol.messages.peer import Heartbeat, HeartbeatReply
from protocol.messages.replicator import LeasesApplied, Read, SnapshotInstalled
from protocol.raft import lease_checkpoints
from protocol.raft.clock_rates import LEASE_SHARE
from protocol.raft.lease_checkpoints import CHECKPOINT_MS, TTL_MS_MIN
from protocol.raft.roles import Leader
from protocol.state.commands import CheckpointLeases, ExpireLeases
from protocol.state.machine import decode_batch
from tests.harness.raft_cluster import A, B, C, Cluster, led_by

DAY_MS = 24 * 3600 * 1000
DAY = int(DAY_MS * 1000 / LEASE_SHARE)  # microseconds of the leader's clock
PAUSE = CHECKPOINT_MS * 1000  # microseconds
STEP_MS = int(CHECKPOINT_MS * LEASE_SHARE)  # by which the rest of a lease shrinks meanwhile


def with_leases(*leases: int, ttl_ms: int = DAY_MS) -> Cluster:
    """Return a cluster led by A, whose nodes all know some leases."""
    cluster = led_by(A, B, C)
    for node in (A, B, C):
        cluster.step(node, LeasesApplied(1, tuple((lease, ttl_ms) for lease in leases), ()))
    cluster.beat(A)
    return cluster


def leader_of(cluster: Cluster, node: bytes) -> Leader:
    role = cluster[node].core._state.role
    assert isinstance(role, Leader)
    return role


def beat(cluster: Cluster, *, after: int, node: bytes = A) -> None:
    """Let time pass at a node, and then a heartbeat be due."""
    cluster[node].now += after
    cluster.beat(node)


def commands(cluster: Cluster, node: bytes = A) -> list[object]:
    """Return the commands in a node's log."""
    log = cluster[node].core._state.log
    batches = [decode_batch(each.payload) for each in log.slice(1, 1 << 40) if each.payload]
    return [write.command for batch in batches for write in batch.writes]


def recorded(cluster: Cluster, node: bytes = A) -> list[tuple[tuple[int, int], ...]]:
    """Return the leases of each checkpoint in a node's log."""
    return [each.leases for each in commands(cluster, node) if isinstance(each, CheckpointLeases)]


def applied(cluster: Cluster, node: bytes, *left: tuple[int, int]) -> None:
    """Tell a node that its storage has applied its log, with these checkpoints."""
    index = cluster[node].core._state.log.last_index
    cluster.step(node, LeasesApplied(index, (), (), left))


def confirmed_index(cluster: Cluster, lease: int, number: int = 1) -> int:
    """Keep a lease alive through A, and return the index at which the read is served."""
    cluster.step(A, Read(number, b"", False, False, (lease,)))
    cluster.settle()
    (index,) = {read.index for read in cluster[A].served if read.number == number}
    return index


def test_what_is_left_to_a_long_lease_is_recorded_regularly() -> None:
    cluster = with_leases(5)
    beat(cluster, after=PAUSE - 1)
    assert recorded(cluster) == []
    for after in (1, PAUSE, PAUSE):
        beat(cluster, after=after)
    assert recorded(cluster) == [((5, DAY_MS - number * STEP_MS),) for number in (1, 2, 3)]


@pytest.mark.parametrize("ttl_ms", [TTL_MS_MIN - 1, 1000])
def test_what_is_left_to_a_short_lease_is_not_recorded(ttl_ms: int) -> None:
    cluster = with_leases(5, ttl_ms=ttl_ms)
    for _ in range(2):
        beat(cluster, after=PAUSE)
    assert recorded(cluster) == []


def test_a_lease_that_was_kept_alive_lately_is_not_recorded() -> None:
    cluster = with_leases(5)
    cluster[A].now += PAUSE - 1000
    confirmed_index(cluster, 5)
    beat(cluster, after=2000)
    assert recorded(cluster) == []


def test_an_entry_records_a_limited_number_of_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_checkpoints, "LEASES_NAMED_MAX", 2)
    cluster = with_leases(1, 2, 3)
    for after in (PAUSE, 0, 0):
        beat(cluster, after=after)
    assert [[lease for lease, _ in each] for each in recorded(cluster)] == [[1, 2], [3]]


def test_a_new_leader_lets_a_lease_last_for_what_was_recorded() -> None:
    cluster = with_leases(5)
    beat(cluster, after=PAUSE)
    ((checkpoint,),) = recorded(cluster)
    for node in (A, B, C):
        applied(cluster, node, checkpoint)
    cluster.settle()
    cluster.elect(B)
    applied(cluster, B)
    beat(cluster, after=DAY - PAUSE - 2000, node=B)
    assert not any(isinstance(each, ExpireLeases) for each in commands(cluster, B))
    beat(cluster, after=4000, node=B)
    assert ExpireLeases((5,)) in commands(cluster, B)


def test_a_keep_alive_waits_for_the_entry_that_undoes_a_checkpoint() -> None:
    cluster = with_leases(5)
    beat(cluster, after=PAUSE)
    cluster.settle()
    applied(cluster, A, *recorded(cluster)[0])
    index = confirmed_index(cluster, 5)
    assert recorded(cluster)[1:] == [((5, 0),)]
    assert index == cluster[A].core._state.log.last_index
    assert confirmed_index(cluster, 5, number=2) == index, "it is proposed once"
    assert len(recorded(cluster)) == 2


def test_a_keep_alive_undoes_a_checkpoint_that_is_not_applied_yet() -> None:
    cluster = with_leases(5)
    cluster.step(A, Read(1, b"", False, False, (5,)))  # its round begins before the checkpoint
    beat(cluster, after=PAUSE)
    assert len(recorded(cluster)) == 1
    cluster.deliver(Heartbeat, to=B)
    cluster.deliver(HeartbeatReply, sender=B)
    assert recorded(cluster)[1:] == [((5, 0),)]


def test_a_keep_alive_waits_for_a_checkpoint_that_cannot_be_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = with_leases(5)
    beat(cluster, after=PAUSE)
    index = cluster[A].core._state.log.last_index
    monkeypatch.setattr(lease_checkpoints, "_may_append", lambda *_: False)
    assert confirmed_index(cluster, 5) == index
    assert len(recorded(cluster)) == 1


def test_a_new_leader_lets_nothing_expire_before_it_knows_what_was_undone() -> None:
    cluster = with_leases(5)
    for node in (A, B, C):
        applied(cluster, node, (5, 1))  # and an entry that is not applied yet undoes it
    cluster.settle()
    cluster.elect(B)
    beat(cluster, after=PAUSE, node=B)
    applied(cluster, B, (5, 0))
    beat(cluster, after=DAY - 1, node=B)
    assert not any(isinstance(each, ExpireLeases) for each in commands(cluster, B))


def test_a_snapshot_that_undoes_a_checkpoint_gives_a_leader_the_whole_time() -> None:
    cluster = with_leases(5)
    for node in (A, B, C):
        applied(cluster, node, (5, 1000))
    cluster.settle()
    cluster.elect(B)
    core = cluster[B].core
    core._state.chunks_staging = 1
    membership = core._state.memberships.committed
    cluster.step(B, SnapshotInstalled(1, 1, membership, ((5, DAY_MS, 0),)))
    applied(cluster, B)
    beat(cluster, after=DAY - 1, node=B)
    assert not any(isinstance(each, ExpireLeases) for each in commands(cluster, B))


def test_a_leader_forgets_what_it_has_proposed_for_leases_that_have_ended() -> None:
    cluster = with_leases(5, 6)
    beat(cluster, after=PAUSE)
    assert set(leader_of(cluster, A).lease_records.proposed) == {5, 6}
    cluster.step(A, LeasesApplied(1, (), (5,)))
    assert set(leader_of(cluster, A).lease_records.proposed) == {6}
    applied(cluster, A, (6, 1))
    assert not leader_of(cluster, A).lease_records.proposed
