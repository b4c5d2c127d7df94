"""Leader lease: a leader serves reads by its own clock while it holds a lease, and no longer."""

import itertools

import pytest

from protocol.entry import EntryKind, LogEntry
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import ReadFailed
from protocol.messages.peer import (
    AppendEntriesReply,
    ForwardRead,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadRefused,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.messages.replicator import Read, StepAside
from protocol.messages.storage import ReadAt
from protocol.raft.clock_rates import LEASE_SHARE
from protocol.raft.roles import Leader
from tests.harness.raft_cluster import (
    ELECTION_TIMEOUT_MIN_US,
    A,
    B,
    C,
    Cluster,
    D,
    E,
    address_of,
    frame_of,
    led_by,
)

LEASE = int(ELECTION_TIMEOUT_MIN_US * LEASE_SHARE)
NUMBERS = itertools.count(100)


def bind(cluster: Cluster, *nodes: bytes, leader: bytes = A) -> None:
    """Exchange a heartbeat round between the leader and these nodes only."""
    cluster.beat(leader)
    for node in nodes:
        cluster.deliver(Heartbeat, to=node)
        cluster.deliver(HeartbeatReply, sender=node)
    cluster.drop()


def is_served_at_once(cluster: Cluster, node: bytes = A) -> bool:
    """Request a leader-lease read; return whether it is served without a round."""
    number = next(NUMBERS)
    cluster.read_by_lease(node, number)
    asked = [each for each in cluster[node].disk.unwritten if isinstance(each, ReadAt)]
    return any(each.confirmed and each.number == number for each in asked)


def test_a_lease_read_needs_no_quorum_round_while_the_leader_holds_a_lease() -> None:
    cluster = led_by(A, B, C)
    bind(cluster, B)
    cluster[A].now += LEASE - 1
    assert is_served_at_once(cluster)
    assert cluster.sent() == []
    cluster[A].now += 1
    assert not is_served_at_once(cluster)
    assert cluster.sent(Heartbeat)


def test_without_a_lease_a_lease_read_is_confirmed_by_a_quorum_round() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += LEASE
    cluster.read_by_lease(A, 1)
    assert list(cluster[A].disk.unwritten) == [ReadAt(1, 1, b"", confirmed=False)]
    cluster.settle()
    assert [(read.number, read.index) for read in cluster[A].served] == [(1, 1)]


def test_a_linearizable_read_needs_a_quorum_round_despite_a_lease() -> None:
    cluster = led_by(A, B, C)
    bind(cluster, B, C)
    cluster.read(A, 1)
    cluster.write(A)
    assert cluster[A].served == []
    cluster.settle()
    assert len(cluster[A].served) == 1


def test_a_lease_is_checked_against_the_time_after_the_last_arrival() -> None:
    # The process is stopped within a turn, and then finds a read that has just arrived.
    cluster = led_by(A, B, C)
    bind(cluster, B, C)
    machine = cluster[A]
    machine.core.set_time(machine.now)
    machine.core.step(Read(1, b"", leader_lease=True))
    machine.now += LEASE
    cluster.turn(A, lambda _: None)
    assert cluster.sent(Heartbeat)
    assert ReadAt(1, 1, b"", confirmed=True) not in machine.disk.unwritten


def test_the_lease_starts_when_the_heartbeat_is_sent_not_when_the_reply_arrives() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += LEASE
    cluster.beat(A)
    cluster[A].now += LEASE
    cluster.settle()
    assert not is_served_at_once(cluster)


def test_a_late_reply_does_not_shorten_the_lease() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += LEASE
    cluster.beat(A)
    cluster.deliver(Heartbeat, to=B)
    late = cluster.take()
    cluster[A].now += LEASE
    bind(cluster, B)
    for packet in late:
        cluster.arrive(packet)
    cluster.drop()
    assert is_served_at_once(cluster)


def test_a_reply_of_an_earlier_term_does_not_extend_the_lease() -> None:
    cluster = led_by(A, B, C)
    cluster.elect(B)
    cluster.elect(A)
    cluster[A].now += 2 * LEASE
    cluster.inject(B, A, HeartbeatReply(1, 0, cluster[A].now, ELECTION_TIMEOUT_MIN_US))
    assert not is_served_at_once(cluster)


def test_a_lease_needs_a_majority() -> None:
    cluster = led_by(A, B, C, D, E)
    cluster[A].now += LEASE
    bind(cluster, B)
    assert not is_served_at_once(cluster)
    cluster.drop()
    cluster[A].now += LEASE // 2
    bind(cluster, C)
    assert is_served_at_once(cluster)
    cluster[A].now += LEASE // 2
    assert not is_served_at_once(cluster), "the one that was bound first is free"


def test_a_voter_grants_the_lease_for_a_share_of_its_own_election_timeout() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += LEASE
    now = cluster[A].now
    cluster.inject(B, A, HeartbeatReply(1, 0, now, 4_000))
    cluster[A].now = now + 2_999
    assert is_served_at_once(cluster)
    cluster[A].now = now + 3_000
    assert not is_served_at_once(cluster)


def test_a_voter_without_lease_support_never_extends_the_lease() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += LEASE
    cluster.inject(B, A, HeartbeatReply(1, 0))
    assert not is_served_at_once(cluster)


def test_a_single_node_always_holds_the_lease() -> None:
    cluster = led_by(A)
    cluster[A].now += 10 * LEASE
    assert is_served_at_once(cluster)


def test_there_is_no_lease_before_an_entry_of_the_term_is_committed() -> None:
    # A committed x, but B, which leads now, does not know that yet.
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    for node in (B, C):
        cluster.deliver(to=node)
        cluster.sync(node)
    cluster.deliver(AppendEntriesReply)
    cluster.crash(A)
    cluster.drop()
    cluster.elect_without_replication(B, votes_of=[C])
    bind(cluster, C, leader=B)
    assert not is_served_at_once(cluster, B)
    cluster.beat(B)
    cluster.settle()
    assert cluster[B].served[-1].index == 3


def test_a_lease_read_on_a_follower_costs_one_round_trip_to_the_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.beat(A)
    cluster.settle()
    cluster.read_by_lease(B, 7)
    assert cluster.sent() == [ForwardRead(7, leader_lease=True)]
    cluster.deliver(ForwardRead)
    assert cluster.sent() == [ReadIndex(7, 1)]
    cluster.settle()
    assert [read.number for read in cluster[B].served] == [7]


def test_pending_lease_reads_fail_when_their_leader_steps_down() -> None:
    cluster = led_by(A, B, C)
    machine = cluster[A]
    machine.core.step(Read(1, b"", leader_lease=True))
    machine.core.receive(frame_of(B, ForwardRead(7, leader_lease=True)))
    machine.core.receive(frame_of(C, HeartbeatReply(2, 0)))
    cluster.turn(A, lambda _: None)
    assert machine.told(ReadFailed) == [ReadFailed(1)]
    assert cluster.sent() == [ReadRefused(7)]


# --- lease promises of voters


def votes_for(cluster: Cluster, voter: bytes, request: RequestVote) -> bool:
    """Deliver a vote request; return whether the vote is granted."""
    cluster.drop()
    cluster.inject(C, voter, request)
    cluster.sync(voter)
    replies: list[RequestVoteReply] = cluster.sent(RequestVoteReply, sender=voter)
    return any(reply.granted for reply in replies)


@pytest.mark.parametrize("pre", [True, False], ids=["pre-vote", "vote"])
@pytest.mark.parametrize("term", [1, 2], ids=["same term", "next term"])
def test_a_restarted_node_votes_only_after_its_election_timeout(pre: bool, term: int) -> None:
    cluster = led_by(A, B, C)
    request = RequestVote(term + pre, 9, 9, pre)
    cluster.restart(B, patient=True)
    assert not votes_for(cluster, B, request)
    cluster.go_quiet(B)
    assert votes_for(cluster, B, request) == (term == 2 or pre), "one vote in a term, as ever"


def test_a_newer_term_does_not_release_a_voter_from_its_lease_promise() -> None:
    cluster = led_by(A, B, C)
    bind(cluster, B)
    cluster.inject(C, B, RequestVoteReply(5, granted=False, pre=True))
    assert cluster[B].core.term == 5
    assert not votes_for(cluster, B, RequestVote(5, 9, 9))
    assert not votes_for(cluster, B, RequestVote(6, 9, 9, pre=True))
    assert not votes_for(cluster, B, RequestVote(6, 9, 9))
    cluster.go_quiet(B)
    assert votes_for(cluster, B, RequestVote(6, 9, 9))


def restart_with(cluster: Cluster, node: bytes, election_timeout_min_us: int) -> None:
    """Restart a node with another election timeout, and let the shortest one pass."""
    cluster.crash(node)
    cluster.start(node, election_timeout_min_us=election_timeout_min_us)


def test_a_voter_restarted_with_a_shorter_timeout_keeps_its_earlier_promise() -> None:
    cluster = led_by(A, B, C)
    bind(cluster, B)
    restart_with(cluster, B, ELECTION_TIMEOUT_MIN_US // 10)
    cluster[B].now += ELECTION_TIMEOUT_MIN_US - 1
    assert not votes_for(cluster, B, RequestVote(6, 9, 9, pre=True))
    assert not votes_for(cluster, B, RequestVote(6, 9, 9))
    cluster.time_out(B)
    assert not cluster.sent(RequestVote), "it does not campaign either"
    cluster[B].now += 1
    assert votes_for(cluster, B, RequestVote(6, 9, 9, pre=True))
    assert votes_for(cluster, B, RequestVote(6, 9, 9))


def test_a_lease_promise_survives_restarts_until_it_expires() -> None:
    cluster = led_by(A, B, C)
    bind(cluster, B)
    restart_with(cluster, B, ELECTION_TIMEOUT_MIN_US // 10)
    cluster[B].now += ELECTION_TIMEOUT_MIN_US // 2
    cluster.inject(C, B, Heartbeat(2, 0, 0, 1))
    cluster.sync(B)
    assert cluster[B].disk.hard_state.lease_promise_us == ELECTION_TIMEOUT_MIN_US, (
        "it may still count"
    )
    restart_with(cluster, B, ELECTION_TIMEOUT_MIN_US // 10)
    cluster[B].now += ELECTION_TIMEOUT_MIN_US // 2
    assert not votes_for(cluster, B, RequestVote(6, 9, 9))
    cluster[B].now += ELECTION_TIMEOUT_MIN_US // 2
    assert votes_for(cluster, B, RequestVote(6, 9, 9))
    assert cluster[B].disk.hard_state.lease_promise_us == ELECTION_TIMEOUT_MIN_US // 10


def test_a_longer_election_timeout_is_promised_only_when_it_is_durable() -> None:
    cluster = led_by(A, B, C)
    restart_with(cluster, B, ELECTION_TIMEOUT_MIN_US * 2)
    cluster.beat(A)
    cluster.deliver(Heartbeat, to=B)
    assert not cluster.sent(HeartbeatReply)
    cluster.sync(B)
    (reply,) = cluster.sent(HeartbeatReply)
    assert (
        reply.election_timeout_min_us
        == cluster[B].disk.hard_state.lease_promise_us
        == ELECTION_TIMEOUT_MIN_US * 2
    )


def test_a_single_voter_by_an_uncommitted_change_campaigns_only_when_it_may_vote() -> None:
    cluster = Cluster(A, B)
    founders, alone = (
        Membership(tuple(Member(node, address_of(node), True) for node in nodes))
        for nodes in ((A, B), (B,))
    )
    disk = cluster[B].disk
    disk.entries = [LogEntry(1, 1, EntryKind.NO_OP)]
    disk.hard_state = HardState(1, A, ELECTION_TIMEOUT_MIN_US)
    disk.memberships = (MembershipAt(0, founders), MembershipAt(1, alone))
    cluster.start(B, patient=True)
    assert cluster[B].core.term == 1
    cluster.go_quiet(B)
    cluster.time_out(B)
    cluster.sync(B)
    assert cluster[B].core.leads


# --- ends of leases


def test_a_leader_that_sent_timeout_now_serves_no_lease_reads_in_that_term() -> None:
    # TimeoutNow may arrive long after the transfer was given up.
    cluster = led_by(A, B, C)
    bind(cluster, B, C)
    cluster.step(A, StepAside())
    late = cluster.take(TimeoutNow)
    assert late
    cluster.check_quorum(A)
    cluster.settle()
    bind(cluster, B, C)
    assert not is_served_at_once(cluster)
    cluster.drop()
    cluster.elect(B)
    cluster.elect(A)
    bind(cluster, B, C)
    assert is_served_at_once(cluster), "in another term it does"


def test_a_transfer_that_waits_for_entries_keeps_the_lease() -> None:
    cluster = led_by(A, B, C)
    bind(cluster, B, C)
    cluster.propose(A, b"x")
    cluster.step(A, StepAside())
    cluster.drop()
    assert cluster.sent(TimeoutNow) == []
    assert is_served_at_once(cluster)


def test_a_learner_does_not_extend_the_lease() -> None:
    cluster = led_by(A, B, C, spare=[D, E])
    for node in (D, E):
        cluster.join(node, through=A)
        cluster.settle(A, B, C)
    assert not cluster[A].core.membership.is_voter(D)
    cluster.drop()
    cluster[A].now += 2 * LEASE
    now = cluster[A].now
    for node in (D, E):
        cluster.inject(node, A, HeartbeatReply(1, 0, now, ELECTION_TIMEOUT_MIN_US))
    assert not is_served_at_once(cluster)
    cluster.drop()
    cluster.inject(B, A, HeartbeatReply(1, 0, now, ELECTION_TIMEOUT_MIN_US))
    assert is_served_at_once(cluster)


def test_a_leader_being_removed_does_not_count_itself_for_the_lease() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += LEASE
    cluster.remove(A, through=A, force=True)
    cluster.drop()
    bind(cluster, B)
    assert not is_served_at_once(cluster)
    cluster.drop()
    bind(cluster, C)
    assert is_served_at_once(cluster)


def test_the_lease_needs_a_majority_of_the_members_in_force() -> None:
    cluster = led_by(A, B, spare=[C])
    cluster.join(C, through=A)
    cluster.settle()
    assert cluster[A].core.membership.is_voter(C)
    role = cluster[A].core._state.role
    assert isinstance(role, Leader)
    cluster[A].now += 2 * LEASE
    bind(cluster, C)
    assert is_served_at_once(cluster)
