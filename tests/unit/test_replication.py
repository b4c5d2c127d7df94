"""Replication: logs converge, and entries on a majority of disks are committed."""

import pytest

from protocol.entry import EntryKind, LogEntry, payload_bytes
from protocol.messages.gateway import Refused
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    ForwardProposal,
    Heartbeat,
    HeartbeatReply,
    ProposalRefused,
)
from protocol.messages.replicator import CommitNoticeDue, LogSlice, StepAside
from protocol.messages.storage import Commit, FetchLog
from protocol.raft import log, proposals, replication
from protocol.raft.progress import IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MESSAGES_MAX
from protocol.refusal import Refusal
from tests.harness.raft_cluster import A, B, C, Cluster, Machine, led_by, with_logs


def entries(*terms: int, after: int = 0) -> tuple[LogEntry, ...]:
    return tuple(
        LogEntry(index, term, EntryKind.NO_OP) for index, term in enumerate(terms, start=after + 1)
    )


def payloads(machine: Machine) -> list[bytes]:
    return [entry.payload for entry in machine.disk.entries]


# --- a follower's log


def test_a_leaders_entries_reach_every_disk_in_order() -> None:
    cluster = led_by(A, B, C)
    for payload in (b"x", b"y", b"z"):
        cluster.propose(A, payload)
    cluster.settle()
    for machine in cluster.alive:
        assert payloads(machine) == [b"", b"x", b"y", b"z"]
        assert machine.disk.applied_index == 4


def test_entries_after_a_gap_are_refused_with_the_end_of_the_log() -> None:
    cluster = with_logs({A: (1, 1), B: (), C: ()})
    cluster.inject(B, A, AppendEntries(1, 5, 1, entries(1, after=5), 0))
    assert cluster.sent() == [AppendEntriesReply(1, False, 5, hint_index=2, hint_term=1)]
    assert cluster[A].log_terms == [1, 1]


def test_conflicting_entries_are_replaced_with_all_that_follow() -> None:
    cluster = with_logs({A: (1, 2, 2, 2), B: (), C: ()}, term=3)
    cluster.inject(B, A, AppendEntries(3, 1, 1, entries(3, 3, after=1), 0))
    assert cluster[A].log_terms == [1, 3, 3]
    cluster.sync(A)
    assert [entry.term for entry in cluster[A].disk.entries] == [1, 3, 3]


def test_entries_already_held_are_not_replaced() -> None:
    cluster = with_logs({A: (1, 1, 1), B: (), C: ()})
    cluster.inject(B, A, AppendEntries(1, 0, 0, entries(1), 0))
    assert cluster[A].log_terms == [1, 1, 1]
    assert cluster.sent(AppendEntriesReply) == [AppendEntriesReply(1, accepted=True, index=1)]


def test_a_follower_commits_no_further_than_the_last_entry_it_was_sent() -> None:
    # The last two entries of A's log are not in the leader's.
    cluster = with_logs({A: (1, 2, 2), B: (), C: ()}, term=3)
    cluster.inject(B, A, AppendEntries(3, 1, 1, (), 3))
    assert cluster[A].commit_index == 1
    cluster.inject(B, A, AppendEntries(3, 1, 1, entries(3, after=1), 3))
    assert cluster[A].commit_index == 2


@pytest.mark.parametrize(("index", "committed"), [(2, 2), (3, 0), (1 << 61, 0)])
def test_a_heartbeat_that_knows_of_more_than_this_log_commits_nothing(
    index: int, committed: int
) -> None:
    cluster = with_logs({A: (1, 1), B: (), C: ()})
    cluster.inject(B, A, Heartbeat(1, 0, index))
    assert cluster[A].commit_index == committed
    assert cluster.sent(HeartbeatReply, sender=A), "it follows nevertheless"


def test_the_commit_index_of_a_heartbeat_is_bounded_by_the_match_index() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    cluster.propose(A, b"x")
    cluster.settle()
    cluster.heal()
    cluster.beat(A)
    assert [each.commit_index for each in cluster.sent(Heartbeat, to=B)] == [2]
    assert [each.commit_index for each in cluster.sent(Heartbeat, to=C)] == [1]


def test_the_commit_index_never_decreases() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.settle()
    cluster.inject(A, B, Heartbeat(1, 0, 1))
    cluster.inject(A, B, AppendEntries(1, 1, 1, (), 1))
    assert cluster[B].commit_index == 2


