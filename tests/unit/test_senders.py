"""Senders: a node accepts members, one incarnation of each, and bounded jumps of the term."""

import pytest
from msgspec.structs import replace

from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import Leadership
from protocol.messages.peer import (
    AppendEntries,
    ForwardProposal,
    Heartbeat,
    HeartbeatReply,
    MembershipReply,
    PeerMessage,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.raft import senders
from protocol.raft.node import RaftNode
from protocol.raft.removal import REMOVAL_CLAIM_MICROSECONDS
from protocol.raft.senders import (
    INCARNATION_JUMP_MAX,
    LAPSE_MICROSECONDS,
    TERM_JUMP_MAX,
    VOUCHED_MAX,
    RejectedFrame,
    UnknownSender,
)
from tests.harness.raft_cluster import A, B, C, Cluster, D, E, address_of, frame_of, led_by

STRANGER = b"stranger".ljust(16, b"\0")


def voters(*nodes: bytes) -> Membership:
    return Membership(tuple(Member(node, address_of(node), voter=True) for node in nodes))


@pytest.fixture
def cluster() -> Cluster:
    return led_by(A, B, C)


def deliver(cluster: Cluster, node: bytes, sender: bytes, *messages: PeerMessage) -> None:
    core = cluster[node].core
    core.set_time(cluster[node].now)
    core.receive(frame_of(sender, *messages))
    cluster.turn(node, lambda _: None)


# --- strangers


@pytest.mark.parametrize(
    "message",
    [
        RequestVote(9, 99, 9, transfer=True),
        RequestVoteReply(9, granted=True),
        AppendEntries(9, 0, 0, (), 99),
        Heartbeat(9, 1, 99),
        HeartbeatReply(9, 1),
        TimeoutNow(1),
        RemovalNotice(99),
        ForwardProposal(1, b"x"),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("node", [A, B])
def test_a_stranger_that_names_this_cluster_changes_nothing(
    cluster: Cluster, node: bytes, message: PeerMessage
) -> None:
    core = cluster[node].core
    before = core.term, core.leads, cluster[node].last_index, cluster[node].clock
    with pytest.raises(UnknownSender):
        deliver(cluster, node, STRANGER, message)
    cluster.turn(node, lambda _: None)
    assert (core.term, core.leads, cluster[node].last_index, cluster[node].clock) == before
    assert core.wants_vouchers


def test_only_a_vote_request_of_a_stranger_gets_a_reply(cluster: Cluster) -> None:
    for message, is_answered in ((Heartbeat(9, 1, 1), False), (RequestVote(9, 9, 9), True)):
        with pytest.raises(UnknownSender) as unknown:
            deliver(cluster, A, STRANGER, message)
        assert unknown.value.is_answered is is_answered


def test_a_frame_with_the_nodes_own_id_is_refused(cluster: Cluster) -> None:
    with pytest.raises(RejectedFrame, match="own id"):
        deliver(cluster, A, A, Heartbeat(9, 1, 1))


# --- vouching


def test_a_lagging_follower_trusts_a_leader_that_a_member_vouches_for(cluster: Cluster) -> None:
    follower = cluster[B].core
    follower.on_membership_reply(C, MembershipReply((MembershipAt(5, voters(A, B, C, D)),)))
    assert follower.trusts(D)
    assert not follower.wants_vouchers
    deliver(cluster, B, D, Heartbeat(2, 1, 0))
    assert follower.term == 2


def test_a_voter_of_a_pending_membership_is_trusted(cluster: Cluster) -> None:
    told = (MembershipAt(4, voters(A, B, C)), MembershipAt(5, voters(A, B, C, D)))
    cluster[B].core.on_membership_reply(C, MembershipReply(told))
    assert cluster[B].core.trusts(D)


def test_a_membership_no_newer_than_the_commit_index_vouches_for_no_one(cluster: Cluster) -> None:
    assert cluster[B].commit_index == 1
    cluster[B].core.vouch(MembershipAt(1, voters(A, B, C, D)), 1)
    assert not cluster[B].core.trusts(D)


def test_vouching_ends_when_the_nodes_own_log_has_caught_up(cluster: Cluster) -> None:
    cluster[B].core.vouch(MembershipAt(3, voters(A, B, C, D)), 1)
    for payload in (b"x", b"y"):
        assert cluster[B].core.trusts(D)
        cluster.propose(A, payload)
        cluster.settle()
    assert not cluster[B].core.trusts(D)


def test_learners_are_not_vouched_for_and_voters_only_up_to_a_bound(cluster: Cluster) -> None:
    core = cluster[B].core
    learner = Membership((Member(E, address_of(E), voter=False),))
    core.vouch(MembershipAt(9, learner), 1)
    assert not core.trusts(E)
    many = [number.to_bytes(16, "big") for number in range(2 * VOUCHED_MAX)]
    core.vouch(MembershipAt(9, voters(*many)), 1)
    assert sum(map(core.trusts, many)) == VOUCHED_MAX


# --- incarnations


def accepts(core: RaftNode, incarnation: int) -> bool:
    try:
        core.receive(frame_of(B, HeartbeatReply(0, 0), incarnation=incarnation))
    except RejectedFrame:
        return False
    return True


def test_an_incarnation_far_ahead_does_not_mute_the_current_one(cluster: Cluster) -> None:
    core = cluster[A].core
    assert accepts(core, 1)
    assert not accepts(core, 2 + INCARNATION_JUMP_MAX)
    assert accepts(core, 1)


def test_a_newer_incarnation_mutes_older_ones_while_it_keeps_sending(cluster: Cluster) -> None:
    core = cluster[A].core
    core.set_time(1)
    assert accepts(core, 7)
    assert not accepts(core, 6)
    core.set_time(LAPSE_MICROSECONDS)
    assert accepts(core, 7)
    core.set_time(2 * LAPSE_MICROSECONDS - 1)
    assert not accepts(core, 6)
    core.set_time(2 * LAPSE_MICROSECONDS)
    assert accepts(core, 6), "the newer one was another node's"


def test_a_request_to_join_is_of_a_member_only_if_it_is_listed_and_the_newest(
    cluster: Cluster,
) -> None:
    core = cluster[A].core
    assert core.is_of_member(frame_of(B, incarnation=7))
    assert not core.is_of_member(frame_of(B, incarnation=6)), "sent before it moved"
    assert not core.is_of_member(frame_of(STRANGER, incarnation=7))
    assert not core.is_of_member(replace(frame_of(C), cluster=b"another"))


def test_the_number_of_remembered_senders_is_bounded(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "REMEMBERED_MAX", 4)
    core = cluster[A].core
    for number in range(100):
        node = number.to_bytes(16, "big")
        core._senders._vouched = {node: 99}
        core.receive(frame_of(node, Heartbeat(0, 0, 0)))
    assert core._senders._known
    assert len(core._senders._known) <= 4


# --- terms


def test_one_member_raises_the_term_only_by_a_bounded_jump(cluster: Cluster) -> None:
    far = 2 + TERM_JUMP_MAX
    deliver(cluster, B, C, RequestVote(far, 99, 9, transfer=True))
    deliver(cluster, B, C, RequestVoteReply(far, granted=False))
    assert cluster[B].core.term == 1
    deliver(cluster, B, C, RequestVoteReply(far - 1, granted=False))
    assert cluster[B].core.term == far - 1


def test_a_term_shown_by_a_majority_is_adopted_at_any_distance(cluster: Cluster) -> None:
    far = 1 << 40
    deliver(cluster, B, A, RequestVoteReply(far, granted=False))
    assert cluster[B].core.term == 1
    deliver(cluster, B, C, RequestVoteReply(far + 1, granted=False))
    deliver(cluster, B, A, Heartbeat(far, 1, 0))
    assert cluster[B].core.term == far


def test_a_joining_node_adopts_the_vouched_term_of_the_cluster(cluster: Cluster) -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster[D].core.vouch(MembershipAt(9, voters(A, B, C)), 1)
    deliver(cluster, D, A, Heartbeat(1 << 40, 1, 0))
    assert cluster[D].core.term == 0
    cluster[D].core.vouch(MembershipAt(9, voters(A, B, C)), 1 << 40)
    deliver(cluster, D, A, Heartbeat(1 << 40, 1, 0))
    assert cluster[D].core.term == 1 << 40


# --- removals


def test_a_removal_notice_from_one_member_does_not_remove_a_node(cluster: Cluster) -> None:
    for _ in range(3):
        deliver(cluster, B, C, RemovalNotice(1 << 60))
    assert not cluster[B].core.removed
    assert cluster[B].core.wants_vouchers
    cluster.beat(A)
    cluster.settle()
    assert not cluster[B].core.wants_vouchers, "it hears its leader"


def test_a_removal_notice_about_another_node_is_ignored(cluster: Cluster) -> None:
    for member in (A, C):
        deliver(cluster, B, member, RemovalNotice(9, D))
    assert not cluster[B].core.removed


def test_removal_reports_from_two_members_remove_a_node(cluster: Cluster) -> None:
    deliver(cluster, B, C, RemovalNotice(9))
    cluster[B].core.on_membership_reply(A, MembershipReply((MembershipAt(9, voters(A, C)),)))
    cluster.turn(B, lambda _: None)
    assert cluster[B].core.removed
    assert cluster[B].told(Leadership)[-1].removed


def test_a_removal_notice_from_one_member_counts_after_leader_silence(cluster: Cluster) -> None:
    deliver(cluster, B, C, RemovalNotice(9))
    cluster[B].now += REMOVAL_CLAIM_MICROSECONDS
    deliver(cluster, B, C, RemovalNotice(9))
    assert cluster[B].core.removed


def test_a_removal_notice_from_a_learner_does_not_remove_a_node() -> None:
    cluster = led_by(A, B, spare=[D])
    cluster.join(D, through=A)
    cluster.settle(A, B)
    deliver(cluster, B, D, RemovalNotice(9))
    assert not cluster[B].core.removed


def test_a_removal_notice_from_the_only_other_member_removes_a_node() -> None:
    cluster = led_by(A, B)
    deliver(cluster, B, A, RemovalNotice(9))
    assert cluster[B].core.removed


def test_a_pending_membership_without_the_node_does_not_remove_it(cluster: Cluster) -> None:
    for member in (A, C):
        told = MembershipReply((MembershipAt(9, voters(A, B, C)), MembershipAt(10, voters(A, C))))
        cluster[B].core.on_membership_reply(member, told)
    assert not cluster[B].core.removed
    assert not cluster[B].core.wants_vouchers
