"""Senders: a node accepts members, one incarnation of each, and bounded jumps of the term."""

import pytest

from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import Leadership
from protocol.messages.peer import (
    AppendEntries,
    ForwardProposal,
    Heartbeat,
    HeartbeatReply,
    MembershipTold,
    PeerMessage,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.raft import senders
from protocol.raft.node import RaftNode, StrangeFrame, UnknownSender
from protocol.raft.removal import REMOVAL_CLAIM_MICROSECONDS
from protocol.raft.senders import (
    INCARNATION_JUMP_MAX,
    LAPSE_MICROSECONDS,
    TERM_JUMP_MAX,
    VOUCHED_MAX,
)
from tests.harness.raft_cluster import A, B, C, Cluster, D, E, address_of, frame_of, led_by

STRANGER = b"stranger".ljust(16, b"\0")


def voters(*nodes: bytes) -> Membership:
    return Membership(tuple(Member(node, address_of(node), voter=True) for node in nodes))


@pytest.fixture
def cluster() -> Cluster:
    return led_by(A, B, C)


def hear(cluster: Cluster, node: bytes, sender: bytes, *messages: PeerMessage) -> None:
    core = cluster[node].core
    core.tell_time(cluster[node].now)
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
def test_a_stranger_of_the_own_cluster_moves_nothing(
    cluster: Cluster, node: bytes, message: PeerMessage
) -> None:
    core = cluster[node].core
    before = core.term, core.leads, cluster[node].last_index, cluster[node].clock
    with pytest.raises(UnknownSender):
        hear(cluster, node, STRANGER, message)
    cluster.turn(node, lambda _: None)
    assert (core.term, core.leads, cluster[node].last_index, cluster[node].clock) == before
    assert core.wants_vouchers


def test_only_a_candidate_that_no_committed_membership_has_is_answered(cluster: Cluster) -> None:
    for message, is_answered in ((Heartbeat(9, 1, 1), False), (RequestVote(9, 9, 9), True)):
        with pytest.raises(UnknownSender) as unknown:
            hear(cluster, A, STRANGER, message)
        assert unknown.value.is_answered is is_answered


def test_another_node_with_this_ones_id_is_not_heard(cluster: Cluster) -> None:
    with pytest.raises(StrangeFrame, match="own id"):
        hear(cluster, A, A, Heartbeat(9, 1, 1))


# --- vouching


def test_a_follower_that_is_behind_believes_the_leader_that_a_member_names(
    cluster: Cluster,
) -> None:
    follower = cluster[B].core
    follower.hear_memberships(C, MembershipTold((MembershipAt(5, voters(A, B, C, D)),)))
    assert follower.believes(D)
    assert not follower.wants_vouchers
    hear(cluster, B, D, Heartbeat(2, 1, 0))
    assert follower.term == 2


def test_a_voter_is_believed_that_only_a_pending_membership_has(cluster: Cluster) -> None:
    told = (MembershipAt(4, voters(A, B, C)), MembershipAt(5, voters(A, B, C, D)))
    cluster[B].core.hear_memberships(C, MembershipTold(told))
    assert cluster[B].core.believes(D)


def test_a_membership_as_old_as_what_is_committed_vouches_for_nobody(cluster: Cluster) -> None:
    assert cluster[B].commit_index == 1
    cluster[B].core.vouch(MembershipAt(1, voters(A, B, C, D)), 1)
    assert not cluster[B].core.believes(D)


def test_vouching_ends_when_the_own_log_is_as_far(cluster: Cluster) -> None:
    cluster[B].core.vouch(MembershipAt(3, voters(A, B, C, D)), 1)
    for payload in (b"x", b"y"):
        assert cluster[B].core.believes(D)
        cluster.propose(A, payload)
        cluster.settle()
    assert not cluster[B].core.believes(D)


def test_learners_are_not_vouched_for_and_voters_only_up_to_a_bound(cluster: Cluster) -> None:
    core = cluster[B].core
    learner = Membership((Member(E, address_of(E), voter=False),))
    core.vouch(MembershipAt(9, learner), 1)
    assert not core.believes(E)
    many = [number.to_bytes(16, "big") for number in range(2 * VOUCHED_MAX)]
    core.vouch(MembershipAt(9, voters(*many)), 1)
    assert sum(map(core.believes, many)) == VOUCHED_MAX


# --- incarnations


def hears(core: RaftNode, incarnation: int) -> bool:
    try:
        core.receive(frame_of(B, HeartbeatReply(0, 0), incarnation=incarnation))
    except StrangeFrame:
        return False
    return True


def test_an_incarnation_far_ahead_does_not_mute_the_one_that_is_heard(cluster: Cluster) -> None:
    core = cluster[A].core
    assert hears(core, 1)
    assert not hears(core, 2 + INCARNATION_JUMP_MAX)
    assert hears(core, 1)


def test_a_newer_incarnation_mutes_older_ones_while_it_is_heard(cluster: Cluster) -> None:
    core = cluster[A].core
    core.tell_time(1)
    assert hears(core, 7)
    assert not hears(core, 6)
    core.tell_time(LAPSE_MICROSECONDS)
    assert hears(core, 7)
    core.tell_time(2 * LAPSE_MICROSECONDS - 1)
    assert not hears(core, 6)
    core.tell_time(2 * LAPSE_MICROSECONDS)
    assert hears(core, 6), "the newer one was another node's"


def test_what_is_remembered_of_senders_is_bounded(
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


def test_one_member_moves_a_term_no_further_than_a_bound(cluster: Cluster) -> None:
    far = 2 + TERM_JUMP_MAX
    hear(cluster, B, C, RequestVote(far, 99, 9, transfer=True))
    hear(cluster, B, C, RequestVoteReply(far, granted=False))
    assert cluster[B].core.term == 1
    hear(cluster, B, C, RequestVoteReply(far - 1, granted=False))
    assert cluster[B].core.term == far - 1


def test_a_term_that_a_majority_shows_is_entered_however_far_it_is(cluster: Cluster) -> None:
    far = 1 << 40
    hear(cluster, B, A, RequestVoteReply(far, granted=False))
    assert cluster[B].core.term == 1
    hear(cluster, B, C, RequestVoteReply(far + 1, granted=False))
    hear(cluster, B, A, Heartbeat(far, 1, 0))
    assert cluster[B].core.term == far


def test_a_node_that_joins_enters_the_term_of_the_cluster(cluster: Cluster) -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster[D].core.vouch(MembershipAt(9, voters(A, B, C)), 1)
    hear(cluster, D, A, Heartbeat(1 << 40, 1, 0))
    assert cluster[D].core.term == 0
    cluster[D].core.vouch(MembershipAt(9, voters(A, B, C)), 1 << 40)
    hear(cluster, D, A, Heartbeat(1 << 40, 1, 0))
    assert cluster[D].core.term == 1 << 40


# --- removals


def test_one_member_does_not_make_a_node_think_itself_removed(cluster: Cluster) -> None:
    for _ in range(3):
        hear(cluster, B, C, RemovalNotice(1 << 60))
    assert not cluster[B].core.removed
    assert cluster[B].core.wants_vouchers
    cluster.beat(A)
    cluster.settle()
    assert not cluster[B].core.wants_vouchers, "it hears its leader"


def test_word_of_anothers_removal_removes_nobody(cluster: Cluster) -> None:
    for member in (A, C):
        hear(cluster, B, member, RemovalNotice(9, D))
    assert not cluster[B].core.removed


def test_two_members_do(cluster: Cluster) -> None:
    hear(cluster, B, C, RemovalNotice(9))
    cluster[B].core.hear_memberships(A, MembershipTold((MembershipAt(9, voters(A, C)),)))
    cluster.turn(B, lambda _: None)
    assert cluster[B].core.removed
    assert cluster[B].told(Leadership)[-1].removed


def test_one_does_where_no_leader_is_heard_for_long(cluster: Cluster) -> None:
    hear(cluster, B, C, RemovalNotice(9))
    cluster[B].now += REMOVAL_CLAIM_MICROSECONDS
    hear(cluster, B, C, RemovalNotice(9))
    assert cluster[B].core.removed


def test_a_learner_does_not_even_where_only_one_other_voter_is() -> None:
    cluster = led_by(A, B, spare=[D])
    cluster.join(D, through=A)
    cluster.settle(A, B)
    hear(cluster, B, D, RemovalNotice(9))
    assert not cluster[B].core.removed


def test_one_does_where_it_is_the_only_other_member() -> None:
    cluster = led_by(A, B)
    hear(cluster, B, A, RemovalNotice(9))
    assert cluster[B].core.removed


def test_a_membership_that_has_the_node_removes_it_not(cluster: Cluster) -> None:
    for member in (A, C):
        told = MembershipTold((MembershipAt(9, voters(A, B, C)), MembershipAt(10, voters(A, C))))
        cluster[B].core.hear_memberships(member, told)
    assert not cluster[B].core.removed
    assert not cluster[B].core.wants_vouchers
