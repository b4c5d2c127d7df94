"""Elections: votes, terms, pre-votes, and leaders that step down."""

from itertools import product

import pytest

from protocol.messages.gateway import Leadership
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    PeerMessage,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.messages.replicator import ElectionDue, StepAside
from protocol.raft import membership_changes
from protocol.raft.durability import STALLED_CHECKS_MAX
from protocol.status import RoleName
from tests.harness.raft_cluster import A, B, C, Cluster, D, E, led_by, with_logs


def founded(*voters: bytes) -> Cluster:
    return Cluster(*voters).start()


# --- votes


def test_a_majority_elects_a_leader() -> None:
    cluster = founded(A, B, C)
    cluster.partition({A, B}, {C})
    cluster.time_out(A)
    cluster.settle()
    assert cluster.leaders == [A]
    assert cluster[A].core.term == 1


def test_half_of_the_voters_elect_no_leader() -> None:
    cluster = founded(A, B, C, D)
    cluster.partition({A, B}, {C, D})
    for node in (A, C, B, D):
        cluster.time_out(node)
        cluster.settle()
    assert cluster.leaders == []


def test_a_node_votes_for_one_candidate_per_term() -> None:
    cluster = founded(A, B, C)
    cluster.inject(A, C, RequestVote(5, 0, 0))
    cluster.inject(B, C, RequestVote(5, 0, 0))
    cluster.sync(C)
    assert cluster.sent(RequestVoteReply, to=A) == [RequestVoteReply(5, granted=True)]
    assert cluster.sent(RequestVoteReply, to=B) == [RequestVoteReply(5, granted=False)]


def test_a_crash_does_not_allow_a_second_vote() -> None:
    cluster = founded(A, B, C)
    cluster.inject(A, C, RequestVote(5, 0, 0))
    cluster.sync(C)
    cluster.restart(C)
    cluster.drop()
    cluster.inject(B, C, RequestVote(5, 0, 0))
    cluster.inject(A, C, RequestVote(5, 0, 0))
    cluster.sync(C)
    assert cluster.sent(RequestVoteReply, to=B) == [RequestVoteReply(5, granted=False)]
    assert cluster.sent(RequestVoteReply, to=A) == [RequestVoteReply(5, granted=True)]


def test_a_vote_lost_in_a_crash_was_never_sent() -> None:
    cluster = founded(A, B, C)
    cluster.inject(A, C, RequestVote(5, 0, 0))
    cluster.restart(C)
    assert cluster.sent(RequestVoteReply) == []
    cluster.inject(B, C, RequestVote(5, 0, 0))
    cluster.sync(C)
    assert cluster.sent(RequestVoteReply, to=B) == [RequestVoteReply(5, granted=True)]


def test_a_leader_grants_no_vote_in_its_own_term() -> None:
    cluster = led_by(A, B, C)
    cluster.inject(B, A, RequestVote(cluster[A].core.term, 99, 99))
    cluster.sync(A)
    assert cluster.sent(RequestVoteReply, to=B) == [RequestVoteReply(1, granted=False)]


@pytest.mark.parametrize(
    ("voter", "candidate", "granted"),
    [
        ((), (), True),
        ((1,), (), False),
        ((1, 1), (1,), False),
        ((1, 1), (1, 1), True),
        ((1,), (1, 1), True),
        ((1, 1, 1), (2,), True),
        ((2,), (1, 1, 1), False),
        ((1, 2), (2,), False),
    ],
)
@pytest.mark.parametrize("pre", [True, False])
def test_a_log_is_more_up_to_date_by_its_last_term_and_then_its_length(
    voter: tuple[int, ...], candidate: tuple[int, ...], granted: bool, pre: bool
) -> None:
    cluster = with_logs({A: candidate, B: voter, C: ()}, term=7)
    last_term = candidate[-1] if candidate else 0
    cluster.inject(A, B, RequestVote(8, len(candidate), last_term, pre=pre))
    cluster.sync(B)
    (reply,) = cluster.sent(RequestVoteReply, to=A)
    assert reply.granted == granted


