"""Membership changes: one at a time, in force as soon as they are in the log."""

from functools import partial

import pytest
from msgspec.structs import replace

from protocol.config import LEARNERS_MAX
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import Leadership, Refused
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    AppendEntries,
    AppendEntriesReply,
    ForwardMembershipChange,
    Heartbeat,
    JoinRequest,
    PeerFrame,
    ProposalRefused,
    RemovalNotice,
    RequestVote,
)
from protocol.messages.replicator import Recovered, StepAside
from protocol.raft import membership_changes, replication
from protocol.raft.node import RaftNode
from protocol.refusal import Refusal
from protocol.state.levels import STATE_LEVEL
from protocol.wire import encode
from tests.harness.raft_cluster import (
    CLUSTER,
    ELECTION_TIMEOUT_MIN_US,
    A,
    B,
    C,
    Cluster,
    D,
    E,
    address_of,
    led_by,
)


def members(*nodes: bytes, learners: tuple[bytes, ...] = ()) -> Membership:
    voters = [Member(node, address_of(node), True, STATE_LEVEL) for node in nodes]
    others = [Member(node, address_of(node), False, STATE_LEVEL) for node in learners]
    return Membership(tuple(sorted([*voters, *others], key=lambda each: each.id)))


def refused(cluster: Cluster, node: bytes) -> list[Refusal]:
    return [message.refusal for message in cluster[node].told(Refused)]


# --- joining


def test_a_node_joins_as_a_learner_that_does_not_count_for_the_quorum() -> None:
    cluster = led_by(A, B, C, spare=[D])
    assert cluster.join(D, through=A).accepted
    assert cluster[A].core.membership == members(A, B, C, learners=(D,))
    cluster.partition({A, B}, {C}, {D})
    cluster.settle()
    assert cluster[A].commit_index == 2


def test_a_learner_that_has_caught_up_becomes_a_voter() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.settle()
    assert {machine.core.membership for machine in cluster.alive} == {members(A, B, C, D)}
    assert cluster[D].clock.votes


def test_a_lagging_learner_stays_a_learner_until_it_has_caught_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replication, "APPEND_BYTES_MAX", 1000)
    cluster = led_by(A, B, C, spare=[D])
    for number in range(300):
        cluster.propose(A, b"%d" % number)
    cluster.settle()
    cluster.join(D, through=A)
    cluster.settle(A, B, C)
    cluster.deliver(to=D)
    cluster.sync(D)
    cluster.deliver(to=A)
    assert cluster[A].core.membership == members(A, B, C, learners=(D,))
    cluster.settle()
    assert cluster[A].core.membership == members(A, B, C, D)


def test_a_learner_that_caught_up_before_its_join_committed_becomes_a_voter() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.beat(A)
    for _ in range(5):
        cluster.settle(D)
        cluster.deliver(sender=D)
    assert cluster[D].disk.last_index == 2
    assert not cluster[A].core.membership.is_voter(D), "its joining is not committed yet"
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    assert cluster[A].core.membership == members(A, B, C, D)


def test_a_cluster_grows_from_one_node() -> None:
    cluster = led_by(A, spare=[B, C])
    for node in (B, C):
        cluster.join(node, through=A)
        cluster.settle()
        cluster.beat(A)
        cluster.settle()
    assert cluster[C].core.membership == members(A, B, C)
    cluster.crash(A)
    cluster.elect(C)


def test_a_follower_redirects_a_joining_node_to_the_leader() -> None:
    cluster = led_by(A, B, C, spare=[D])
    reply = cluster.join(D, through=B)
    assert not reply.accepted
    assert reply.leader_address == address_of(A)


def test_joining_again_changes_nothing() -> None:
    cluster = led_by(A, B, C, spare=[D])
    for _ in range(3):
        assert cluster.join(D, through=A).accepted
    assert cluster[A].last_index == 2


def test_a_former_member_that_has_moved_is_not_added() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=A)
    cluster.settle()
    moved = JoinRequest("moved:9400", False, *cluster.basis(A), STATE_LEVEL, is_member=True)
    reply = cluster.turn(A, lambda core: core.join(C, moved))
    assert (reply.accepted, reply.refusal) == (False, "")
    assert cluster[A].core.membership == members(A, B)
    rejoining = replace(moved, is_member=False)
    assert cluster.turn(A, lambda core: core.join(C, rejoining)).accepted


