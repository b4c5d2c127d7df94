"""Leadership transfer: it happens on request, and a failed one does not stop writes."""

import pytest

from protocol.messages.gateway import Refused
from protocol.messages.peer import ForwardTransfer, RequestVote, TimeoutNow
from protocol.messages.replicator import StepAside, TransferTo
from protocol.raft import transfer
from tests.harness.raft_cluster import ELECTION_TIMEOUT_MIN_US, A, B, C, Cluster, D, led_by


def takes_writes(cluster: Cluster, leader: bytes) -> bool:
    refused = len(cluster[leader].told(Refused))
    cluster.propose(leader, b"x")
    return len(cluster[leader].told(Refused)) == refused


def silence_all_but(cluster: Cluster, *nodes: bytes) -> None:
    """Let a leader notice that only these followers reply."""
    for _ in range(2):
        cluster.beat(A)
        cluster.settle(A, *nodes)
        cluster.drop()
        cluster.check_quorum(A)


@pytest.mark.parametrize("through", [A, B, C])
def test_a_transfer_through_any_node_makes_the_named_voter_lead_in_the_next_term(
    through: bytes,
) -> None:
    cluster = led_by(A, B, C)
    cluster.step(through, TransferTo(C))
    cluster.settle()
    assert cluster.leaders == [C]
    assert {machine.core.term for machine in cluster.alive} == {2}


def test_a_transfer_times_out_even_if_the_leaders_election_timer_is_stopped() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, TransferTo(B))
    assert cluster.sent(TimeoutNow)
    cluster.drop()
    cluster[A].now += transfer.TRANSFER_TIMEOUTS * ELECTION_TIMEOUT_MIN_US
    cluster.read(A, 1)
    assert not takes_writes(cluster, A)
    cluster[A].now += 1
    cluster.read(A, 2)
    assert takes_writes(cluster, A)


def test_a_follower_forwards_a_transfer_to_its_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.step(B, TransferTo(C))
    assert cluster.sent() == [ForwardTransfer(C)]


def test_an_unnamed_transfer_goes_to_the_most_up_to_date_voter() -> None:
    cluster = led_by(A, B, C, D)
    cluster.partition({A, C, D}, {B})
    cluster.propose(A, b"B lacks it")
    cluster.settle()
    cluster.partition({A, D}, {B}, {C})
    cluster.propose(A, b"so does C")
    cluster.settle(A, D)
    cluster.heal()
    cluster.step(A, TransferTo(b""))
    assert cluster.sent(TimeoutNow) == cluster.sent(to=D)
    cluster.settle()
    assert cluster.leaders == [D]


def test_a_successor_receives_missing_entries_before_it_campaigns() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.step(A, TransferTo(B))
    assert not takes_writes(cluster, A)
    assert cluster.sent(TimeoutNow) == []
    cluster.settle()
    assert cluster.leaders == [B]
    assert cluster[B].commit_index == 3


@pytest.mark.parametrize("node", [A, D, b"nobody"], ids=["itself", "a learner", "a stranger"])
def test_a_transfer_to_an_ineligible_node_is_ignored(node: bytes) -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.crash(D)  # so that it remains a learner
    cluster.settle()
    cluster.step(A, TransferTo(node))
    assert cluster.sent(TimeoutNow) == []
    assert takes_writes(cluster, A)


def test_a_transfer_to_an_unresponsive_voter_does_not_block_writes() -> None:
    cluster = led_by(A, B, C)
    silence_all_but(cluster, C)
    cluster.step(A, TransferTo(B))
    assert takes_writes(cluster, A)
    cluster.settle(A, C)
    cluster.drop()
    cluster.step(A, TransferTo(b""))
    cluster.settle(A, C)
    assert cluster.leaders == [C], "without a name, one that answers is chosen"


def test_replies_from_before_a_quorum_check_still_count_right_after_it() -> None:
    cluster = led_by(A, B, C)
    cluster.check_quorum(A)
    cluster.step(A, TransferTo(B))
    cluster.settle()
    assert cluster.leaders == [B]


def test_a_transfer_to_a_voter_far_behind_does_not_block_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "SUCCESSOR_LAG_MAX", 3)
    cluster = led_by(A, B, C)
    cluster.partition({A, C}, {B})
    for _ in range(4):
        cluster.propose(A, b"x")
    cluster.settle()
    cluster.step(A, TransferTo(B))
    assert takes_writes(cluster, A)


def test_a_transfer_in_progress_is_not_redirected() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, TransferTo(B))
    cluster.step(A, TransferTo(C))
    cluster.step(A, StepAside())
    assert len(cluster.sent(TimeoutNow)) == len(cluster.sent(TimeoutNow, to=B)) == 1
    cluster.settle()
    assert cluster.leaders == [B]


def test_a_repeated_transfer_succeeds_after_a_lost_attempt() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, TransferTo(B))
    cluster.drop()
    cluster.check_quorum(A)
    cluster.step(A, TransferTo(B))
    cluster.settle()
    assert cluster.leaders == [B]


def test_a_stopping_leader_hands_over_despite_a_quorum_check_in_between() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"nobody else has it yet")
    cluster.step(A, StepAside())
    cluster.check_quorum(A)
    cluster.step(A, StepAside())
    cluster.settle()
    assert cluster.leaders != [A]
    assert {machine.core.term for machine in cluster.alive} == {2}


def test_a_transfer_without_a_leader_is_dropped() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.step(B, TransferTo(C))
    cluster.inject(A, B, ForwardTransfer(C))
    assert cluster.sent() == []


def test_voters_grant_the_successor_their_vote_despite_recent_leader_contact() -> None:
    cluster = led_by(A, B, C)
    cluster.beat(A)
    cluster.settle()
    cluster.step(A, TransferTo(B))
    cluster.deliver(TimeoutNow)
    cluster.sync(B)
    assert all(each.transfer for each in cluster.sent(RequestVote))
    cluster.settle()
    assert cluster.leaders == [B]
