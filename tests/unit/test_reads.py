"""Reads: a read sees every write acknowledged before it, on any node."""

import pytest

from protocol.messages.gateway import ReadFailed, ReadsConfirmed
from protocol.messages.peer import (
    AppendEntriesReply,
    ForwardRead,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadRefused,
)
from protocol.messages.replicator import Read
from protocol.messages.storage import ReadAt
from protocol.raft import reads
from tests.harness.raft_cluster import A, B, C, Cluster, D, E, Machine, led_by


def served(machine: Machine) -> list[tuple[int, int]]:
    return [(read.number, read.index) for read in machine.served]


def confirm(cluster: Cluster, *nodes: bytes) -> None:
    """Deliver these nodes' replies to the leader's heartbeats."""
    for node in nodes:
        cluster.deliver(Heartbeat, to=node)
        cluster.deliver(HeartbeatReply, sender=node)


def test_a_read_is_served_once_a_majority_has_confirmed_the_leader() -> None:
    cluster = led_by(A, B, C, D, E)
    cluster.read(A, 1)
    confirm(cluster, B)
    cluster.sync()
    assert served(cluster[A]) == []
    confirm(cluster, C)
    cluster.sync()
    assert served(cluster[A]) == [(1, 1)]


def test_the_leaders_storage_reads_ahead_during_the_quorum_round() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    assert list(cluster[A].disk.unwritten) == [ReadAt(1, 1, b"", confirmed=False)]
    assert cluster[A].told(ReadsConfirmed) == []
    confirm(cluster, B)
    assert cluster[A].told(ReadsConfirmed) == [ReadsConfirmed((1,))]
    assert len(cluster[A].disk.unwritten) == 1, "it is handed over once"


def test_only_reads_of_the_leaders_own_gateway_are_read_ahead() -> None:
    cluster = led_by(A, B, C)
    cluster.read(B, 7)
    cluster.deliver(ForwardRead)
    assert list(cluster[A].disk.unwritten) == []
    confirm(cluster, B)
    assert cluster.sent(ReadIndex) == [ReadIndex(7, 1)]
    assert cluster[A].told(ReadsConfirmed) == []
    cluster.deliver(ReadIndex)
    assert list(cluster[B].disk.unwritten) == [ReadAt(7, 1, b"", confirmed=True)]


def test_a_read_for_the_next_round_is_read_ahead_when_that_round_begins() -> None:
    cluster = led_by(A, B, C)
    for number in (1, 2, 3):
        cluster.read(A, number)
    assert len(cluster[A].disk.unwritten) == 1
    confirm(cluster, B)
    assert [each.number for each in cluster[A].disk.unwritten] == [1, 2, 3]  # type: ignore[union-attr]
    confirm(cluster, B)
    assert cluster[A].told(ReadsConfirmed) == [ReadsConfirmed((1,)), ReadsConfirmed((2, 3))]


def test_a_read_ahead_fails_when_its_leader_steps_down() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    cluster.sync()
    late = cluster.take(Heartbeat)
    cluster.elect(C)
    for packet in late:
        cluster.arrive(packet)
    cluster.settle()
    assert [each.number for each in cluster[A].disk.served] == [1]
    assert cluster[A].told(ReadFailed) == [ReadFailed(1)]
    assert cluster[A].told(ReadsConfirmed) == []


def test_a_read_evicted_during_its_read_ahead_is_not_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reads, "WAITING_READS_MAX", 2)
    cluster = led_by(A, B, C)
    for number in (1, 2, 3):
        cluster.read(A, number)
    assert cluster[A].told(ReadFailed) == [ReadFailed(1)]
    confirm(cluster, B)
    assert cluster[A].told(ReadsConfirmed) == []
    confirm(cluster, B)
    assert cluster[A].told(ReadsConfirmed) == [ReadsConfirmed((2, 3))]