def test_an_idle_leader_sends_the_commit_index_when_a_notice_is_due() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    for node in (B, C):
        cluster.deliver(to=node)
        cluster.sync(node)
    cluster.deliver(to=A)
    assert cluster[A].core.owes_commit_notice
    assert cluster.sent(Heartbeat) == []
    cluster.step(A, CommitNoticeDue())
    cluster.deliver(Heartbeat)
    assert not cluster[A].core.owes_commit_notice
    assert {machine.commit_index for machine in cluster.alive} == {2}


def test_the_follower_that_proposed_receives_the_commit_index_immediately() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(B, b"x")
    cluster.deliver(ForwardProposal)
    cluster.sync(A)
    for node in (B, C):
        cluster.deliver(AppendEntries, to=node)
        cluster.sync(node)
    cluster.deliver(AppendEntriesReply)
    assert [each.commit_index for each in cluster.sent(Heartbeat, to=B)] == [2]
    assert cluster.sent(Heartbeat, to=C) == []


# --- finding the last matching entry


def test_a_new_leader_begins_its_term_with_a_no_op_entry() -> None:
    cluster = led_by(A, B, C)
    cluster.elect(B)
    assert [entry.term for entry in cluster[C].disk.entries] == [1, 2]
    assert cluster[C].disk.entries[-1].kind is EntryKind.NO_OP


def test_entries_of_earlier_terms_are_not_committed_by_counting() -> None:
    # Figure 8 (§5.4.2): a majority holds A's entry of term 2, which C's of term 3 may replace.
    cluster = with_logs({A: (1, 2), B: (1,), C: (1, 3)}, term=3)
    cluster.crash(C)
    cluster.elect_without_replication(A, votes_of=[B])
    term = cluster[A].core.term
    cluster.inject(A, B, AppendEntries(term, 1, 1, (cluster[A].disk.entries[1],), 0))
    cluster.sync(A, B)
    assert cluster.deliver(AppendEntriesReply, to=A) == 1
    assert cluster[A].commit_index == 0
    cluster.beat(A)
    cluster.settle()
    assert cluster[A].commit_index == 3


def test_an_uncommitted_entry_on_a_majority_may_be_replaced() -> None:
    cluster = with_logs({A: (1, 2), B: (1, 2), C: (1, 3)}, term=3)
    cluster.crash(A)
    cluster.elect(C)
    cluster.start(A)
    cluster.beat(C)
    cluster.settle()
    assert cluster[A].log_terms == cluster[B].log_terms == [1, 3, 4]


@pytest.mark.parametrize(
    "follower",
    [
        (),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    ],
)
def test_a_follower_diverged_as_in_figure_7_converges(follower: tuple[int, ...]) -> None:
    leader = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
    cluster = with_logs({A: leader, B: follower, C: leader}, term=7)
    cluster.elect(A, among=[C])
    cluster.beat(A)
    cluster.settle()
    assert cluster[B].log_terms == [*leader, 8]
    assert cluster[B].disk.entries == cluster[A].disk.entries


def test_a_diverged_log_is_searched_term_by_term_not_entry_by_entry() -> None:
    cluster = with_logs({A: (1,) * 10 + (5,) * 500, B: (1,) * 10 + (4,) * 500, C: ()})
    cluster.elect(A, among=[C])
    refused = 0
    cluster.beat(A)
    while cluster[B].log_terms != cluster[A].log_terms:
        refused += len([each for each in cluster.sent(AppendEntriesReply) if not each.accepted])
        assert cluster.deliver()
        cluster.sync()
    assert refused <= 3


def test_a_late_refusal_does_not_undo_an_agreement() -> None:
    cluster = led_by(A, B, C)
    for payload in (b"x", b"y"):
        cluster.propose(A, payload)
    cluster.settle()
    cluster.inject(B, A, AppendEntriesReply(1, accepted=False, index=2))
    cluster.inject(B, A, AppendEntriesReply(1, accepted=False, index=3))
    cluster.propose(A, b"z")
    assert cluster.sent(AppendEntries, to=B) == [
        AppendEntries(1, 3, 1, (LogEntry(4, 1, EntryKind.BATCH, b"z"),), 3)
    ]


# --- loss, duplication, reordering


