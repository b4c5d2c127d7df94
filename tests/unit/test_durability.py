"""Durability: no message is sent before the state it depends on is durable."""

from protocol.entry import EntryKind, LogEntry
from protocol.hard_state import HardState
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    RequestVote,
    RequestVoteReply,
)
from protocol.messages.replicator import Persisted
from protocol.messages.storage import Append
from protocol.raft.durability import STALLED_CHECKS_MAX, Durability
from protocol.state.levels import STATE_LEVEL
from tests.harness.raft_cluster import ELECTION_TIMEOUT_MIN_US, A, B, C, Cluster, led_by

ENTRY = LogEntry(1, 1, EntryKind.NO_OP)
ANSWER = HeartbeatReply(1, 0)


def persisted(number: int) -> Persisted:
    return Persisted(number, incarnation=1, term=1, index=1)


# --- elections


def test_a_candidate_requests_votes_only_when_its_own_is_durable() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.time_out(A)
    cluster.deliver(RequestVote)
    cluster.deliver(RequestVoteReply)
    assert cluster.sent(RequestVote) == []
    cluster.write(A)
    assert cluster.sent(RequestVote) == []
    cluster.acknowledge(A)
    assert cluster.sent(RequestVote) == [RequestVote(1, 0, 0)] * 2


def test_a_vote_is_sent_only_when_it_is_durable() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.inject(A, B, RequestVote(1, 0, 0))
    assert cluster.sent(RequestVoteReply) == []
    cluster.sync(B)
    assert cluster.sent(RequestVoteReply) == [RequestVoteReply(1, granted=True)]


def test_no_reply_is_sent_in_a_term_that_is_not_durable() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.inject(A, B, Heartbeat(4, 1, 0))
    cluster.inject(C, B, RequestVote(4, 0, 0))
    assert cluster.sent() == []
    cluster.sync(B)
    reply = HeartbeatReply(4, 1, 0, ELECTION_TIMEOUT_MIN_US, level=STATE_LEVEL)
    assert cluster.sent(HeartbeatReply) == [reply]


def test_a_single_node_leads_only_when_its_vote_is_durable() -> None:
    cluster = Cluster(A).start()
    assert cluster.leaders == []
    cluster.sync(A)
    assert cluster.leaders == [A]
    cluster.restart(A)
    assert cluster[A].core.term == 2


# --- replication


def test_entries_are_accepted_only_when_they_are_durable() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.deliver(AppendEntries, to=B)
    assert cluster.sent(AppendEntriesReply) == []
    cluster.write(B)
    assert cluster.sent(AppendEntriesReply) == []
    cluster.acknowledge(B)
    assert cluster.sent(AppendEntriesReply) == [AppendEntriesReply(1, accepted=True, index=2)]


def test_entries_received_again_are_accepted_only_when_the_first_copy_is_durable() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    (packet,) = cluster.take(AppendEntries, to=B)
    cluster.arrive(packet)
    cluster.arrive(packet)
    assert cluster.sent(AppendEntriesReply) == []
    cluster.sync(B)
    assert cluster.sent(AppendEntriesReply) == [AppendEntriesReply(1, accepted=True, index=2)] * 2


def test_a_leader_counts_itself_only_when_its_own_disk_holds_the_entry() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    cluster.propose(A, b"x")
    cluster.deliver(to=B)
    cluster.sync(B)
    cluster.deliver(to=A)
    assert cluster[A].commit_index == 1
    cluster.write(A)
    assert cluster[A].commit_index == 1
    cluster.acknowledge(A)
    assert cluster[A].commit_index == 2


def test_two_followers_commit_an_entry_that_the_leader_has_not_written() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.settle(B, C)
    cluster.deliver(to=A)
    assert cluster[A].commit_index == 2
    assert cluster[A].disk.last_index == 1


def test_a_single_node_commits_only_when_its_disk_holds_the_entry() -> None:
    cluster = led_by(A)
    cluster.propose(A, b"x")
    assert cluster[A].commit_index == 1
    cluster.sync(A)
    assert cluster[A].commit_index == 2


def test_a_committed_entry_survives_a_crash_of_all_nodes() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.settle()
    cluster.propose(A, b"y")
    cluster.restart(A, B, C)
    cluster.drop()
    cluster.elect(B)
    assert [entry.payload for entry in cluster[B].disk.entries] == [b"", b"x", b""]


def test_an_entry_lost_in_a_crash_was_never_acknowledged() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.deliver(to=B)
    cluster.restart(B)
    assert cluster[B].last_index == 1
    cluster.sync(A)
    cluster.deliver(to=A)
    assert cluster[A].commit_index == 1


