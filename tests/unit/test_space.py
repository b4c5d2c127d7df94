"""Space: shortages, refusals by the leader, and the size of the state."""

import pytest

from protocol.messages.gateway import Refused
from protocol.messages.peer import AppendEntries, HeartbeatReply, TimeoutNow
from protocol.messages.replicator import Propose, TransferTo
from protocol.refusal import Refusal
from protocol.space import Room, Shortage, SpaceChanged, SpaceLimits, SpaceWatch
from protocol.state.commands import Command, Insert, Remove, Write
from protocol.state.key_value import StoredValue
from protocol.state.machine import APPLIED_KEY
from protocol.storage.state_tables import TableSets
from protocol.wire import encode
from tests.harness.raft_cluster import A, B, C, Cluster, led_by
from tests.simulation.disk import Disk
from tests.unit.test_state_machine import OPEN, Replica

LIMITS = SpaceLimits(disk_reserve=100, state_max=50)


# --- judging


@pytest.mark.parametrize(
    ("free", "state", "shortage"),
    [
        (100, 49, Shortage.NONE),
        (100, 50, Shortage.QUOTA),
        (99, 50, Shortage.LOW),
        (25, 0, Shortage.LOW),
        (24, 0, Shortage.CRITICAL),
        (-10, 0, Shortage.CRITICAL),
    ],
)
def test_a_shortage_is_classified_by_the_space_left(
    free: int, state: int, shortage: Shortage
) -> None:
    watch = SpaceWatch(LIMITS)
    changed = watch.look(free, state)
    assert watch.room == Room(free, state, shortage)
    assert changed == (SpaceChanged(shortage) if shortage is not Shortage.NONE else None)


def test_a_shortage_lasts_until_clearly_more_space_is_free() -> None:
    watch = SpaceWatch(LIMITS)
    told = [watch.look(free, 0) for free in (20, 30, 32, 110, 124, 125, 101)]
    critical, _, low, _, _, none, _ = told
    assert [critical, low, none] == [
        SpaceChanged(Shortage.CRITICAL),
        SpaceChanged(Shortage.LOW),
        SpaceChanged(Shortage.NONE),
    ]
    assert told.count(None) == 4


def test_without_limits_there_is_no_shortage() -> None:
    assert SpaceWatch(SpaceLimits()).look(0, 1 << 60) is None


# --- a leader


def refusals(cluster: Cluster, node: bytes) -> list[Refusal]:
    return [each.refusal for each in cluster[node].told(Refused)]


def fill(cluster: Cluster, *nodes: bytes, shortage: Shortage = Shortage.LOW) -> None:
    """Report a shortage of disk space on some nodes to the leader."""
    for node in nodes:
        cluster.step(node, SpaceChanged(shortage))
    cluster.beat(A)
    cluster.settle()


def test_without_a_majority_with_space_only_growing_proposals_are_refused() -> None:
    cluster = led_by(A, B, C)
    fill(cluster, B, C)
    last = cluster[A].last_index
    cluster.step(A, Propose(1, b"insert"))
    assert refusals(cluster, A) == [Refusal.STORAGE_FULL]
    cluster.step(A, Propose(2, b"removal", grows=False))
    cluster.settle()
    assert cluster[A].commit_index == last + 1
    fill(cluster, B, shortage=Shortage.NONE)
    cluster.step(A, Propose(3, b"insert"))
    assert refusals(cluster, A) == [Refusal.STORAGE_FULL]  # no other one


def test_a_follower_receives_the_leaders_reason_for_a_refusal() -> None:
    cluster = led_by(A, B, C)
    fill(cluster, B, C)
    cluster.step(B, Propose(1, b"insert"))
    cluster.settle()
    assert refusals(cluster, B) == [Refusal.STORAGE_FULL]