def test_a_member_that_has_moved_is_listed_at_its_new_address() -> None:
    cluster = led_by(A, B, C)
    moved = JoinRequest("moved:9400", False, *cluster.basis(A), STATE_LEVEL, is_member=True)
    assert cluster.turn(A, lambda core: core.join(C, moved)).accepted
    member = cluster[A].core.membership.get(C)
    assert member is not None
    assert (member.address, member.voter) == ("moved:9400", True)


def test_a_join_request_from_before_a_removal_does_not_undo_it() -> None:
    cluster = led_by(A, B, C, spare=[D])
    late = JoinRequest(address_of(D), False, *cluster.basis(A), STATE_LEVEL)
    assert cluster.join(D, through=A).accepted
    cluster.settle()
    cluster.remove(D, through=A)
    cluster.settle()
    reply = cluster.turn(A, lambda core: core.join(D, late))
    assert (reply.accepted, reply.refusal, reply.leader_address) == (False, "", address_of(A))
    assert cluster[A].core.membership == members(A, B, C)
    now = JoinRequest(address_of(D), False, reply.index, reply.term, STATE_LEVEL)
    assert cluster.turn(A, lambda core: core.join(D, now)).accepted


def test_at_most_learners_max_nodes_join_at_once() -> None:
    cluster = led_by(A, B, C)
    strangers = [b"learner %d" % number for number in range(8)]
    replies = []
    for number, each in enumerate(strangers):
        request = JoinRequest(f"learner-{number}:9400", False, *cluster.basis(A), STATE_LEVEL)
        node = each.ljust(16, b"\0")
        replies.append(cluster.turn(A, partial(RaftNode.join, joiner=node, request=request)))
        cluster.settle()
    accepted = [reply.accepted for reply in replies]
    assert accepted == [True] * LEARNERS_MAX + [False] * (8 - LEARNERS_MAX)
    assert "learners_max" in replies[-1].refusal
    assert cluster.join(B, through=A, address="elsewhere:9400").accepted, "B is a member already"


def test_a_learner_that_never_replies_is_removed() -> None:
    cluster = led_by(A, B, C)
    request = JoinRequest("learner:9400", False, *cluster.basis(A), STATE_LEVEL)
    cluster.turn(A, lambda core: core.join(D, request))
    cluster.settle()
    checks = 0
    while cluster[A].core.membership.learners:
        cluster.beat(A)
        cluster.settle()
        cluster.check_quorum(A)
        checks += 1
    assert checks == membership_changes.LEARNER_CHECKS_MAX + 1
    cluster.settle()
    assert cluster[B].core.membership == members(A, B, C)


def test_a_learner_that_has_replied_once_is_kept() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.start(D)
    cluster.join(D, through=A)
    cluster.deliver(to=D)
    cluster.sync(D)
    cluster.partition({A, B, C}, {D})
    cluster[A].core._state.role.progress[D].answered_at = 1  # type: ignore[union-attr]
    for _ in range(2 * membership_changes.LEARNER_CHECKS_MAX):
        cluster.beat(A)
        cluster.settle()
        cluster.check_quorum(A)
    assert cluster[A].core.membership.get(D)


def test_an_address_that_belongs_to_another_member_is_refused() -> None:
    cluster = led_by(A, B, C, spare=[D])
    reply = cluster.join(D, through=A, address=address_of(B))
    assert not reply.accepted
    assert address_of(B) in reply.refusal
    assert cluster[A].last_index == 1


def test_an_invalid_address_is_refused() -> None:
    cluster = led_by(A, B, C, spare=[D])
    reply = cluster.join(D, through=A, address="no address:")
    assert not reply.accepted
    assert reply.refusal


def test_a_member_that_changes_its_address_keeps_its_vote() -> None:
    cluster = led_by(A, B, C)
    assert cluster.join(B, through=A, address="elsewhere:9400").accepted
    cluster.settle()
    assert cluster[C].core.membership.get(B) == Member(B, "elsewhere:9400", True, STATE_LEVEL)