def test_a_late_write_acknowledgement_does_not_cover_replacement_entries() -> None:
    # ABA: C's write of an entry of term 1 is acknowledged after term 2 has replaced the entry.
    cluster = led_by(A, B, C)
    cluster.partition({A, C}, {B})
    cluster.propose(A, b"old")
    cluster.deliver(AppendEntries, to=C)
    cluster.partition({B, C}, {A})
    cluster.write(C)
    (late,) = cluster[C].disk.untold
    cluster[C].disk.untold.clear()
    cluster.inject(B, C, AppendEntries(2, 1, 1, (LogEntry(2, 2, EntryKind.NO_OP),), 1))
    cluster.step(C, late)
    assert cluster.sent(AppendEntriesReply, to=B) == []
    cluster.sync(C)
    assert AppendEntriesReply(2, accepted=True, index=2) in cluster.sent(to=B)


def test_the_acknowledgement_of_an_earlier_write_does_not_cover_a_later_one() -> None:
    cluster = led_by(A, B, C)
    cluster.elect(B)
    cluster.propose(B, b"x")
    cluster.step(B, persisted(1))
    cluster.settle(C)
    cluster.deliver(to=B)
    assert cluster[B].commit_index == 2, "of the majority, only C's disk holds the entry"
    cluster.sync(B)
    assert cluster[B].commit_index == 3


def test_a_write_acknowledgement_of_an_earlier_incarnation_is_ignored() -> None:
    cluster = Cluster(A).start()
    cluster.write(A)
    (former,) = cluster[A].disk.untold
    cluster.restart(A)
    cluster.step(A, former)
    assert cluster.leaders == []


# --- the bookkeeping


def test_promises_of_a_turn_wait_for_the_turns_write() -> None:
    durability = Durability()
    durability.write_entries([ENTRY])
    durability.promise(B, ANSWER)
    assert durability.take_write(1, 1) == Append(1, None, (ENTRY,), None)
    assert durability.take_ready() == []
    assert durability.acknowledge(persisted(1)) == ([(B, ANSWER)], (1, 1))


def test_promises_of_a_turn_without_a_write_wait_for_earlier_writes() -> None:
    durability = Durability()
    durability.write_entries([ENTRY])
    durability.take_write(1, 1)
    durability.promise(B, ANSWER)
    assert durability.take_write(1, 1) is None
    assert durability.take_ready() == []
    assert durability.acknowledge(persisted(1))[0] == [(B, ANSWER)]


def test_promises_are_released_immediately_if_no_write_is_pending() -> None:
    durability = Durability()
    durability.promise(B, ANSWER)
    assert durability.take_write(0, 0) is None
    assert durability.take_ready() == [(B, ANSWER)]


def test_one_acknowledgement_covers_all_earlier_writes() -> None:
    durability = Durability()
    for term in (1, 2, 3):
        durability.write_hard_state(HardState(term))
        durability.promise(B, HeartbeatReply(term, 0))
        durability.take_write(0, 0)
    released, _ = durability.acknowledge(persisted(2))
    assert released == [(B, HeartbeatReply(1, 0)), (B, HeartbeatReply(2, 0))]
    assert not durability.hard_state_durable
    durability.acknowledge(persisted(3))
    assert durability.hard_state_durable


def test_idle_storage_is_probed_with_an_empty_write() -> None:
    durability = Durability()
    durability.check()
    assert durability.take_write(4, 2) == Append(1, None, (), None)
    assert durability.take_write(4, 2) is None, "once is enough"


def test_storage_counts_as_stalled_after_many_checks_until_it_acknowledges() -> None:
    durability = Durability()
    durability.check()
    durability.take_write(0, 0)
    for _ in range(STALLED_CHECKS_MAX):
        assert not durability.stalled
        durability.check()
        assert durability.take_write(0, 0) is None
    assert durability.stalled
    durability.acknowledge(persisted(1))
    assert not durability.stalled


def test_checks_due_at_the_same_time_do_not_make_storage_count_as_stalled() -> None:
    durability = Durability()
    for _ in range(2 * STALLED_CHECKS_MAX):
        durability.check()
    assert not durability.stalled
    assert durability.take_write(0, 0) is not None
    for _ in range(2 * STALLED_CHECKS_MAX):
        durability.check()
    assert not durability.stalled


def test_a_backlog_that_makes_progress_does_not_count_as_stalled() -> None:
    durability = Durability()
    for term in range(1, 20):
        durability.write_hard_state(HardState(term))
        durability.take_write(0, 0)
    for number in range(1, 10):
        durability.check()
        assert not durability.stalled
        durability.acknowledge(persisted(number))


def test_entries_replaced_within_a_turn_are_not_written() -> None:
    durability = Durability()
    durability.write_entries([ENTRY, LogEntry(2, 1, EntryKind.NO_OP)])
    durability.write_entries([LogEntry(2, 2, EntryKind.NO_OP)])
    write = durability.take_write(2, 2)
    assert write is not None
    assert write.entries == (ENTRY, LogEntry(2, 2, EntryKind.NO_OP))