def test_a_vote_reply_of_another_term_does_not_count() -> None:
    cluster = with_logs({A: (), B: (), C: ()}, term=4)
    cluster.go_quiet(B, C)
    cluster.time_out(A)
    cluster.deliver(RequestVote)
    cluster.deliver(RequestVoteReply)
    cluster.sync(A)
    assert cluster.sent(RequestVote) == [RequestVote(5, 0, 0)] * 2
    cluster.inject(B, A, RequestVoteReply(4, granted=True))
    assert cluster.leaders == []
    cluster.inject(B, A, RequestVoteReply(5, granted=True))
    assert cluster.leaders == [A]


def test_a_candidate_refused_by_a_majority_gives_up() -> None:
    cluster = with_logs({A: (), B: (1,), C: (1,)})
    cluster.time_out(A)
    cluster.settle()
    cluster.inject(B, A, RequestVoteReply(2, granted=True, pre=True))
    assert cluster.leaders == []
    assert cluster.sent(RequestVote) == []


def test_a_candidate_follows_the_leader_of_its_term() -> None:
    cluster = founded(A, B, C)
    cluster.time_out(A)
    cluster.deliver(to=B)
    cluster.deliver(to=A)
    cluster.sync(A)
    cluster.drop()
    cluster.inject(C, A, Heartbeat(1, 0, 0))
    assert cluster[A].core._state.leader == C
    cluster.inject(B, A, RequestVoteReply(1, granted=True))
    assert cluster.leaders == []


@pytest.mark.parametrize(
    "message",
    [
        AppendEntries(9, 0, 0, (), 0),
        AppendEntriesReply(9, accepted=False, index=0),
        Heartbeat(9, 0, 0),
        HeartbeatReply(9, 0),
        RequestVoteReply(9, granted=False),
        RequestVoteReply(9, granted=False, pre=True),
        RequestVote(9, 9, 9, transfer=True),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_leader_that_receives_a_newer_term_steps_down(message: PeerMessage) -> None:
    cluster = led_by(A, B, C)
    cluster.inject(B, A, message)
    assert cluster.leaders == []
    assert cluster[A].core.term == 9


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (AppendEntries(3, 4, 3, (), 0), AppendEntriesReply(7, accepted=False, index=4)),
        (Heartbeat(3, 5, 0), HeartbeatReply(7, 0)),
        (RequestVote(3, 9, 9), RequestVoteReply(7, granted=False)),
    ],
)
def test_a_message_of_an_older_term_gets_a_reply_with_the_newer_term(
    message: PeerMessage, answer: PeerMessage
) -> None:
    cluster = with_logs({A: (), B: (), C: ()}, term=7)
    cluster.inject(A, B, message)
    assert cluster.sent(to=A) == [answer]
    assert cluster[B].core._state.leader is None


# --- deadlines


def test_an_election_deadline_from_before_contact_with_the_leader_is_void() -> None:
    cluster = founded(A, B, C)
    before = cluster[B].clock.contact_count
    cluster.elect(A)
    cluster.step(B, ElectionDue(before))
    assert cluster.sent(RequestVote) == []


def test_granting_a_vote_postpones_the_voters_own_election() -> None:
    cluster = founded(A, B, C)
    before = cluster[B].clock.contact_count
    cluster.inject(A, B, RequestVote(1, 0, 0))
    assert cluster[B].clock.contact_count > before
    cluster.step(B, ElectionDue(before))
    assert cluster.sent(RequestVote) == []


def test_a_failed_election_is_retried() -> None:
    cluster = founded(A, B, C)
    cluster.time_out(A)
    cluster.drop()
    cluster.time_out(A)
    cluster.settle()
    assert cluster.leaders == [A]


def test_a_learner_does_not_campaign() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.time_out(D)
    assert cluster.sent(RequestVote) == []
    assert not cluster[D].clock.votes


# --- pre-vote and stickiness


def test_a_pre_candidate_without_a_majority_stays_in_its_term() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    for _ in range(10):
        cluster.go_quiet(C)
        cluster.time_out(C)
        cluster.settle()
    assert cluster[C].core.term == 1
    assert cluster[C].disk.hard_state.term == 1


