"""Snapshots in the Raft core: sending them to a follower far behind, and installing them."""

from typing import Any

import pytest

from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
)
from protocol.messages.replicator import (
    ChunkStaged,
    HeartbeatDue,
    LogCompacted,
    LogSlice,
    QuorumCheckDue,
    SnapshotInstalled,
    SnapshotRead,
)
from protocol.messages.storage import (
    Append,
    Commit,
    EndSnapshot,
    FetchLog,
    FetchSnapshot,
    StageChunk,
)
from protocol.raft.log import Log
from protocol.raft.progress import CHUNK_BEATS_MAX, SILENT_CHECKS_MAX, ProgressState
from protocol.raft.roles import Leader
from protocol.snapshot import SnapshotChunk, SnapshotId, SnapshotPosition
from protocol.wire import encode
from tests.harness.raft_cluster import A, B, C, Cluster, D, led_by, with_logs

HERE = SnapshotId(3, 1)
START = SnapshotPosition(HERE)
MIDDLE = SnapshotPosition(HERE, b"\0m", 1)
END = SnapshotPosition(HERE, b"\2z", 2)
FIRST, LAST = SnapshotChunk(START, b"", MIDDLE, False), SnapshotChunk(MIDDLE, b"", END, True)


def asked(cluster: Cluster, node: NodeId, kind: type[Any]) -> list[Any]:
    """Take a node's requests of one kind to its disk."""
    unwritten = cluster[node].disk.unwritten
    found = [each for each in unwritten if isinstance(each, kind)]
    for each in found:
        unwritten.remove(each)
    return found


def leader_of(cluster: Cluster, node: NodeId) -> Leader:
    role = cluster[node].core._state.role
    assert isinstance(role, Leader)
    return role


@pytest.fixture
def sending() -> Cluster:
    """Return a cluster whose leader A starts to send a snapshot to B."""
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.propose(A, b"y")
    cluster.settle(A, C)
    cluster.drop()
    leader_of(cluster, A).progress[B].next_index = 1
    cluster.step(A, LogCompacted(B, 1))
    assert asked(cluster, A, FetchSnapshot) == [FetchSnapshot(B, None)]
    cluster.step(A, SnapshotRead(B, FIRST))
    assert cluster.take(InstallSnapshot, to=B)[0].message == InstallSnapshot(1, FIRST)
    return cluster


def answer(cluster: Cluster, position: SnapshotPosition, *, term: int = 1) -> list[Any]:
    """Deliver B's reply; return A's next requests to its disk."""
    cluster.inject(B, A, InstallSnapshotReply(term, position))
    return asked(cluster, A, FetchSnapshot)


# --- the leader starts


def test_an_obsolete_compaction_report_starts_no_snapshot() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, LogCompacted(B, 1))
    cluster.step(A, LogCompacted(D, 1))
    assert leader_of(cluster, A).progress[B].next_index != 1
    assert asked(cluster, A, FetchSnapshot) == []


def test_a_deposed_leader_sends_no_snapshot(sending: Cluster) -> None:
    cluster = sending
    cluster.inject(C, A, HeartbeatReply(7, 0))
    for late in (LogCompacted(C, 1), SnapshotRead(B, LAST)):
        cluster.step(A, late)
    cluster.inject(B, A, InstallSnapshotReply(7, MIDDLE))
    assert asked(cluster, A, FetchSnapshot) == []
    assert cluster.sent(InstallSnapshot) == []


def test_a_second_compaction_report_starts_no_second_snapshot(sending: Cluster) -> None:
    sending.step(A, LogCompacted(B, 1))
    assert asked(sending, A, FetchSnapshot) == []


def test_no_entries_are_sent_during_a_snapshot(sending: Cluster) -> None:
    sending.propose(A, b"z")
    sending.beat(A)
    sending.inject(B, A, HeartbeatReply(1, 0))
    assert sending.sent(AppendEntries, to=B) == []
    assert len(sending.sent(AppendEntries, to=C)) == 1
    assert len(sending.sent(Heartbeat, to=B)) == 1
    assert asked(sending, A, FetchLog) == []


def test_late_append_replies_do_not_end_a_snapshot(sending: Cluster) -> None:
    sending.inject(B, A, AppendEntriesReply(1, False, 3, 0, 0))
    assert leader_of(sending, A).progress[B].state is ProgressState.SNAPSHOT
    sending.inject(B, A, AppendEntriesReply(1, True, 1))
    assert leader_of(sending, A).progress[B].state is ProgressState.SNAPSHOT
    assert sending.sent(AppendEntries, to=B) == []


# --- the leader continues