def test_lost_entries_are_sent_again_after_a_heartbeat() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.drop()
    cluster.propose(A, b"y")
    cluster.drop()
    cluster.beat(A)
    cluster.settle()
    assert payloads(cluster[B]) == payloads(cluster[C]) == [b"", b"x", b"y"]
    assert cluster[A].commit_index == 3


def test_lost_probes_are_sent_again_after_a_heartbeat() -> None:
    cluster = with_logs({A: (1, 2), B: (1,), C: (1, 2)})
    cluster.crash(B)
    cluster.elect(A)
    cluster.start(B)
    cluster.drop()
    cluster.beat(A)
    cluster.settle()
    assert cluster[B].log_terms == [1, 2, 3]


def test_lost_acceptances_are_sent_again_after_a_heartbeat() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.sync(A)
    for node in (B, C):
        cluster.deliver(to=node)
        cluster.sync(node)
    cluster.drop(AppendEntriesReply)
    cluster.beat(A)
    cluster.settle()
    assert cluster[A].commit_index == 2


def test_an_unresponsive_follower_is_sent_a_limited_number_of_messages() -> None:
    cluster = led_by(A, B, C)
    cluster.settle()
    for _ in range(2 * IN_FLIGHT_MESSAGES_MAX):
        cluster.propose(A, b"x")
    assert len(cluster.sent(AppendEntries, to=B)) == IN_FLIGHT_MESSAGES_MAX
    cluster.drop()
    cluster.beat(A)
    cluster.settle()
    assert cluster[B].disk.last_index == 1 + 2 * IN_FLIGHT_MESSAGES_MAX


def test_an_unresponsive_follower_is_sent_a_limited_number_of_bytes() -> None:
    cluster = led_by(A, B, C)
    cluster.settle()
    large = IN_FLIGHT_BYTES_MAX // 4
    for _ in range(8):
        cluster.propose(A, b"x" * large)
    sent = [payload_bytes(each.entries) for each in cluster.sent(AppendEntries, to=B)]
    assert sum(sent) == IN_FLIGHT_BYTES_MAX
    cluster.settle()
    assert cluster[B].disk.last_index == 1 + 8


def test_duplicated_and_reordered_messages_are_harmless() -> None:
    cluster = led_by(A, B, C)
    for payload in (b"x", b"y", b"z"):
        cluster.propose(A, payload)
    for _ in range(10):
        cluster.sync()
        packets = cluster.take()
        for packet in [*reversed(packets), *packets]:
            cluster.arrive(packet)
        cluster.beat(A)
    cluster.settle()
    assert payloads(cluster[B]) == payloads(cluster[C]) == [b"", b"x", b"y", b"z"]
    assert {machine.commit_index for machine in cluster.alive} == {4}


def test_entries_of_a_deposed_leader_are_refused() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A}, {B, C})
    cluster.elect(B, among=[C])
    cluster.heal()
    cluster.propose(A, b"too late")
    cluster.deliver(AppendEntries, sender=A)
    assert [each.accepted for each in cluster.sent(AppendEntriesReply, to=A)] == [False, False]
    cluster.beat(B)
    cluster.settle()
    assert b"too late" not in payloads(cluster[A])
    assert cluster.leaders == [B]


def test_append_entries_messages_are_split_at_the_size_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replication, "APPEND_BYTES_MAX", 1000)
    cluster = led_by(A, B, C)
    cluster.partition({A, C}, {B})
    for _ in range(20):
        cluster.propose(A, b"x" * 100)
    cluster.propose(A, b"y" * 2000)
    cluster.settle()
    cluster.heal()
    cluster.beat(A)
    cluster.deliver(Heartbeat)
    cluster.deliver(HeartbeatReply)
    cluster.deliver(AppendEntries)
    cluster.deliver(AppendEntriesReply)
    sizes = [len(each.entries) for each in cluster.sent(AppendEntries, to=B)]
    assert max(sizes) == 3
    cluster.settle()
    assert cluster[B].disk.last_index == 22


# --- followers far behind


def test_a_follower_behind_the_window_is_served_from_disk() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    for number in range(10):
        cluster.propose(A, b"%d" % number)
    cluster.settle()
    cluster.propose(A, b"told by whom")
    cluster.settle()
    cluster.crash(C)
    cluster.restart(A, B, window_entries=0)
    cluster.elect(A)
    cluster.start(C)
    cluster.heal()
    cluster.beat(A)
    for node in (C, A, C, A):
        cluster.deliver(to=node)
        cluster.sync(C)
    assert FetchLog(C, 2, replication.APPEND_BYTES_MAX, 0) in cluster[A].disk.unwritten
    cluster.settle()
    assert cluster[C].disk.entries == cluster[A].disk.entries