def test_a_partitioned_node_does_not_disturb_the_leader_on_its_return() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    cluster.go_quiet(C)
    cluster.time_out(C)
    cluster.propose(A, b"meanwhile")
    cluster.settle()
    cluster.heal()
    cluster.time_out(C)
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    assert cluster.leaders == [A]
    assert {machine.core.term for machine in cluster.alive} == {1}
    assert cluster[C].commit_index == cluster[A].commit_index


def test_nodes_in_contact_with_a_leader_grant_no_vote() -> None:
    cluster = led_by(A, B, C)
    cluster.inject(C, B, RequestVote(2, 99, 99, pre=True))
    assert cluster.sent(RequestVoteReply) == [RequestVoteReply(1, granted=False, pre=True)]
    cluster.inject(C, B, RequestVote(2, 99, 99))
    cluster.inject(C, A, RequestVote(2, 99, 99))
    assert {cluster[A].core.term, cluster[B].core.term} == {1}


def test_a_follower_grants_a_pre_vote_after_the_shortest_timeout_without_a_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.go_quiet(B)
    cluster.inject(C, B, RequestVote(2, 99, 99, pre=True))
    assert cluster.sent(RequestVoteReply) == [RequestVoteReply(2, granted=True, pre=True)]


def test_a_pre_candidate_still_grants_its_vote_in_the_current_term() -> None:
    cluster = with_logs({A: (), B: (), C: ()}, term=4)
    cluster.time_out(A)
    for _ in range(2):  # the first reply may be lost
        cluster.inject(B, A, RequestVote(4, 0, 0))
        cluster.sync(A)
        assert cluster.sent(RequestVoteReply)[-1] == RequestVoteReply(4, granted=True)
    cluster.inject(C, A, RequestVote(4, 0, 0))
    assert cluster.sent(RequestVoteReply)[-1] == RequestVoteReply(4, granted=False)


def test_a_reply_to_an_earlier_pre_vote_does_not_count_for_a_later_one() -> None:
    cluster = with_logs({A: (), B: (), C: ()}, term=4)
    cluster.time_out(A)
    cluster.deliver(RequestVote)
    late = cluster.take(RequestVoteReply, sender=B)
    cluster.drop()
    cluster.elect(C)
    cluster.drop()
    cluster.time_out(A)
    cluster.drop(RequestVote)
    for packet in late:
        cluster.arrive(packet)
    assert cluster[A].core.term == 5, "A won no pre-vote for term 6"


def test_a_pre_vote_refusal_carries_the_newer_term() -> None:
    # B's term is the highest but its log too short; A's log is the longest in an older term.
    cluster = founded(A, B, C)
    cluster[A].disk.preload((1, 1), term=1)
    cluster[B].disk.preload((1,), term=8)
    cluster.restart(A, B)
    cluster.crash(C)
    cluster.time_out(A)
    cluster.settle()
    assert cluster[A].core.term == 8
    cluster.time_out(A)
    cluster.settle()
    assert cluster.leaders == [A]


@pytest.mark.parametrize("down", [A, B, C])
def test_every_pair_of_logs_and_terms_can_elect_a_leader(down: bytes) -> None:
    logs = [(), (1,), (1, 1), (1, 2), (2,)]
    for states in product(product(logs, (2, 3)), repeat=2):
        cluster = Cluster(A, B, C)
        pair = [node for node in (A, B, C) if node != down]
        for node, (terms, term) in zip(pair, states, strict=True):
            cluster[node].disk.preload(terms, term=term)
        cluster.start(*pair)
        for node in pair * 2:
            cluster.go_quiet(*pair)
            if not cluster.leaders:
                cluster.time_out(node)
                cluster.settle()
        assert len(cluster.leaders) == 1, f"{states} elect no leader"


# --- members that a voter does not know