def test_each_reply_requests_the_chunk_that_the_follower_names(sending: Cluster) -> None:
    assert answer(sending, MIDDLE) == [FetchSnapshot(B, MIDDLE)]
    sending.step(A, SnapshotRead(B, LAST))
    assert sending.sent(InstallSnapshot) == [InstallSnapshot(1, LAST)]
    assert answer(sending, START) == [FetchSnapshot(B, START)], "its disk has forgotten"


def test_a_reply_without_progress_requests_no_chunk(sending: Cluster) -> None:
    assert answer(sending, START) == []
    assert answer(sending, MIDDLE) == [FetchSnapshot(B, MIDDLE)]
    assert answer(sending, MIDDLE) == []


def test_a_reply_of_an_older_term_requests_no_chunk(sending: Cluster) -> None:
    sending.elect(C)
    sending.elect(A)
    sending.drop()
    leader_of(sending, A).progress[B].begin_snapshot()
    assert answer(sending, MIDDLE) == []


def test_a_chunk_without_a_reply_is_sent_again_after_some_heartbeats(sending: Cluster) -> None:
    for _ in range(CHUNK_BEATS_MAX - 1):
        sending.step(A, HeartbeatDue())
    assert asked(sending, A, FetchSnapshot) == []
    sending.step(A, HeartbeatDue())
    assert asked(sending, A, FetchSnapshot) == [FetchSnapshot(B, START)]


def test_a_reply_restarts_the_wait_for_the_next_chunk(sending: Cluster) -> None:
    for _ in range(CHUNK_BEATS_MAX - 1):
        sending.step(A, HeartbeatDue())
    answer(sending, MIDDLE)
    sending.step(A, HeartbeatDue())
    assert asked(sending, A, FetchSnapshot) == []


def test_a_snapshot_no_longer_held_by_storage_is_restarted(sending: Cluster) -> None:
    answer(sending, MIDDLE)
    sending.step(A, SnapshotRead(B, None))
    assert asked(sending, A, FetchSnapshot) == [FetchSnapshot(B, None)]
    assert sending.sent(InstallSnapshot) == []


# --- the leader ends


def test_a_follower_with_the_snapshot_receives_the_entries_after_it(sending: Cluster) -> None:
    sending.propose(A, b"z")
    sending.drop()
    sending.inject(B, A, AppendEntriesReply(1, True, HERE.index))
    (message,) = sending.sent(AppendEntries, to=B)
    assert (message.prev_index, message.prev_term) == (HERE.index, HERE.term)
    assert [each.payload for each in message.entries] == [b"z"]
    assert asked(sending, A, EndSnapshot) == [EndSnapshot(B)]


def test_storage_keeps_the_log_until_the_window_covers_the_follower(sending: Cluster) -> None:
    for payload in (b"p", b"q"):
        sending.propose(A, payload)
    sending.settle(A, C)
    state = sending[A].core._state
    state.log = Log(4, 1, state.log.slice(5, 1 << 20))
    sending.inject(B, A, AppendEntriesReply(1, True, HERE.index))
    assert asked(sending, A, EndSnapshot) == []
    (fetch,) = asked(sending, A, FetchLog)
    assert (fetch.from_index, fetch.match_index) == (HERE.index + 1, HERE.index)
    following = tuple(sending[A].disk.entries[HERE.index :])
    sending.step(A, LogSlice(B, HERE.index, HERE.term, following))
    assert asked(sending, A, EndSnapshot) == []
    sending.inject(B, A, AppendEntriesReply(1, True, following[-1].index))
    assert asked(sending, A, EndSnapshot) == [EndSnapshot(B)]


def test_stepping_down_ends_the_snapshots(sending: Cluster) -> None:
    sending.inject(C, A, HeartbeatReply(7, 0))
    assert asked(sending, A, EndSnapshot) == [EndSnapshot(B)]


def test_a_committed_removal_ends_the_snapshot(sending: Cluster) -> None:
    sending.remove(B, through=A)
    assert asked(sending, A, EndSnapshot) == []
    sending.sync(A)
    sending.deliver(to=C)
    sending.sync(C)
    sending.deliver(sender=C)
    assert asked(sending, A, EndSnapshot) == [EndSnapshot(B)]


def test_silence_over_several_quorum_checks_ends_the_snapshot(sending: Cluster) -> None:
    for _ in range(SILENT_CHECKS_MAX):  # the first one counts the replies from before it
        sending.step(A, QuorumCheckDue())
        sending.inject(C, A, HeartbeatReply(1, 0))
        assert asked(sending, A, EndSnapshot) == []
    sending.step(A, QuorumCheckDue())
    assert asked(sending, A, EndSnapshot) == [EndSnapshot(B)]
    assert asked(sending, A, FetchLog) == []
    sending.inject(C, A, HeartbeatReply(1, 0))
    sending.step(A, QuorumCheckDue())
    assert asked(sending, A, EndSnapshot) == []