def test_a_joining_node_that_replays_earlier_memberships_is_not_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replication, "APPEND_BYTES_MAX", 1)
    cluster = led_by(A, B, C, spare=[D, E])
    cluster.join(D, through=A)
    cluster.settle()
    cluster.propose(A, b"x")
    cluster.settle()
    cluster.join(E, through=A)
    cluster.settle()
    assert cluster[E].core.membership == members(A, B, C, D, E)
    assert not any(message.removed for message in cluster[E].told(Leadership))


# --- one change at a time


def test_a_second_change_waits_for_the_first_to_be_committed() -> None:
    cluster = led_by(A, B, C, spare=[D, E])
    cluster.join(D, through=A)
    assert not cluster.join(E, through=A).accepted
    cluster.remove(B, through=A)
    assert refused(cluster, A) == [Refusal.BUSY]
    assert cluster[A].last_index == 2


def test_no_change_begins_before_an_entry_of_the_term_is_committed() -> None:
    # Two leaders could each commit a change of which the other knows nothing.
    cluster = led_by(A, B, C, spare=[D])
    cluster.elect_without_replication(B, votes_of=[C])
    cluster.remove(A, through=B)
    assert refused(cluster, B) == [Refusal.BUSY]
    assert not cluster.join(D, through=B).accepted
    cluster.beat(B)
    cluster.settle()
    assert cluster.join(D, through=B).accepted


def test_no_change_begins_during_a_leadership_transfer() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.step(A, StepAside())
    cluster.remove(C, through=A)
    assert refused(cluster, A) == [Refusal.NOT_LEADER]
    assert not cluster.join(D, through=A).accepted


def test_a_change_takes_effect_with_its_entry_and_is_stored_with_it() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=A)
    assert cluster[A].core.membership == members(A, B)
    assert cluster[A].core._state.memberships.committed.membership == members(A, B, C)
    cluster.sync(A)
    assert [each.membership for each in cluster[A].disk.memberships] == [
        members(A, B, C),
        members(A, B),
    ]
    cluster.settle()
    assert [each.membership for each in cluster[A].disk.memberships[-1:]] == [members(A, B)]


def test_a_change_whose_entry_is_replaced_is_rolled_back() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A}, {B, C})
    cluster.remove(C, through=A)
    cluster.sync(A)
    cluster.restart(A)
    assert cluster[A].core.membership == members(A, B)
    cluster.elect(B, among=[C])
    cluster.heal()
    cluster.beat(B)
    cluster.settle()
    assert cluster[A].core.membership == members(A, B, C)
    assert [each.membership for each in cluster[A].disk.memberships] == [members(A, B, C)]
    assert cluster[C].core.membership == members(A, B, C)


def test_a_rolled_back_removal_does_not_leave_the_node_removed() -> None:
    cluster = led_by(A, B, C)
    change = encode(MembershipChange(members(A, B)))
    cluster.inject(A, C, AppendEntries(1, 1, 1, (LogEntry(2, 1, EntryKind.MEMBERSHIP, change),), 1))
    assert cluster[C].core.membership == members(A, B)
    cluster.inject(B, C, AppendEntries(2, 1, 1, (LogEntry(2, 2, EntryKind.NO_OP),), 2))
    cluster.sync(C)
    assert cluster[C].core.membership == members(A, B, C)
    assert cluster[C].clock.votes


def test_a_node_keeps_its_vote_until_its_removal_is_committed() -> None:
    # A learns in one message that its membership is committed, and that it is to be removed.
    cluster = led_by(B, C, spare=[A])
    joined = LogEntry(2, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(members(A, B, C))))
    removed = LogEntry(3, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(members(B, C))))
    first = cluster[B].disk.entries[0]
    cluster[A].core.vouch(MembershipAt(2, members(A, B, C)), 0)
    cluster.inject(B, A, AppendEntries(1, 0, 0, (first, joined, removed), 2))
    assert cluster[A].clock.votes
    cluster.inject(B, A, AppendEntries(1, 3, 1, (), 3))
    assert not cluster[A].clock.votes