def test_a_lagging_voter_votes_for_a_member_that_it_does_not_know() -> None:
    # D joined A, B and C while C was away; now A is gone, and B, C and D are just a majority.
    cluster = led_by(A, B, C, spare=[D])
    cluster.partition({A, B, D}, {C})
    cluster.join(D, through=A)
    cluster.settle()
    assert cluster[A].core.membership.is_voter(D)
    cluster.partition({A, D}, {B}, {C})
    cluster.propose(A, b"only D has it")
    cluster.settle()
    cluster.crash(A)
    cluster.heal()
    cluster.elect(D)


def test_a_voter_removed_by_an_uncommitted_entry_may_still_lead_to_commit_it() -> None:
    cluster = led_by(B, A)
    cluster.remove(B, through=B)
    cluster.sync(B)
    cluster.drop()
    cluster.restart(A, B)
    cluster.go_quiet(A)
    cluster.time_out(B)
    cluster.settle()
    assert cluster[A].core.membership.voters == {A}
    assert cluster.leaders == []
    assert not cluster[B].clock.votes


# --- stepping down


def test_a_leader_without_replies_from_a_majority_steps_down() -> None:
    cluster = led_by(A, B, C)
    cluster.check_quorum(A)
    cluster.partition({A}, {B, C})
    cluster.beat(A)
    cluster.settle()
    cluster.check_quorum(A)
    assert cluster.leaders == []


def test_a_leader_with_replies_from_a_majority_keeps_leading() -> None:
    cluster = led_by(A, B, C, D, E)
    cluster.partition({A, B, C}, {D, E})
    for _ in range(5):
        cluster.beat(A)
        cluster.settle()
        cluster.check_quorum(A)
    assert cluster.leaders == [A]


@pytest.mark.parametrize("writes", [True, False])
def test_a_leader_with_hung_storage_hands_over_without_an_election_timeout(*, writes: bool) -> None:
    cluster = led_by(A, B, C)
    if writes:
        cluster.propose(A, b"never written here")
    checks = 0
    while cluster.leaders == [A]:
        cluster.check_storage(A)
        cluster.beat(A)
        cluster.settle(B, C)
        cluster.deliver(to=A)
        checks += 1
        assert checks <= STALLED_CHECKS_MAX + 1
    cluster.settle(B, C)
    assert len(cluster.leaders) == 1, "no election timeout had to pass"
    assert cluster.leaders != [A]


def test_a_node_with_hung_storage_reports_it_and_does_not_campaign() -> None:
    cluster = led_by(A, B, C)
    cluster.check_storage(B)
    for _ in range(STALLED_CHECKS_MAX):
        assert not cluster[B].told(Leadership)[-1].stalled
        cluster.check_storage(B)
    assert cluster[B].told(Leadership)[-1].stalled
    cluster.time_out(B)
    assert cluster[B].told(Leadership)[-1].role is RoleName.FOLLOWER
    cluster[B].disk.write()
    cluster.acknowledge(B)
    assert not cluster[B].told(Leadership)[-1].stalled
    cluster.time_out(B)
    assert cluster[B].told(Leadership)[-1].role is RoleName.CANDIDATE


def test_a_follower_with_hung_storage_appends_nothing_until_it_recovers() -> None:
    cluster = led_by(A, B, C)
    for _ in range(STALLED_CHECKS_MAX + 1):
        cluster.check_storage(B)
    owed = len(cluster[B].disk.unwritten)
    for number in range(10):
        cluster.propose(A, b"%d" % number)
        cluster.beat(A)
        cluster.settle(A, C)
        cluster.deliver(to=B)
    assert len(cluster[B].disk.unwritten) == owed
    cluster[B].disk.write()
    cluster.acknowledge(B)
    for _ in range(3):
        cluster.beat(A)
        cluster.settle()
    assert cluster[B].log_terms == cluster[A].log_terms


def test_a_leader_with_responsive_idle_storage_keeps_leading() -> None:
    cluster = led_by(A, B, C)
    for _ in range(3 * STALLED_CHECKS_MAX):
        cluster.check_storage(A)
        cluster[A].disk.write()
        cluster.acknowledge(A)
    assert cluster.leaders == [A]