def test_a_reply_to_a_chunk_counts_as_a_sign_of_life(sending: Cluster) -> None:
    for position in (MIDDLE, MIDDLE, START):
        sending.step(A, QuorumCheckDue())
        sending.inject(B, A, InstallSnapshotReply(1, position))
    sending.step(A, QuorumCheckDue())
    assert leader_of(sending, A).progress[B].state is ProgressState.SNAPSHOT


def test_a_heartbeat_reply_after_silence_starts_a_probe(sending: Cluster) -> None:
    for _ in range(SILENT_CHECKS_MAX + 1):
        sending.inject(C, A, HeartbeatReply(1, 0))
        sending.step(A, QuorumCheckDue())
    sending.drop()
    sending.inject(B, A, HeartbeatReply(1, 0))
    assert len(sending.sent(AppendEntries, to=B)) == 1


# --- the follower


@pytest.fixture
def taking() -> Cluster:
    """Return a cluster whose leader A is about to send a snapshot to B, which has entry 1 only."""
    return with_logs({A: [1, 1, 1], B: [1], C: [1, 1, 1]})


def hand_over(cluster: Cluster, chunk: SnapshotChunk = LAST, *, term: int = 1) -> None:
    cluster.inject(A, B, InstallSnapshot(term, chunk))


def installed(cluster: Cluster, membership: MembershipAt | None = None) -> None:
    """Let B's disk report that the snapshot is installed."""
    brought = membership or MembershipAt(0, cluster[B].core.membership)
    cluster[B].disk.preload([HERE.term] * HERE.index, term=HERE.term)
    cluster.step(B, SnapshotInstalled(HERE.index, HERE.term, brought))


def test_a_chunk_is_passed_to_storage_and_its_sender_is_followed(taking: Cluster) -> None:
    hand_over(taking, FIRST)
    assert asked(taking, B, StageChunk) == [StageChunk(FIRST)]
    assert taking[B].core._state.leader == A
    assert taking.sent(sender=B) == []


def test_the_staged_position_is_reported_to_the_leader(taking: Cluster) -> None:
    hand_over(taking, FIRST)
    taking.step(B, ChunkStaged(MIDDLE))
    assert taking.sent(sender=B, to=A) == [InstallSnapshotReply(1, MIDDLE)]


def test_the_staged_position_is_not_reported_without_a_leader(taking: Cluster) -> None:
    hand_over(taking, FIRST)
    taking.inject(C, B, HeartbeatReply(2, 0))
    taking.step(B, ChunkStaged(MIDDLE))
    assert taking.sent(sender=B) == []


def test_the_reply_to_a_chunk_of_a_newer_term_waits_until_that_term_is_durable(
    taking: Cluster,
) -> None:
    hand_over(taking, FIRST, term=2)
    taking.step(B, ChunkStaged(MIDDLE))
    assert taking.sent(sender=B) == []
    asked(taking, B, StageChunk)
    taking.sync(B)
    assert taking.sent(sender=B, to=A) == [InstallSnapshotReply(2, MIDDLE)]


def test_a_chunk_of_an_older_term_gets_a_reply_with_the_newer_term(taking: Cluster) -> None:
    taking.inject(C, B, HeartbeatReply(2, 0))
    taking.sync(B)
    hand_over(taking, FIRST, term=1)
    assert asked(taking, B, StageChunk) == []
    assert taking.sent(sender=B, to=A) == [HeartbeatReply(2, 0)]


def test_a_snapshot_up_to_the_commit_index_is_accepted_without_storage(taking: Cluster) -> None:
    entries = tuple(taking[A].disk.entries[1:])
    taking.inject(A, B, AppendEntries(1, 1, 1, entries, HERE.index))
    taking.sync(B)
    taking.drop()
    hand_over(taking)
    assert asked(taking, B, StageChunk) == []
    assert taking.sent(sender=B, to=A) == [AppendEntriesReply(1, True, HERE.index)]


def test_storage_is_given_one_chunk_at_a_time(taking: Cluster) -> None:
    hand_over(taking)
    hand_over(taking)
    assert asked(taking, B, StageChunk) == [StageChunk(LAST)]
    installed(taking)
    hand_over(taking)
    taking.sync(B)
    assert taking.sent(sender=B, to=A) == 2 * [AppendEntriesReply(1, True, HERE.index)]