def test_a_single_node_confirms_its_own_reads() -> None:
    cluster = led_by(A)
    cluster.read(A, 1)
    assert list(cluster[A].disk.unwritten) == [ReadAt(1, 1, b"", confirmed=True)]
    cluster.sync()
    assert served(cluster[A]) == [(1, 1)]
    assert cluster[A].told(ReadsConfirmed) == []


def test_a_followers_read_waits_until_the_leaders_commit_index_is_applied() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, C}, {B})
    cluster.propose(A, b"x")
    cluster.settle()
    cluster.heal()
    cluster.read(B, 7)
    assert cluster.sent() == [ForwardRead(7)]
    cluster.deliver(ForwardRead)
    confirm(cluster, C)
    cluster.deliver(ReadIndex)
    cluster.sync()
    assert served(cluster[B]) == [], "B has not applied the entry yet"
    cluster.beat(A)
    cluster.settle()
    assert served(cluster[B]) == [(7, 2)]


def test_a_leader_cut_off_from_the_majority_serves_no_read() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A}, {B, C})
    cluster.read(A, 1)
    cluster.elect(B, among=[C])
    cluster.propose(B, b"x")
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    assert served(cluster[A]) == []
    cluster.check_quorum(A)
    cluster.check_quorum(A)
    assert cluster[A].told(ReadFailed) == [ReadFailed(1)]


def test_a_read_waiting_for_a_removed_voter_is_confirmed_by_the_remaining_ones() -> None:
    cluster = led_by(A, B)
    cluster.read(A, 1)
    cluster.drop(Heartbeat)
    cluster.remove(B, through=A)
    cluster.settle()
    assert served(cluster[A]) == [(1, 1)]
    cluster.read(A, 2)
    cluster.settle()
    assert [number for number, _ in served(cluster[A])] == [1, 2]


def test_replies_to_an_earlier_round_confirm_no_later_read() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    confirm(cluster, B)
    late = cluster.take(Heartbeat, to=C)
    cluster.read(A, 2)
    cluster.drop()
    for packet in [*late, *late]:
        cluster.arrive(packet)
    cluster.deliver(HeartbeatReply)
    cluster.sync()
    assert served(cluster[A]) == [(1, 1)]


def test_a_reply_of_an_earlier_term_confirms_no_read() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    cluster.deliver(Heartbeat)
    late = cluster.take(HeartbeatReply)
    cluster.elect(B)
    cluster.elect(A)
    cluster.read(A, 2)
    cluster.drop()
    for packet in late:
        cluster.arrive(packet)
    cluster.sync()
    assert served(cluster[A]) == []


def test_a_read_that_arrives_during_a_round_waits_for_the_next_one() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    cluster.read(A, 2)
    assert [each.round for each in cluster.sent(Heartbeat, to=B)] == [1]
    confirm(cluster, B)
    cluster.sync()
    assert served(cluster[A]) == [(1, 1)]
    confirm(cluster, B)
    cluster.sync()
    assert served(cluster[A]) == [(1, 1), (2, 1)]


def test_one_round_confirms_all_waiting_reads() -> None:
    cluster = led_by(A, B, C)
    for number in range(5):
        cluster.read(A, number)
        cluster.read(B, 10 + number)
    cluster.deliver(ForwardRead)
    confirm(cluster, C)
    confirm(cluster, C)
    cluster.settle()
    assert len(served(cluster[A])) == len(served(cluster[B])) == 5
    assert cluster[A].core._state.role.reads.round == 2  # type: ignore[union-attr]


def test_a_read_survives_the_loss_of_its_heartbeats() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    cluster.drop()
    cluster.beat(A)
    cluster.settle()
    assert served(cluster[A]) == [(1, 1)]


def test_a_read_is_served_even_if_replies_take_longer_than_a_heartbeat() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    on_the_way = cluster.take()
    for _ in range(5):
        cluster.beat(A)
        arriving, on_the_way = on_the_way, cluster.take()
        for packet in arriving:
            cluster.arrive(packet)
    cluster.sync()
    assert served(cluster[A]) == [(1, 1)]