def test_a_leader_with_slow_but_advancing_storage_keeps_leading() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"first")
    for _ in range(3 * STALLED_CHECKS_MAX):
        cluster.propose(A, b"next")
        cluster[A].disk.write()
        cluster.acknowledge(A)
        cluster.settle(B, C)
        cluster.deliver(to=A)
        cluster.check_storage(A)
    assert cluster[A].disk.unwritten
    assert cluster.leaders == [A]


# --- transfers


def test_a_leader_that_steps_aside_is_succeeded_immediately() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, StepAside())
    cluster.settle()
    assert len(cluster.leaders) == 1
    assert cluster.leaders != [A]
    assert {machine.core.term for machine in cluster.alive} == {2}


def test_leadership_is_transferred_only_to_a_node_with_the_whole_log() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, C}, {B})
    cluster.propose(A, b"B lacks it")
    cluster.settle(A, C)
    cluster.propose(A, b"C has yet to get it")
    cluster.step(A, StepAside())
    assert cluster.sent(TimeoutNow) == []
    cluster.settle(A, C)
    assert cluster.leaders == [C]


def test_a_leader_that_steps_aside_in_vain_resumes_at_the_next_quorum_check() -> None:
    cluster = led_by(A, B, C)
    cluster.step(A, StepAside())
    cluster.drop()
    cluster.check_quorum(A)
    cluster.propose(A, b"taken again")
    cluster.settle()
    assert cluster[A].commit_index == 2


def test_a_single_node_never_steps_aside() -> None:
    cluster = led_by(A)
    cluster.step(A, StepAside())
    assert cluster.leaders == [A]


def test_a_non_voter_ignores_timeout_now() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.inject(A, D, TimeoutNow(1))
    assert cluster.sent(RequestVote) == []


def test_a_node_notified_of_its_removal_by_two_members_does_not_campaign() -> None:
    cluster = led_by(A, B, C)
    cluster.inject(A, B, RemovalNotice(7))
    assert cluster[B].clock.votes, "one member may be wrong"
    cluster.inject(C, B, RemovalNotice(7))
    cluster.time_out(B)
    assert cluster.sent(RequestVote) == []
    assert not cluster[B].clock.votes


# --- learners


@pytest.fixture
def learner_ahead(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return a cluster without its leader A, whose learner D holds an entry that voters lack."""
    monkeypatch.setattr(membership_changes, "PROMOTION_LAG_MAX", -1000)  # it stays a learner
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.settle()
    cluster.propose(A, b"held by the learner alone")
    cluster.deliver(to=D)
    cluster.sync(D)
    cluster.crash(A)
    cluster.drop()
    assert cluster[D].last_index > cluster[B].last_index
    assert not cluster[D].core.membership.is_voter(D)
    return cluster


def test_a_learner_that_blocks_a_candidate_wins_the_election_and_hands_over(
    learner_ahead: Cluster,
) -> None:
    cluster = learner_ahead
    cluster.go_quiet(B, C, D)
    cluster.inject(C, D, RequestVote(2, 1, 1, pre=True))
    cluster.settle()
    (leader,) = cluster.leaders
    assert leader in (B, C)
    assert {cluster[node].last_index for node in (B, C, D)} == {cluster[leader].commit_index}


@pytest.mark.parametrize(
    "request_",
    [RequestVote(2, 99, 1, pre=True), RequestVote(2, 1, 1), RequestVote(1, 1, 1, pre=True)],
    ids=["an up-to-date one", "one for a real election", "one of this term"],
)
def test_a_learner_does_not_campaign_on_any_other_vote_request(
    learner_ahead: Cluster, request_: RequestVote
) -> None:
    cluster = learner_ahead
    cluster.go_quiet(B, C, D)
    cluster.inject(C, D, request_)
    assert cluster.sent(RequestVote) == []


def test_a_learner_with_a_leader_does_not_campaign(learner_ahead: Cluster) -> None:
    cluster = learner_ahead
    cluster.inject(C, D, RequestVote(2, 1, 1, pre=True))
    assert cluster.sent(RequestVote) == []
