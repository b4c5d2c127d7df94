"""Raft node: the messages that the core accepts, and those to its own actors."""

import pytest

from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import Leadership
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    PeerFrame,
    RequestVote,
)
from protocol.messages.replicator import AskStatus, Persisted, Propose, Recovered
from protocol.messages.storage import Append, Commit, ReportStatus
from protocol.messages.timer import ClockState
from protocol.raft.node import RaftNode
from protocol.raft.senders import RejectedFrame
from protocol.status import RoleName
from tests.harness.raft_cluster import CLUSTER, A, B, C, Cluster, address_of, frame_of, led_by


def frame(
    *, version: int = PEER_PROTOCOL_VERSION, cluster: bytes = CLUSTER, incarnation: int = 1
) -> PeerFrame:
    messages = (Heartbeat(9, 0, 0),)
    return PeerFrame(version, cluster, B, incarnation, address_of(B), messages)


def node(cluster: bytes = CLUSTER) -> RaftNode:
    core = RaftNode(Recovered(A, cluster, 1, HardState(), 0, 0, 0, (), ()))
    core.vouch(MembershipAt(1, Membership((Member(B, address_of(B), voter=True),))), 0)
    return core


@pytest.mark.parametrize(
    "strange",
    [frame(version=PEER_PROTOCOL_VERSION + 1), frame(cluster=b"other"), frame(cluster=b"")],
)
def test_a_strange_frame_is_refused_as_a_whole(strange: PeerFrame) -> None:
    core = node()
    with pytest.raises(RejectedFrame):
        core.receive(strange)
    assert core.term == 0


def test_a_node_without_a_cluster_refuses_all_frames_until_it_adopts_one() -> None:
    core = node(cluster=b"")
    with pytest.raises(RejectedFrame):
        core.receive(frame(cluster=b""))
    with pytest.raises(RejectedFrame):
        core.receive(frame())
    core.adopt(CLUSTER)
    core.receive(frame())
    assert core.term == 9


def test_a_frame_of_an_earlier_incarnation_is_refused() -> None:
    core = node()
    core.receive(frame(incarnation=3))
    core.receive(frame(incarnation=3))
    with pytest.raises(RejectedFrame):
        core.receive(frame(incarnation=2))
    core.receive(frame(incarnation=4))


def test_all_messages_of_a_frame_share_one_write() -> None:
    core = node()
    core.receive(
        frame_of(B, Heartbeat(1, 3, 0), Heartbeat(1, 4, 0), RequestVote(1, 9, 9, pre=True))
    )
    outbox = core.flush()
    assert outbox.peers == {}, "the term is not durable yet"
    assert len(outbox.storage) == 1, "one turn, one write"


def test_proposals_of_one_turn_are_replicated_in_one_message() -> None:
    cluster = led_by(A, B, C)
    for number in range(5):
        cluster[A].core.step(propose(number))
    cluster.step(A)
    assert len(cluster.sent(to=B)) == 1
    assert len(cluster[A].disk.unwritten) == 1
    cluster.settle()
    assert cluster[A].commit_index == 6


def propose(number: int) -> Propose:
    return Propose(number, b"x")


def test_a_leader_advances_the_commit_index_at_the_end_of_a_turn() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.write(A)
    for follower in (B, C):
        cluster.deliver(to=follower)
        cluster.sync(follower)
    core = cluster[A].core
    for packet in cluster.take(AppendEntriesReply):
        core.receive(frame_of(packet.sender, packet.message))
    assert core._state.commit_index == 1
    assert [each.index for each in core.flush().storage if isinstance(each, Commit)] == [2]


def test_the_timer_is_notified_only_of_changes() -> None:
    core = node()
    first = core.flush().clock
    assert first == ClockState(leading=False, votes=False, contact_count=1)
    assert core.flush().clock is None
    core.receive(frame())
    heard = core.flush().clock
    assert heard is not None
    assert heard.contact_count > first.contact_count


def test_the_gateway_receives_the_leader_and_its_address() -> None:
    cluster = led_by(A, B, C)
    told = cluster[B].told(Leadership)[-1]
    assert (told.term, told.role, told.leader) == (1, RoleName.FOLLOWER, A)
    assert told.leader_address == address_of(A)
    assert cluster[A].told(Leadership)[-1].role is RoleName.LEADER


def test_a_status_report_passes_through_storage() -> None:
    cluster = led_by(A, B, C)
    cluster.step(B, AskStatus(5))
    (report,) = cluster[B].disk.unwritten
    assert isinstance(report, ReportStatus)
    assert report.number == 5
    assert report.status.leader == A
    assert report.status.commit_index == 1
    assert report.status.membership == cluster[B].core.membership


def test_a_restarted_node_recovers_its_term_log_and_members() -> None:
    cluster = led_by(A, B, C)
    cluster.propose(A, b"x")
    cluster.settle()
    before = cluster[B].core.membership
    cluster.restart(B)
    core = cluster[B].core
    assert core.term == 1
    assert core.membership == before
    assert cluster[B].last_index == 2
    assert not core.leads


def test_a_heartbeat_reply_to_a_node_that_never_led_is_ignored() -> None:
    core = node()
    core.receive(frame_of(B, HeartbeatReply(0, 7)))
    assert core.flush().peers == {}


def test_a_node_without_members_does_not_campaign() -> None:
    cluster = Cluster(spare=[A]).start()
    cluster.time_out(A)
    assert cluster.sent() == []
    assert cluster[A].core.membership == Membership()


def test_a_founder_states_its_cluster_only_once_that_is_durable() -> None:
    core = RaftNode(Recovered(A, b"", 1, HardState(), 0, 0, 0, (), ()))
    core.found(CLUSTER, Membership((Member(A, address_of(A), voter=True),)))
    stated, writes = told(core)
    assert [each.cluster for each in stated] == [b""]
    core.step(Persisted(writes[-1].number, 1, 1, 1))
    stated, _ = told(core)
    assert [each.cluster for each in stated] == [CLUSTER]


def told(core: RaftNode) -> tuple[list[Leadership], list[Append]]:
    """Return what a turn tells the gateway of the cluster, and its writes."""
    outbox = core.flush()
    stated = [each for each in outbox.gateway if isinstance(each, Leadership)]
    return stated, [each for each in outbox.storage if isinstance(each, Append)]
