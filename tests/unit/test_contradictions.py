"""Contradictions: a message that no correct node sends is refused and logged, and ends no node."""

from typing import Any

import pytest

from protocol.entry import EntryKind, LogEntry
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PeerMessage,
    ReadIndex,
    TimeoutNow,
)
from protocol.raft.outbox import Complaint
from protocol.snapshot import SnapshotChunk, SnapshotId, SnapshotPosition
from tests.harness.raft_cluster import A, B, C, Cluster, frame_of, led_by

FAR = 1 << 61


def entries(*places: tuple[int, int]) -> tuple[LogEntry, ...]:
    return tuple(LogEntry(index, term, EntryKind.BATCH, b"other") for index, term in places)


def chunk(start: SnapshotId, end: SnapshotId) -> SnapshotChunk:
    return SnapshotChunk(SnapshotPosition(start), b"\x90", SnapshotPosition(end), last=True)


@pytest.fixture
def cluster() -> Cluster:
    """Return a cluster with leader A in term 1 and three committed entries on all nodes."""
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.propose(A, b"y")
    cluster.settle()
    assert {machine.commit_index for machine in cluster.alive} == {3}
    return cluster


def deliver(cluster: Cluster, node: bytes, sender: bytes, message: PeerMessage) -> list[Complaint]:
    """Deliver a message; return the node's complaints."""
    core = cluster[node].core
    core.set_time(cluster[node].now)
    core.receive(frame_of(sender, message))
    complaints = core._state.outbox.complaints.copy()
    cluster.turn(node, lambda _: None)
    return complaints


AGAINST_FOLLOWERS: list[tuple[bytes, Any, str]] = [
    (A, AppendEntries(1, 1, 1, entries((2, 2)), 0), "entry 2 of term 2"),
    (A, AppendEntries(2, 1, 1, entries((2, 2)), 0), "term 1 is committed"),
    (A, AppendEntries(2, 0, 0, entries((1, 1), (2, 1), (3, 2), (4, 2)), 0), "term 1 is committed"),
    (A, AppendEntries(2, 2, 2, (), 0), "term 1 is committed"),
    (A, AppendEntries(1, 0, 7, (), 0), "is committed"),
    (A, AppendEntries(1, 3, 1, entries((5, 1)), 0), "entry 5 of term 1 after 3"),
    (A, AppendEntries(1, 3, 1, entries((4, 1), (6, 1)), 0), "entry 6 of term 1 after 4"),
    (A, AppendEntries(1, 3, 1, entries((4, 1), (4, 1)), 0), "entry 4 of term 1 after 4"),
    (A, AppendEntries(2, 3, 1, entries((4, 2), (5, 1)), 0), "entry 5 of term 1 after 4 of 2"),
    (A, AppendEntries(1, 3, 1, entries((0, 1)), 0), "entry 0"),
    (A, AppendEntries(1, FAR, 1, entries((FAR, 1)), FAR), "entry"),
    (C, AppendEntries(1, 3, 1, (), 0), "claims to lead term 1"),
    (C, Heartbeat(1, 1, 3), "claims to lead term 1"),
    (C, TimeoutNow(1), "claims to lead term 1"),
    (A, InstallSnapshot(1, chunk(SnapshotId(9, 2), SnapshotId(9, 2))), "impossible chunk"),
    (A, InstallSnapshot(1, chunk(SnapshotId(9, 1), SnapshotId(8, 1))), "impossible chunk"),
]


@pytest.mark.parametrize(("sender", "message", "reason"), AGAINST_FOLLOWERS, ids=repr)
def test_a_follower_refuses_and_reports_a_contradiction(
    cluster: Cluster, sender: bytes, message: PeerMessage, reason: str
) -> None:
    before = cluster[B].log_terms
    (complaint,) = deliver(cluster, B, sender, message)
    assert complaint.sender == sender
    assert reason in complaint.sentence
    assert cluster[B].log_terms == before
    assert cluster[B].commit_index == 3
    assert not cluster.sent(AppendEntriesReply, sender=B)
    cluster.drop()
    cluster.go_quiet(A, B, C)
    while not cluster[C].core.leads:
        cluster.time_out(C)  # again with a newer term
        cluster.settle()
    assert cluster[B].commit_index > 3, "it goes on"


AGAINST_LEADERS: list[Any] = [
    AppendEntriesReply(1, True, 4),
    AppendEntriesReply(1, True, FAR),
    AppendEntriesReply(1, False, FAR, FAR, FAR),
    HeartbeatReply(1, FAR),
    HeartbeatReply(1, 0, FAR, FAR),
    Heartbeat(1, 1, 3),
    AppendEntries(1, 3, 1, (), 3),
]


@pytest.mark.parametrize("message", AGAINST_LEADERS, ids=repr)
def test_a_leader_refuses_a_contradiction_and_keeps_leading(
    cluster: Cluster, message: PeerMessage
) -> None:
    (complaint,) = deliver(cluster, A, B, message)
    assert complaint.sender == B
    assert cluster[A].core.leads
    progress = cluster[A].core._state.role.progress[B]  # type: ignore[union-attr]
    assert (progress.match_index, progress.next_index) == (3, 4)
    assert progress.leader_lease_until < FAR
    assert progress.confirmed_round < FAR
    cluster.propose(A, b"z")
    cluster.settle()
    assert cluster[B].commit_index == 4


def test_a_restarted_node_does_not_replace_a_committed_membership(cluster: Cluster) -> None:
    cluster.remove(C, through=A)
    cluster.settle()
    cluster[B].disk._applied_durably = 0
    cluster.restart(B)
    assert cluster[B].commit_index == 0
    (complaint,) = deliver(cluster, B, A, AppendEntries(2, 1, 1, entries((2, 2)), 0))
    assert "is committed" in complaint.sentence


def test_a_read_index_from_a_node_other_than_the_leader_is_ignored(cluster: Cluster) -> None:
    cluster.read(B, 7)
    deliver(cluster, B, C, ReadIndex(7, 0))
    cluster.sync(B)
    assert not cluster[B].served
    cluster.settle()
    assert [read.number for read in cluster[B].served] == [7]
