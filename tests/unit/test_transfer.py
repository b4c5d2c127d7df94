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


def hear_nobody_but(cluster: Cluster, *nodes: bytes) -> None:
    """Let a leader notice that only these followers answer."""
    for _ in range(2):
        cluster.beat(A)
        cluster.settle(A, *nodes)
        cluster.drop()
        cluster.check_quorum(A)


@pytest.mark.parametrize("through", [A, B, C])
def test_the_named_voter_leads_in_the_next_term_whoever_was_asked(through: bytes) -> None:
    cluster = led_by(A, B, C)
    cluster.step(through, TransferTo(C))
    cluster.settle()
    assert cluster.leaders == [C]
    assert {machine.core.term for machine in cluster.alive} == {2}


def test_a_transfer_ends_though_the_election_timer_of_the_leader_is_stopped() -> None:
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


def test_a_follower_passes_the_order_to_its_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.step(B, TransferTo(C))
    assert cluster.sent() == [ForwardTransfer(C)]


def test_without_a_name_the_voter_that_holds_most_leads() -> None:
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


def test_a_successor_that_lacks_entries_gets_them_before_it_campaigns() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.step(A, TransferTo(B))
    assert not takes_writes(cluster, A)
    assert cluster.sent(TimeoutNow) == []
    cluster.settle()
    assert cluster.leaders == [B]
    assert cluster[B].commit_index == 3


@pytest.mark.parametrize("node", [A, D, b"nobody"], ids=["itself", "a learner", "a stranger"])
def test_who_cannot_succeed_is_not_handed_anything(node: bytes) -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.crash(D)  # so that it remains a learner
    cluster.settle()
    cluster.step(A, TransferTo(node))
    assert cluster.sent(TimeoutNow) == []
    assert takes_writes(cluster, A)


def test_writes_do_not_stop_for_a_voter_that_does_not_answer() -> None:
    cluster = led_by(A, B, C)
    hear_nobody_but(cluster, C)
    cluster.step(A, TransferTo(B))
    assert takes_writes(cluster, A)
    cluster.settle(A, C)
    cluster.drop()
    cluster.step(A, TransferTo(b""))
    cluster.settle(A, C)
    assert cluster.leaders == [C], "without a name, one that answers is chosen"


def test_right_after_a_quorum_check_those_that_answered_before_count() -> None:
    cluster = led_by(A, B, C)
    cluster.check_quorum(A)
    cluster.step(A, TransferTo(B))
    cluster.settle()
    assert cluster.leaders == [B]


def test_writes_do_not_stop_for_a_voter_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRANSFER_LAG_MAX", 3)
    cluster = led_by(A, B, C)
    cluster.partition({A, C}, {B})
    for _ in range(4):
        cluster.propose(A, b"x")
    cluster.settle()
    cluster.step(A, TransferTo(B))
    assert takes_writes(cluster, A)


def test_a_transfer_under_way_is_not_turned_aside() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, TransferTo(B))
    cluster.step(A, TransferTo(C))
    cluster.step(A, StepAside())
    assert len(cluster.sent(TimeoutNow)) == len(cluster.sent(TimeoutNow, to=B)) == 1
    cluster.settle()
    assert cluster.leaders == [B]


def test_what_is_ordered_again_is_done_after_a_lost_attempt() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, TransferTo(B))
    cluster.drop()
    cluster.check_quorum(A)
    cluster.step(A, TransferTo(B))
    cluster.settle()
    assert cluster.leaders == [B]


def test_one_that_is_to_stop_hands_over_though_a_check_came_between() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"nobody else has it yet")
    cluster.step(A, StepAside())
    cluster.check_quorum(A)
    cluster.step(A, StepAside())
    cluster.settle()
    assert cluster.leaders != [A]
    assert {machine.core.term for machine in cluster.alive} == {2}


def test_an_order_that_reaches_nobody_who_leads_is_forgotten() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.step(B, TransferTo(C))
    cluster.inject(A, B, ForwardTransfer(C))
    assert cluster.sent() == []


def test_the_successor_is_voted_for_though_all_have_just_heard_the_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.beat(A)
    cluster.settle()
    cluster.step(A, TransferTo(B))
    cluster.deliver(TimeoutNow)
    cluster.sync(B)
    assert all(each.transfer for each in cluster.sent(RequestVote))
    cluster.settle()
    assert cluster.leaders == [B]