# --- leaving


def test_a_removed_node_is_notified_and_does_not_campaign() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=A)
    cluster.settle()
    assert cluster[C].told(Leadership)[-1].removed
    cluster.time_out(C)
    assert cluster.sent(RequestVote) == []


def test_a_restarted_removed_node_is_notified_again_and_does_not_campaign() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=A)
    cluster.settle()
    cluster.restart(C)
    cluster.time_out(C)
    cluster.settle()
    assert cluster[C].told(Leadership)[-1].removed
    cluster.time_out(C)
    assert cluster.sent(RequestVote) == []
    assert cluster[A].core.term == 1


def test_a_node_removed_while_partitioned_learns_of_it_and_disturbs_no_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.partition({A, B}, {C})
    cluster.remove(C, through=A)
    cluster.settle()
    cluster.heal()
    for _ in range(3):
        cluster.go_quiet(C)
        cluster.time_out(C)
        cluster.settle()
    assert cluster[C].told(Leadership)[-1].removed
    assert cluster.leaders == [A]
    assert cluster[A].core.term == 1
    assert cluster.sent(RequestVote) == []


def test_a_removal_notice_older_than_the_known_membership_is_ignored() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.settle()
    cluster.inject(B, D, RemovalNotice(1))
    assert cluster[D].clock.votes


def test_a_node_whose_addition_was_lost_is_not_removed_and_can_join_again() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.partition({A, D}, {B, C})
    cluster.join(D, through=A)
    cluster.settle()
    assert cluster[D].core.membership == members(A, B, C, learners=(D,))
    cluster.elect(B, among=[C])
    cluster.heal()
    for member in (B, C):
        cluster.inject(member, D, RemovalNotice(7))
    assert cluster[D].core.addition_lost
    assert not cluster[D].core.removed
    cluster.join(D, through=B)
    cluster.settle()
    assert cluster[D].core.committed_member is not None
    assert not cluster[D].core.addition_lost


def test_a_joining_node_that_received_only_earlier_memberships_is_not_removed() -> None:
    cluster = led_by(A, B, C, spare=[D])
    disk = cluster[D].disk
    disk.memberships = (MembershipAt(1, members(A, B, C)),)
    cluster.restart(D)
    for member in (B, C):
        cluster.inject(member, D, RemovalNotice(1, D))
        cluster.inject(member, D, RemovalNotice(7, D))
    assert not cluster[D].core.removed
    cluster.join(D, through=A)
    cluster.settle()
    assert cluster[D].core.committed_member is not None


def test_a_founder_that_missed_all_later_entries_learns_that_it_was_removed() -> None:
    cluster = led_by(A, B, C, spare=[D])
    founding = members(A, B, C, D)
    disk = cluster[D].disk
    disk.entries = [LogEntry(1, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(founding)))]
    disk.memberships = (MembershipAt(0, Membership()), MembershipAt(1, founding))
    cluster.restart(D)
    cluster.inject(A, D, RemovalNotice(7))
    assert not cluster[D].core.removed
    cluster.inject(B, D, RemovalNotice(7))
    assert cluster[D].core.removed
    assert not cluster[D].core.addition_lost


def test_a_removed_node_that_rejoins_is_a_voter_again() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=A)
    cluster.settle()
    cluster.join(C, through=A)
    cluster.turn(C, lambda core: core.adopt(core.cluster))
    cluster.settle()
    assert cluster[C].core.membership == members(A, B, C)
    assert not cluster[C].told(Leadership)[-1].removed
    assert cluster[C].clock.votes


def test_a_leader_that_removes_itself_leads_until_its_removal_is_committed() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(A, through=A)
    assert cluster.leaders == [A]
    cluster.sync(A)
    assert cluster[A].commit_index == 1, "its own disk does not count any more"
    cluster.settle()
    assert cluster.leaders == []
    assert cluster[A].told(Leadership)[-1].removed
    assert cluster[B].commit_index == cluster[C].commit_index == 2
    cluster.elect(B, among=[C])


