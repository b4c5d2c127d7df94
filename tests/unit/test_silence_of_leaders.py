"""Silence of leaders: the time since the last contact in a node's status."""

from protocol.raft.status import status_of
from tests.harness.raft_cluster import A, B, C, Cluster, led_by

SECOND = 1_000_000  # microseconds


def silence_ms(cluster: Cluster, node: bytes) -> int | None:
    machine = cluster[node]
    machine.core.set_time(machine.now)
    return status_of(machine.core._state).silence_ms


def beat(cluster: Cluster) -> None:
    cluster.beat(A)
    cluster.settle(*[machine.id for machine in cluster.alive])


def test_a_leader_measures_silence_since_the_last_replies_of_a_majority() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += SECOND
    beat(cluster)
    assert silence_ms(cluster, A) == 0
    cluster.crash(C)
    cluster[A].now += 2 * SECOND
    beat(cluster)
    assert silence_ms(cluster, A) == 0, "B and the leader are a majority"
    cluster.crash(B)
    cluster[A].now += 3 * SECOND
    assert silence_ms(cluster, A) == 3000


def test_a_follower_measures_silence_since_the_last_message_of_a_leader() -> None:
    cluster = led_by(A, B, C)
    cluster[B].now += SECOND
    beat(cluster)
    assert silence_ms(cluster, B) == 0
    cluster[B].now += 4 * SECOND
    assert silence_ms(cluster, B) == 4000
