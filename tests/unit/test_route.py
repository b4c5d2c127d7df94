"""Route: a client prefers the leader while it replies, and otherwise tries every node."""

from protocol.client.routing import AVOID_SECONDS, Route
from protocol.membership import Member, Membership
from protocol.messages.client import Welcome

ADDRESSES = ("a:1", "b:1", "c:1")
A, B, C = (f"tcp://{address}" for address in ADDRESSES)


def members(*addresses: str) -> Membership:
    """Return a membership of voters, whose ids are their addresses."""
    return Membership(tuple(Member(each.encode(), each, True) for each in addresses))


def welcome(leader: str = "", cluster: bytes = b"cluster", node: bytes = b"a:1") -> Welcome:
    """Return a node's greeting with three members and the leader."""
    publishes_at = "tcp://a:2"
    return Welcome(cluster, node, publishes_at, None, leader, members(*ADDRESSES))


def test_nodes_take_turns_without_a_known_leader() -> None:
    route = Route([A, B, C], follow_leader=True)
    assert [route.choose(0.0) for _ in range(4)] == [A, B, C, A]


def test_the_leader_is_preferred_until_it_fails() -> None:
    route = Route([A], follow_leader=True)
    route.learn(welcome("b:1"))
    assert route.should_move(A, 0.0)
    assert [route.choose(0.0), route.choose(0.0)] == [B, B]
    route.note_failure(B, 0.0)
    assert not route.should_move(A, 0.0)
    assert {route.choose(0.0), route.choose(0.0)} == {A, C}


def test_a_removed_node_is_believed_only_while_no_member_is_known() -> None:
    route = Route([A], follow_leader=True)
    route.learn(welcome("b:1", node=b"removed"))
    assert route.nodes == [A, B, C]
    assert route.should_move(A, 0.0)
    route.learn(Welcome(b"cluster", b"a:1", "tcp://a:2", membership=members("a:1", "d:1")))
    assert route.nodes == [A, "tcp://d:1"]
    route.learn(welcome("b:1", node=b"removed"))
    assert route.nodes == [A, "tcp://d:1"]
    assert not route.should_move(A, 0.0)


def test_a_membership_replaces_no_newer_one() -> None:
    route = Route([A, B, C], follow_leader=True, cluster=b"c")
    publishes_at, old = "tcp://a:2", members(*ADDRESSES)
    route.learn(Welcome(b"c", b"a:1", publishes_at, None, "", members("a:1"), membership_index=7))
    route.learn(Welcome(b"c", b"b:1", publishes_at, None, "", old, membership_index=6))
    assert route.nodes == [A]
    route.learn(Welcome(b"c", b"b:1", publishes_at, None, "", old, membership_index=8))
    assert route.nodes == [A, B, C]
    route.learn(Welcome(b"c", b"a:1", publishes_at, None, "", members("a:1")))
    assert route.nodes == [A], "older versions do not say which one it is"


def test_a_node_that_says_that_it_was_removed_is_no_member() -> None:
    route = Route([A, C], follow_leader=True)
    route.settle(b"cluster")
    route.note_outsider(C)
    assert route.nodes == [A]
    route.learn(welcome())
    assert route.nodes == [A, C, B]
    route.note_outsider(C)
    assert route.nodes == [A, B]
    route.learn(welcome())
    assert route.nodes == [A, C, B]


def test_a_node_at_an_address_of_its_own_counts_as_a_member_once_it_says_so() -> None:
    alias, standby = "tcp://alias:9400", "tcp://standby:9400"
    route = Route([alias, standby], follow_leader=False, cluster=b"cluster")
    route.note_outsider(alias)  # it was still starting
    route.note_outsider(standby)
    route.learn(welcome())
    route.note_member(alias, "a:1")
    assert route.nodes == [alias]
    route.learn(Welcome(b"cluster", b"b:1", "tcp://b:2", membership=members("b:1")))
    assert route.nodes == [alias], "the node that it leads to may be a member again"
    following = Route([alias, A], follow_leader=True, cluster=b"cluster")
    following.learn(welcome())
    following.note_member(alias, "a:1")
    assert following.nodes == [A, B, C], "each node counts once"


def test_the_other_nodes_are_members_once_all_that_were_have_been_removed() -> None:
    route = Route([A, B, C], follow_leader=True, cluster=b"c")
    route.learn(Welcome(b"c", b"b:1", "tcp://b:2", None, "", members("b:1"), membership_index=7))
    assert route.nodes == [B]
    route.note_outsider(B)
    assert route.nodes == [A, C]


def test_every_node_gets_a_turn_although_failed_nodes_are_avoided() -> None:
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


def test_a_failed_node_is_avoided_for_a_while() -> None:
    route = Route([A, B], follow_leader=True)
    route.note_failure(A, 0.0)
    soon, later = AVOID_SECONDS / 2, AVOID_SECONDS * 2
    assert [route.choose(soon), route.choose(soon)] == [B, B]
    assert route.choose(later) == A


def test_all_nodes_are_tried_again_once_all_have_failed() -> None:
    route = Route([A, B], follow_leader=True)
    for endpoint in (A, B):
        route.note_failure(endpoint, 0.0)
    assert {route.choose(0.0), route.choose(0.0)} == {A, B}


def test_a_client_that_does_not_follow_the_leader_learns_of_no_other_node() -> None:
    route = Route([A], follow_leader=False)
    route.learn(welcome("b:1"))
    assert route.choose(0.0) == A
    assert route.all == [A]


def test_a_node_of_another_cluster_than_the_first_is_not_trusted() -> None:
    route = Route([A], follow_leader=True)
    assert route.learn(welcome("b:1", b"first"))
    assert not route.learn(welcome("c:1", b"second"))
    assert route.choose(0.0) == B


def test_a_node_without_a_cluster_does_not_settle_the_clients_cluster() -> None:
    route = Route([A], follow_leader=True)
    assert route.learn(welcome(cluster=b""))
    assert route.learn(welcome(cluster=b"first"))
    assert route.learn(welcome(cluster=b""))
    assert not route.learn(welcome(cluster=b"second"))


def test_a_client_that_does_not_follow_the_leader_still_checks_the_cluster() -> None:
    route = Route([A], follow_leader=False)
    route.learn(welcome(cluster=b"first"))
    assert not route.learn(welcome(cluster=b"second"))
    assert not Route([A], follow_leader=False, cluster=b"first").learn(welcome())