def test_the_last_voter_cannot_be_removed() -> None:
    cluster = led_by(A, spare=[B])
    cluster.join(B, through=A)
    cluster.sync(A)
    assert cluster[A].core.membership == members(A, learners=(B,))
    cluster.remove(A, through=A)
    assert refused(cluster, A) == [Refusal.LAST_VOTER]


def test_an_unknown_node_cannot_be_removed() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(D, through=A)
    assert refused(cluster, A) == [Refusal.UNKNOWN_MEMBER]


def test_a_removal_on_a_follower_is_forwarded_to_the_leader() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=B, number=7)
    assert cluster.sent() == [ForwardMembershipChange(7, incarnation=1, remove=C)]
    cluster.deliver()
    (entry,) = cluster[A].disk.unwritten[0].entries  # type: ignore[union-attr]
    assert entry.payload == encode(MembershipChange(members(A, B), B, 1, 7))


def test_the_refusal_of_a_forwarded_removal_is_reported_on_the_follower() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(D, through=B, number=7)
    cluster.deliver()
    assert cluster.sent() == [ProposalRefused(7, Refusal.UNKNOWN_MEMBER)]
    cluster.deliver()
    assert cluster[B].told(Refused) == [Refused(7, Refusal.UNKNOWN_MEMBER)]


def test_a_removal_without_a_leader_is_refused() -> None:
    cluster = Cluster(A, B, C).start()
    cluster.remove(C, through=B)
    assert refused(cluster, B) == [Refusal.NOT_LEADER]


def test_a_removed_node_receives_heartbeats_until_its_removal_is_committed() -> None:
    cluster = led_by(A, B, C)
    cluster.remove(C, through=A)
    cluster.drop()
    cluster.beat(A)
    assert len(cluster.sent(Heartbeat, to=C)) == 1
    cluster.settle()
    cluster.beat(A)
    assert cluster.sent(Heartbeat, to=C) == []


# --- a new majority


def test_a_change_is_committed_by_the_new_majority() -> None:
    cluster = led_by(A, B, spare=[C])
    cluster.join(C, through=A)
    cluster.settle()
    assert cluster[A].core.membership == members(A, B, C)
    cluster.partition({A, C}, {B})
    cluster.propose(A, b"x")
    cluster.settle()
    assert cluster[A].commit_index == cluster[A].last_index


def test_a_learners_acceptance_commits_nothing() -> None:
    cluster = led_by(A, B, C, spare=[D])
    cluster.join(D, through=A)
    cluster.sync(A)
    cluster.inject(D, A, AppendEntriesReply(1, accepted=True, index=2))
    assert cluster[A].commit_index == 1


def test_a_restarted_single_voter_elects_itself() -> None:
    cluster = led_by(A, B)
    cluster.remove(B, through=A)
    cluster.settle()
    cluster.restart(A)
    cluster.settle()
    assert cluster.leaders == [A]
    assert cluster[A].disk.hard_state == HardState(2, A, ELECTION_TIMEOUT_MIN_US)


def test_a_node_without_a_membership_ignores_a_removal_notice() -> None:
    node = RaftNode(Recovered(D, CLUSTER, 1, HardState(), 0, 0, 0, (), ()))
    node._senders.vouch(MembershipAt(2, members(A, B, C, D)), 1)
    node.receive(PeerFrame(PEER_PROTOCOL_VERSION, CLUSTER, B, 1, "b:9400", (RemovalNotice(1, D),)))
    assert not node.removed


def test_a_readmitted_node_that_replays_its_removal_stays_a_member() -> None:
    node = RaftNode(Recovered(D, CLUSTER, 1, HardState(), 0, 0, 0, (), ()))
    node.vouch(MembershipAt(3, members(A, B, C, D)), 1)
    history = [members(A, B, C, D), members(A, B, C), members(A, B, C, D)]
    entries = tuple(
        LogEntry(index, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(each)))
        for index, each in enumerate(history, start=1)
    )
    for upto in (2, 3):
        append = AppendEntries(1, 0, 0, entries[:upto], upto)
        node.receive(PeerFrame(PEER_PROTOCOL_VERSION, CLUSTER, A, 1, "a:9400", (append,)))
        node.flush()
        assert not node.removed
    assert node.membership == members(A, B, C, D)