def test_entries_that_left_the_window_are_fetched_from_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "WINDOW_BYTES_MAX", 5 * log.ENTRY_OVERHEAD_BYTES)
    monkeypatch.setattr(replication, "APPEND_BYTES_MAX", 2 * log.ENTRY_OVERHEAD_BYTES)
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    for number in range(50):
        cluster.propose(A, b"%d" % number)
        cluster.settle()
    assert len(cluster[A].log_terms) == 4
    cluster.heal()
    cluster.beat(A)
    cluster.settle()
    assert cluster[C].disk.entries == cluster[A].disk.entries


def test_entries_read_for_an_obsolete_request_are_not_sent() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.settle()
    cluster.step(A, LogSlice(B, 0, 0, entries(1)))
    cluster.step(A, LogSlice(b"stranger", 0, 0, entries(1)))
    cluster.step(B, LogSlice(A, 0, 0, entries(1)))
    assert cluster.sent() == []


# --- proposals


def test_a_followers_proposal_is_forwarded_to_the_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(B, b"x", number=7)
    assert cluster.sent() == [ForwardProposal(7, b"x")]
    cluster.settle()
    assert payloads(cluster[C])[-1] == b"x"
    assert cluster[B].told(Refused) == []


def test_a_proposal_without_a_leader_is_refused() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.propose(B, b"x", number=7)
    assert cluster[B].told(Refused) == [Refused(7, Refusal.NOT_LEADER)]


def test_a_proposal_forwarded_to_a_non_leader_is_refused() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(B, b"x", number=7)
    cluster.take(ForwardProposal)
    cluster.inject(B, C, ForwardProposal(7, b"x"))
    assert cluster.sent() == [ProposalRefused(7, Refusal.NOT_LEADER)]
    cluster.settle()
    assert cluster[B].told(Refused) == [Refused(7, Refusal.NOT_LEADER)]


def test_a_leader_that_steps_aside_refuses_proposals_and_appends_none() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, StepAside())
    cluster.propose(A, b"x", number=7)
    cluster.inject(B, A, ForwardProposal(8, b"y"))
    assert cluster[A].told(Refused) == [Refused(7, Refusal.NOT_LEADER)]
    assert cluster.sent(ProposalRefused, to=B) == [ProposalRefused(8, Refusal.NOT_LEADER)]
    assert cluster[A].last_index == 1


def test_proposals_are_refused_while_too_much_is_uncommitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proposals, "UNCOMMITTED_BYTES_MAX", 100)
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x" * 101, number=1)
    cluster.propose(A, b"y", number=2)
    cluster.inject(B, A, ForwardProposal(3, b"z"))
    assert cluster[A].told(Refused) == [Refused(2, Refusal.OVERLOADED)]
    assert cluster.sent(ProposalRefused) == [ProposalRefused(3, Refusal.OVERLOADED)]
    cluster.settle()
    cluster.propose(A, b"y", number=4)
    assert cluster[A].last_index == 3


def test_uncommitted_entries_of_earlier_terms_count_towards_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proposals, "UNCOMMITTED_BYTES_MAX", 100)
    cluster = led_by(A, B, C)
    cluster.partition({A}, {B, C})
    cluster.propose(A, b"x" * 101)
    cluster.sync(A)
    cluster.heal()
    cluster.elect(A)
    cluster.partition({A}, {B, C})
    cluster.propose(A, b"y" * 101, number=1)
    cluster.propose(A, b"z", number=2)
    assert cluster[A].told(Refused) == [Refused(2, Refusal.OVERLOADED)]


# --- applying


def test_a_commit_is_passed_to_storage_after_the_entries_it_covers() -> None:
    cluster = with_logs({A: (1,), B: (), C: ()})
    cluster.inject(B, A, AppendEntries(1, 1, 1, entries(1, 1, after=1), 3))
    handed = [type(message).__name__ for message in cluster[A].disk.unwritten]
    assert handed == ["Append", "Commit"]
    assert cluster[A].disk.unwritten[-1] == Commit(3)