def test_an_installation_begins_the_log_after_the_snapshot(taking: Cluster) -> None:
    hand_over(taking)
    installed(taking)
    log = taking[B].core._state.log
    assert (log.prev_index, log.last_index, log.last_term) == (3, 3, HERE.term)
    assert taking[B].commit_index == HERE.index
    assert asked(taking, B, Commit) == [Commit(HERE.index)]


def test_an_installation_keeps_the_entries_after_the_snapshots_last_one() -> None:
    cluster = with_logs({A: [1, 1, 1, 1], B: [1, 1, 1, 1, 1], C: [1]})
    hand_over(cluster)
    installed(cluster)
    assert cluster[B].log_terms == [1, 1, 1, 1, 1]
    assert cluster[B].commit_index == HERE.index


@pytest.mark.parametrize("terms", [[1], [1, 1], [0, 0, 0], [0, 0, 0, 0, 0]])
def test_an_installation_drops_a_log_without_the_snapshots_last_entry(terms: list[int]) -> None:
    cluster = with_logs({A: [1, 1, 1], B: terms, C: [1]})
    hand_over(cluster)
    installed(cluster)
    assert cluster[B].log_terms == []
    assert cluster[B].last_index == HERE.index


def test_entries_are_dropped_while_storage_stages_a_chunk(taking: Cluster) -> None:
    entries = tuple(taking[A].disk.entries[1:])
    hand_over(taking, FIRST)
    taking.drop()
    taking.inject(A, B, AppendEntries(1, 1, 1, entries, 1))
    assert taking.sent(sender=B) == []
    assert taking[B].last_index == 1
    taking.step(B, ChunkStaged(MIDDLE))
    taking.inject(A, B, AppendEntries(1, 1, 1, entries, 1))
    assert taking[B].last_index == 3


def test_heartbeats_get_replies_but_commit_nothing_while_storage_stages_a_chunk(
    taking: Cluster,
) -> None:
    hand_over(taking, FIRST)
    taking.inject(A, B, Heartbeat(1, 4, 1))
    (beat,) = taking.sent(HeartbeatReply, sender=B, to=A)
    assert beat.round == 4
    assert taking[B].commit_index == 0
    taking.step(B, ChunkStaged(MIDDLE))
    taking.inject(A, B, Heartbeat(1, 5, 1))
    assert taking[B].commit_index == 1


def test_no_membership_is_stored_while_storage_stages_a_chunk() -> None:
    cluster = with_logs({A: [1, 1, 1], B: [1], C: [1]})
    members = cluster[B].core.membership.without(C)
    change = LogEntry(2, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(members)))
    cluster.inject(A, B, AppendEntries(1, 1, 1, (change,), 0))
    cluster.sync(B)
    hand_over(cluster)
    cluster.inject(A, B, Heartbeat(1, 0, 2))
    assert asked(cluster, B, Append) == [], "it would be written over the snapshot's members"


def test_the_membership_comes_with_the_installation(taking: Cluster) -> None:
    fewer = MembershipAt(2, taking[B].core.membership.without(C))
    hand_over(taking)
    installed(taking, fewer)
    assert taking[B].core.membership == fewer.membership
    assert not taking[B].core.removed
    taking.sync(B)
    assert taking[B].disk.memberships == (fewer,)


def test_a_node_missing_from_the_installed_membership_is_removed(taking: Cluster) -> None:
    hand_over(taking)
    installed(taking, MembershipAt(2, taking[B].core.membership.without(B)))
    assert taking[B].core.removed
    assert not taking[B].clock.votes


def test_a_node_that_was_never_a_member_is_not_removed_by_an_installation() -> None:
    cluster = led_by(A, B, C, spare=(D,))
    members = cluster[A].core.membership
    cluster.inject(A, D, InstallSnapshot(1, LAST))
    cluster.step(D, SnapshotInstalled(HERE.index, HERE.term, MembershipAt(2, members)))
    assert cluster[D].core.membership == members
    assert not cluster[D].core.removed


def test_the_acceptance_waits_until_the_installation_is_durable(taking: Cluster) -> None:
    hand_over(taking)
    asked(taking, B, StageChunk)
    installed(taking)
    assert taking.sent(sender=B) == []
    asked(taking, B, Commit)
    taking.sync(B)
    assert taking.sent(sender=B, to=A)[-1] == AppendEntriesReply(1, True, HERE.index)


def test_a_leader_ignores_an_installed_snapshot_and_keeps_its_log() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.propose(A, b"y")
    before = cluster[A].log_terms
    cluster[A].core._state.chunks_staging = 1
    cluster.step(A, SnapshotInstalled(3, 1, MembershipAt(3, Membership())))
    assert cluster[A].log_terms == before
    assert cluster[A].commit_index == 1
    assert cluster[A].core.leads