def test_a_leader_without_space_hands_over_to_a_voter_known_to_have_space() -> None:
    cluster = led_by(A, B, C)
    fill(cluster, B)
    cluster.step(A, SpaceChanged(Shortage.CRITICAL))
    cluster.step(A, Propose(1, b"insert"))
    assert refusals(cluster, A) == [Refusal.NOT_LEADER]  # so that it is tried again
    assert cluster.sent(TimeoutNow) == cluster.sent(TimeoutNow, to=C)
    cluster.settle()
    assert cluster.leaders == [C]


def test_a_leader_at_its_quota_keeps_leading_and_refuses_inserts() -> None:
    cluster = led_by(A, B, C)
    cluster.beat(A)
    cluster.settle()
    cluster.step(A, SpaceChanged(Shortage.QUOTA))
    cluster.step(A, Propose(1, b"insert"))
    cluster.beat(A)
    cluster.settle()
    assert refusals(cluster, A) == [Refusal.STORAGE_FULL]
    assert cluster.leaders == [A]


def test_leadership_does_not_move_between_nodes_without_space() -> None:
    cluster = led_by(A, B, C)
    fill(cluster, B, C)
    fill(cluster, A)
    cluster.step(A, TransferTo(B))
    cluster.settle()
    for _ in range(3):  # a new leader knows of no node's space at first
        cluster.beat(B)
        cluster.settle()
    assert cluster.leaders == [B]
    assert cluster[B].core.term == 2


def test_a_full_follower_is_sent_no_entries_while_the_others_form_a_majority() -> None:
    cluster = led_by(A, B, C)
    fill(cluster, C, shortage=Shortage.CRITICAL)
    last = cluster[A].last_index
    cluster.step(A, Propose(1, b"insert"))
    cluster.settle()
    assert cluster[A].commit_index == cluster[B].last_index == last + 1
    assert cluster[C].last_index == last
    fill(cluster, C, shortage=Shortage.NONE)
    cluster.beat(A)
    cluster.settle()
    assert cluster[C].last_index == last + 1


def test_full_followers_receive_the_entries_that_a_majority_needs() -> None:
    cluster = led_by(A, B, C)
    fill(cluster, B, C, shortage=Shortage.CRITICAL)
    cluster.step(A, Propose(1, b"removal", grows=False))
    assert {each.to for each in cluster.network if type(each.message) is AppendEntries} == {B, C}


def test_a_follower_reports_its_shortage_with_each_heartbeat_reply() -> None:
    cluster = led_by(A, B, C)
    cluster.step(B, SpaceChanged(Shortage.LOW))
    cluster.beat(A)
    cluster.deliver(to=B)
    (reply,) = cluster.sent(HeartbeatReply, sender=B)
    assert reply.shortage is Shortage.LOW


# --- the size of the state


def test_the_state_size_counts_keys_and_values() -> None:
    replica = Replica()
    replica.result(OPEN)
    insertions = (Insert("ab", b"12345"), Insert("ab", b"1"), Insert("c", b""))
    commands: list[Command] = [*insertions, Remove("c"), Remove("none")]
    for sequence, command in enumerate(commands, start=1):
        replica.result(Write(1, sequence, 1, command))
    assert replica.machine.state_bytes == 3
    replica.result(Write(1, 6, 1, Insert("ab", b"99", if_revision=99)))
    assert replica.machine.state_bytes == 3
    replica.reload()
    assert replica.machine.state_bytes == 3
    replica.result(Write(1, 7, 1, Remove("ab")))
    assert replica.machine.state_bytes == 0


def test_a_state_stored_without_its_size_is_measured_when_opened() -> None:
    disk = Disk(lambda _: None)
    values = TableSets(disk).active.values
    values.put(APPLIED_KEY, encode([7, 1, 2, 0, 0]))
    values.put(b"ab", encode(StoredValue(1, 1, 1, b"12345")))
    values.put(b"c", encode(StoredValue(2, 2, 1, b"")))
    disk.write(sync=True)
    machine = TableSets(disk).active.machine()
    assert (machine.applied_index, machine.state_bytes) == (7, 8)
    machine.store_progress()
    disk.write(sync=True)
    assert TableSets(disk).active.machine().state_bytes == 8
