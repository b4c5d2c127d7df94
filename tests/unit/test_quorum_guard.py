"""Quorum guard: a leader refuses removals that would risk its quorum, unless forced."""

import pytest

from protocol.messages.gateway import Refused
from protocol.messages.peer import (
    ForwardMembershipChange,
    HeartbeatReply,
    JoinReply,
    JoinRequest,
    ProposalRefused,
)
from protocol.messages.replicator import RemoveMember
from protocol.refusal import Refusal
from protocol.state.levels import STATE_LEVEL
from tests.harness.raft_cluster import ELECTION_TIMEOUT_MIN_US, A, B, C, Cluster, D, E, led_by


def silence(cluster: Cluster, *nodes: bytes) -> None:
    """Crash some nodes, and let the leader notice; the others reply."""
    cluster.crash(*nodes)
    for _ in range(3):
        cluster[A].now += 2 * ELECTION_TIMEOUT_MIN_US
        answer(cluster)
        cluster.check_quorum(A)
    answer(cluster)


def answer(cluster: Cluster) -> None:
    cluster.beat(A)
    cluster.settle(*[machine.id for machine in cluster.alive])


def ask(cluster: Cluster, node: bytes, *, force: bool = False) -> Refused | None:
    """Request a removal from the leader; return its refusal."""
    before = len(cluster[A].told(Refused))
    cluster.step(A, RemoveMember(1, node, force))
    told = cluster[A].told(Refused)
    return told[-1] if len(told) > before else None


def test_a_live_voter_of_three_is_not_removed_while_another_is_dead() -> None:
    cluster = led_by(A, B, C)
    silence(cluster, C)
    refused = ask(cluster, B)
    assert refused is not None
    assert refused.refusal is Refusal.QUORUM_AT_RISK
    assert refused.detail == "a majority would then be 2 of 2 voters, and 1 answers"
    assert cluster[A].core.membership.get(B)


def test_the_dead_voter_of_three_is_removed() -> None:
    cluster = led_by(A, B, C)
    silence(cluster, C)
    assert ask(cluster, C) is None
    cluster.settle(A, B)
    assert cluster[B].commit_index == 2


def test_a_forced_removal_skips_the_quorum_check() -> None:
    cluster = led_by(A, B, C)
    silence(cluster, C)
    assert ask(cluster, B, force=True) is None
    assert cluster[A].core.membership.get(B) is None


@pytest.mark.parametrize(("dead", "safe"), [((E,), True), ((D, E), False)])
def test_a_removal_down_to_four_voters_needs_three_responsive_ones(
    dead: tuple[bytes, ...], safe: bool
) -> None:
    cluster = led_by(A, B, C, D, E)
    silence(cluster, *dead)
    assert (ask(cluster, B) is None) is safe


def test_a_removal_waits_for_voters_that_may_still_reply() -> None:
    cluster = led_by(A, B, C)
    answer(cluster)
    cluster.crash(C)
    cluster[A].now += 2 * ELECTION_TIMEOUT_MIN_US
    cluster.beat(A)
    cluster.settle(A, B)
    refused = ask(cluster, B)
    assert refused is not None
    assert refused.refusal is Refusal.BUSY, "C was there a moment ago"
    cluster.start(C)
    answer(cluster)
    assert ask(cluster, B) is None


def test_earlier_replies_of_voters_found_silent_do_not_count() -> None:
    cluster = led_by(A, B, C, D, E)
    cluster[A].now += ELECTION_TIMEOUT_MIN_US
    refused = ask(cluster, B)
    assert refused is not None
    assert refused.refusal is Refusal.BUSY
    answer(cluster)
    cluster.crash(D, E)
    for _ in range(2):  # the removal may wait, as for a change in progress
        answer(cluster)
        cluster.check_quorum(A)
    answer(cluster)
    refused = ask(cluster, B)
    assert refused is not None
    assert refused.refusal is Refusal.QUORUM_AT_RISK


def test_a_new_leader_delays_removals_until_the_others_have_replied() -> None:
    cluster = led_by(A, B, C)
    for progress in cluster[A].core._state.role.progress.values():  # type: ignore[union-attr]
        progress.answered_at = 0
    refused = ask(cluster, B)
    assert refused is not None
    assert refused.refusal is Refusal.BUSY
    answer(cluster)
    assert ask(cluster, B) is None


def test_a_leader_can_remove_itself_while_the_others_reply() -> None:
    cluster = led_by(A, B, C)
    answer(cluster)
    assert ask(cluster, A) is None


def test_two_concurrent_removals_do_not_block_each_other() -> None:
    cluster = led_by(A, B, C, D, E)
    cluster[A].now += ELECTION_TIMEOUT_MIN_US
    for node in (D, E):
        refused = ask(cluster, node)
        assert refused is not None
        assert refused.refusal is Refusal.BUSY
    answer(cluster)
    assert ask(cluster, D) is None
    cluster.settle(A, B, C, E)
    assert ask(cluster, E) is None


def join_in_place(cluster: Cluster, address: str) -> JoinReply:
    cluster[A].core.set_time(cluster[A].now)
    request = JoinRequest(address, True, *cluster.basis(A), STATE_LEVEL)
    return cluster[A].core.join(b"N" * 16, request)


def test_no_node_replaces_a_responsive_member() -> None:
    cluster = led_by(A, B, C)
    cluster[A].now += ELECTION_TIMEOUT_MIN_US
    address = address_of(cluster, B)
    assert join_in_place(cluster, address).refusal == "", "B may yet answer"
    answer(cluster)
    assert "which answers" in join_in_place(cluster, address).refusal
    assert "which answers" in join_in_place(cluster, address_of(cluster, A)).refusal
    silence(cluster, B)
    assert join_in_place(cluster, address).accepted


def address_of(cluster: Cluster, node: bytes) -> str:
    member = cluster[A].core.membership.get(node)
    assert member is not None
    return member.address


def test_a_forwarded_removal_is_refused_with_the_same_detail() -> None:
    cluster = led_by(A, B, C)
    silence(cluster, C)
    cluster.inject(B, A, ForwardMembershipChange(7, 1, B))
    (refused,) = cluster.sent(ProposalRefused, to=B)
    assert refused.refusal is Refusal.QUORUM_AT_RISK
    assert refused.detail
    cluster.deliver(to=B)
    assert cluster[B].told(Refused)[-1].detail == refused.detail
    cluster.inject(B, A, ForwardMembershipChange(8, 1, B, force=True))
    assert cluster[A].core.membership.get(B) is None


def test_a_late_reply_to_an_old_heartbeat_does_not_count_as_recent() -> None:
    cluster = led_by(A, B, C)
    answer(cluster)
    cluster[A].now += 10 * ELECTION_TIMEOUT_MIN_US
    cluster.inject(B, A, HeartbeatReply(1, 0, 1))
    refused = ask(cluster, C)
    assert refused is not None
    assert refused.refusal is Refusal.BUSY
