"""Route: a client prefers the leader while it answers, and otherwise tries every node."""

from protocol.client.routing import AVOID_SECONDS, Route
from protocol.membership import Member, Membership
from protocol.messages.client import Welcome

ADDRESSES = ("a:1", "b:1", "c:1")
A, B, C = (f"tcp://{address}" for address in ADDRESSES)


def welcome(leader: str = "", cluster: bytes = b"cluster") -> Welcome:
    """Return a node's greeting with three members and the leader."""
    members = tuple(Member(address.encode(), address, True) for address in ADDRESSES)
    publishes_at = "tcp://a:2"
    return Welcome(cluster, b"node", publishes_at, None, leader, Membership(members))


def test_nodes_take_turns_where_nobody_is_known_to_lead() -> None:
    route = Route([A, B, C], follow_leader=True)
    assert [route.choose(0.0) for _ in range(4)] == [A, B, C, A]


def test_the_leader_is_asked_as_long_as_it_answers() -> None:
    route = Route([A], follow_leader=True)
    route.learn(welcome("b:1"))
    assert route.should_move(A, 0.0)
    assert [route.choose(0.0), route.choose(0.0)] == [B, B]
    route.note_failure(B, 0.0)
    assert not route.should_move(A, 0.0)
    assert {route.choose(0.0), route.choose(0.0)} == {A, C}


def test_no_node_is_passed_over_for_ever_whichever_are_avoided_when() -> None:
    route = Route([A, C], follow_leader=True)
    route.settle(b"cluster")
    asked = []
    now = 0.0
    for _ in range(6):
        asked.append(route.choose(now))
        now += AVOID_SECONDS
        route.learn(welcome())
        route.note_failure(asked[-1], now)
    assert asked[:3] == [A, C, B]
    assert asked[3:] == asked[:3]


def test_a_node_that_fails_is_left_alone_for_a_while() -> None:
    route = Route([A, B], follow_leader=True)
    route.note_failure(A, 0.0)
    soon, later = AVOID_SECONDS / 2, AVOID_SECONDS * 2
    assert [route.choose(soon), route.choose(soon)] == [B, B]
    assert route.choose(later) == A


def test_where_all_have_failed_all_are_tried_again() -> None:
    route = Route([A, B], follow_leader=True)
    for endpoint in (A, B):
        route.note_failure(endpoint, 0.0)
    assert {route.choose(0.0), route.choose(0.0)} == {A, B}


def test_a_client_that_stays_learns_of_no_other_node() -> None:
    route = Route([A], follow_leader=False)
    route.learn(welcome("b:1"))
    assert route.choose(0.0) == A
    assert route.all == [A]


def test_a_node_of_another_cluster_than_the_first_is_not_believed() -> None:
    route = Route([A], follow_leader=True)
    assert route.learn(welcome("b:1", b"first"))
    assert not route.learn(welcome("c:1", b"second"))
    assert route.choose(0.0) == B


def test_a_node_that_belongs_to_no_cluster_yet_decides_nothing() -> None:
    route = Route([A], follow_leader=True)
    assert route.learn(welcome(cluster=b""))
    assert route.learn(welcome(cluster=b"first"))
    assert route.learn(welcome(cluster=b""))
    assert not route.learn(welcome(cluster=b"second"))


def test_a_client_that_stays_knows_its_cluster_too() -> None:
    route = Route([A], follow_leader=False)
    route.learn(welcome(cluster=b"first"))
    assert not route.learn(welcome(cluster=b"second"))
    assert not Route([A], follow_leader=False, cluster=b"first").learn(welcome())