def test_a_new_leader_serves_no_read_before_an_entry_of_its_term_is_committed() -> None:
    # A committed x, but B, which leads now, does not know that yet.
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    for node in (B, C):
        cluster.deliver(to=node)
        cluster.sync(node)
    cluster.deliver(AppendEntriesReply)
    assert cluster[A].commit_index == 2
    cluster.crash(A)
    cluster.drop()
    cluster.elect_without_replication(B, votes_of=[C])
    assert cluster[B].commit_index == 1
    cluster.read(B, 1)
    cluster.read(C, 2)
    cluster.deliver(ForwardRead)
    cluster.deliver(Heartbeat)
    assert cluster.sent(ReadIndex) == []
    cluster.sync()
    assert served(cluster[B]) == []
    cluster.beat(B)
    cluster.settle()
    assert [index for _, index in served(cluster[B])] == [3]


def test_a_read_without_a_leader_fails_at_once() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.read(B, 1)
    assert cluster[B].told(ReadFailed) == [ReadFailed(1)]


def test_a_read_forwarded_to_a_non_leader_fails() -> None:
    cluster = led_by(A, B, C)
    cluster.read(B, 7)
    cluster.take(ForwardRead)
    cluster.inject(B, C, ForwardRead(7))
    assert cluster.sent() == [ReadRefused(7)]
    cluster.settle()
    assert cluster[B].told(ReadFailed) == [ReadFailed(7)]


def test_reads_fail_when_the_leader_changes() -> None:
    cluster = led_by(A, B, C)
    cluster.read(A, 1)
    cluster.read(B, 2)
    cluster.deliver(ForwardRead)
    cluster.drop()
    cluster.elect(C)
    assert cluster[A].told(ReadFailed) == [ReadFailed(1)]
    assert cluster[B].told(ReadFailed) == [ReadFailed(2)]
    assert served(cluster[A]) == served(cluster[B]) == []


def test_a_read_index_for_a_failed_read_is_ignored() -> None:
    cluster = led_by(A, B, C)
    cluster.read(B, 2)
    cluster.drop()
    cluster.elect(C)
    cluster.inject(A, B, ReadIndex(2, 1))
    cluster.inject(A, B, ReadRefused(2))
    cluster.sync()
    assert served(cluster[B]) == []
    assert len(cluster[B].told(ReadFailed)) == 1


def test_a_duplicate_read_index_serves_a_read_once() -> None:
    cluster = led_by(A, B, C)
    cluster.read(B, 2)
    cluster.deliver(ForwardRead)
    confirm(cluster, B)
    (answer,) = cluster.take(ReadIndex)
    cluster.arrive(answer)
    cluster.arrive(answer)
    assert list(cluster[B].disk.unwritten) == [ReadAt(2, 1, b"", confirmed=True)]


def test_a_follower_limits_its_waiting_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "WAITING_READS_MAX", 3)
    cluster = led_by(A, B, C)
    for number in range(4):
        cluster.read(B, number)
    assert len(cluster.sent(ForwardRead)) == 4
    assert cluster[B].told(ReadFailed) == [ReadFailed(0)], "the oldest gives way"


def test_a_leader_limits_its_waiting_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "WAITING_READS_MAX", 3)
    cluster = led_by(A, B, C)
    for number in range(6):  # one in the current round, three for the next, two too many
        cluster.inject(B, A, ForwardRead(number))
    assert cluster.sent(ReadRefused) == [ReadRefused(4), ReadRefused(5)]


def test_a_read_with_side_effects_waits_for_its_confirmation() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, Read(1, b"backup", ahead=False))
    assert list(cluster[A].disk.unwritten) == []
    confirm(cluster, B)
    assert list(cluster[A].disk.unwritten) == [ReadAt(1, 1, b"backup", confirmed=True)]
    assert cluster[A].told(ReadsConfirmed) == []
