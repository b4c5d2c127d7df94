"""Membership on real processes: joining, moving, leaving and coming back."""

import functools
import random
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest

from protocol.address import DEFAULT_PORT
from skiff import (
    Client,
    ClusterJoinFailed,
    InvalidRequest,
    Member,
    PeerConnectFailed,
    RequestTimeout,
    Skiff,
)
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster.audited import audited
from tests.cluster.keyed import node_key

pytestmark = pytest.mark.cluster

# A long election timeout, so that leaders survive the pauses of a busy machine.
PATIENT = ("--election-timeout-min-ms", "2000", "--election-timeout-max-ms", "3000")

NewNode = Callable[..., Node]


@pytest.fixture
def new_node(tmp_path: Path) -> Iterator[NewNode]:
    """Return a factory of new nodes with further options of ``skiff node start``."""
    nodes: list[Node] = []

    def make(*options: str) -> Node:
        node = Node(tmp_path / f"new-{len(nodes) + 1}", list(options))
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.kill()


def members_as_seen_by(node: Node) -> tuple[Member, ...]:
    status = node.status()
    return () if status is None else status.members


def wait_until_agreed(nodes: list[Node]) -> None:
    """Wait until each of these nodes knows exactly them as voters."""
    expected = {(node.id, node.address, True) for node in nodes}

    def are_agreed() -> bool:
        seen = [members_as_seen_by(node) for node in nodes]
        return all({(m.id, m.address, m.voter) for m in members} == expected for members in seen)

    wait_until(are_agreed, f"{nodes} agree on each other", timeout=30)


def wait_until_recorded(nodes: list[Node], operation: str, changed: Node) -> None:
    """Wait until the audit trail of each of these nodes shows that a member has changed."""
    target = f"{changed.id.hex} {changed.address}"

    def is_recorded(node: Node) -> bool:
        records = audited(node.directory)
        return any((it["operation"], it["target"]) == (operation, target) for it in records)

    for node in nodes:
        wait_until(functools.partial(is_recorded, node), f"{node} records {operation}")


def serves(node: Node, key: str) -> object:
    with node.client(timeout=20) as client:
        return client.get(key)


def says_that_it_is_removed(node: Node) -> bool:
    status = node.status()
    return status is not None and status.removed


# --- joining


def test_a_node_can_join_through_any_member(own_cluster: Cluster, new_node: NewNode) -> None:
    nodes = list(own_cluster.nodes)
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "value")
    for through in (own_cluster.followers()[0], own_cluster.leader()):
        joiner = new_node("--join", through.address)
        joiner.start()
        nodes.append(joiner)
        wait_until_agreed(nodes)
        assert serves(joiner, "key") == "value"
        wait_until_recorded(nodes[:-1], "MemberAdded", joiner)
    # Five nodes survive the loss of any two.
    leader, follower = own_cluster.leader(), own_cluster.followers()[0]
    for lost in (leader, follower):
        own_cluster.kill(lost)
    for node in nodes[-2:]:
        with node.client(timeout=20) as client:
            client.insert(f"written/{node.port}", 1)
            assert client.get("key", str) == "value"


def test_a_standby_node_waits_and_is_added_through_a_follower(
    own_cluster: Cluster, new_node: NewNode
) -> None:
    standby = new_node("--standby")
    standby.start()
    assert members_as_seen_by(standby) == ()
    with standby.client(timeout=0.3) as client, pytest.raises(RequestTimeout):
        client.insert("key", "nobody's")
    with own_cluster.followers()[0].client(timeout=20) as client:
        client.insert("key", "value")
        client.add_member(standby.address)
        assert standby.address in {m.address for m in client.members() if m.voter}
        client.add_member(standby.address)  # adding is idempotent
    wait_until_agreed([*own_cluster.nodes, standby])
    assert serves(standby, "key") == "value"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has many loopback addresses")
def test_a_standby_node_is_added_by_its_host_without_a_port(
    own_cluster: Cluster, new_node: NewNode
) -> None:
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    standby = new_node("--standby", "--bind", host)
    standby.port = DEFAULT_PORT
    standby.start()
    with own_cluster.client(timeout=20) as client:
        client.add_member(host)
        assert f"{host}:{DEFAULT_PORT}" in {m.address for m in client.members() if m.voter}


def test_a_node_that_reaches_no_member_joins_when_the_cluster_comes_up(new_node: NewNode) -> None:
    founder = new_node()
    early = new_node("--join", f"127.0.0.1:{free_port()}", "--join", founder.address)
    early.launch()
    wait_until(lambda: "to join" in early.log(), "it says that it waits")
    assert f"asks {early.options[1]}, {founder.address} to join" in early.log()
    assert members_as_seen_by(early) == ()
    assert early.output is not None
    told, _, _ = select.select([early.output], [], [], 0)
    assert told == [], "it is no member, and says that it serves"
    founder.start()
    early.wait_until_ready()
    assert early.id in {member.id for member in members_as_seen_by(early)}
    wait_until_agreed([founder, early])


def test_a_join_at_a_members_address_is_refused_until_that_member_is_removed(
    own_cluster: Cluster, new_node: NewNode
) -> None:
    lost, *remaining = own_cluster.followers()
    remaining.append(own_cluster.leader())
    own_cluster.kill(lost)
    successor = new_node("--join", remaining[0].address)
    successor.port = lost.port
    successor.launch()
    wait_until(lambda: "cannot join" in successor.log(), "the refusal is logged")
    assert f"{lost.address} belongs to member {lost.id.hex}" in successor.log()
    assert "start this one with --rejoin" in successor.log()
    assert successor.log().count("cannot join") == 1
    with remaining[0].client(timeout=20) as client:
        assert {member.id for member in client.members()} == {lost.id, *(n.id for n in remaining)}
        client.remove_node(lost.id)
    successor.wait_until_ready()
    wait_until_agreed([*remaining, successor])


def test_a_removed_member_cannot_join_another_cluster(
    own_cluster: Cluster, new_node: NewNode
) -> None:
    stranger = new_node()
    stranger.start()
    removed = own_cluster.followers()[0]
    with own_cluster.leader().client(timeout=20) as client:
        client.remove_node(removed.id)
    wait_until(lambda: says_that_it_is_removed(removed), f"{removed} knows that it is removed")
    removed.terminate()

    def join_the_stranger() -> None:
        through = [stranger.address]
        with Skiff(
            removed.directory,
            port=removed.port,
            join_cluster=through,
            rejoin=True,
            key=removed.key or "",
        ) as node:
            node.wait()

    with pytest.raises(ClusterJoinFailed, match=f"{stranger.address} belongs to another cluster"):
        join_the_stranger()
    assert [member.id for member in members_as_seen_by(stranger)] == [stranger.id]


def test_a_founder_restarted_with_join_stays_in_its_own_cluster(new_node: NewNode) -> None:
    founder = new_node()
    founder.start()
    founder.terminate()
    again = new_node("--join", f"127.0.0.1:{free_port()}")
    again.directory = founder.directory
    again.start()
    wait_until(lambda: "joins no other one" in again.log(), "it is told")
    assert [member.id for member in members_as_seen_by(again)] == [founder.id]


def test_a_node_that_cannot_join_names_the_addresses_it_tried(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    node = Skiff(tmp_path / "node", port=free_port(), join_cluster=[nobody], key=node_key())
    with node, pytest.raises(ClusterJoinFailed, match=nobody):
        node.wait_for_leader(timeout=1)


def test_adding_an_address_without_a_standby_node_names_that_address(own_cluster: Cluster) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    followers = [node.address for node in own_cluster.followers()]
    with Client(followers, timeout=2) as client, pytest.raises(PeerConnectFailed, match=nobody):
        client.add_member(nobody)
    assert len(members_as_seen_by(own_cluster.leader())) == 3


def test_a_node_slow_to_accept_a_connection_still_replies_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node counts a request's timeout from its receipt, not from the call's start."""
    grace, pause = 0.7, 0.8  # seconds; longer than usual, for a busy machine
    monkeypatch.setattr("skiff.caller.GRACE_SECONDS", grace)
    monkeypatch.setattr("skiff.connection.CONNECT_SECONDS", 1.0)
    with Cluster(1, directory=tmp_path, options=PATIENT) as single:
        (node,) = single.nodes
        nobody = f"127.0.0.1:{free_port()}"
        single.pause(node)
        resuming = Timer(pause, single.resume, [node])
        resuming.start()
        with node.client() as client, pytest.raises(PeerConnectFailed, match=nobody):
            client.add_member(nobody, timeout=1)
        resuming.join()


# --- moving


def test_a_moved_node_is_known_at_its_new_address(own_cluster: Cluster) -> None:
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "value")
    for moving in (own_cluster.followers()[0], own_cluster.leader()):
        identity = moving.id
        assert moving.terminate() == 0
        moving.port = free_port()
        moving.replace_options()  # its former options name its former address
        moving.start()
        assert moving.id == identity
        wait_until_agreed(own_cluster.nodes)
        assert serves(moving, "key") == "value"
        others = [node for node in own_cluster.nodes if node is not moving]
        wait_until_recorded(others, "MemberMoved", moving)


def test_a_moved_single_node_knows_its_new_address(single: Cluster) -> None:
    node = single.nodes[0]
    node.terminate()
    node.port = free_port()
    node.start()
    wait_until_agreed([node])


def test_all_nodes_can_move_one_after_another(own_cluster: Cluster) -> None:
    for node in own_cluster.nodes:
        node.signal(signal.SIGKILL)
        node.kill()
        node.port = free_port()
        node.replace_options()
        node.start()
        wait_until_agreed(own_cluster.nodes)
    with own_cluster.client(timeout=20) as client:
        client.insert("key", "value")


# --- leaving and coming back


def test_a_removed_node_stays_removed_until_it_is_started_with_rejoin(own_cluster: Cluster) -> None:
    removed, *others = own_cluster.followers()
    others.append(own_cluster.leader())
    with others[0].client(timeout=20) as client:
        client.insert("before", 1)
        client.remove_node(removed.id)
        wait_until(lambda: "was removed from cluster" in removed.log(), "it says so")
        assert says_that_it_is_removed(removed)
        assert removed.terminate() == 0

        # Its own command, which names the cluster, does not restore it.
        for _ in range(2):
            removed.launch()
            assert removed.wait() == 7
        assert "start it with --join and --rejoin to bring it back" in removed.log()
        term = client.status().term
        client.insert("while/away", 2)
        assert client.status().term == term
        wait_until_agreed(others)
        wait_until_recorded(others, "MemberRemoved", removed)

        removed.add_options("--rejoin")
        removed.start()
        wait_until_agreed([*others, removed])
    assert (serves(removed, "before"), serves(removed, "while/away")) == (1, 2)


@pytest.mark.parametrize("moves", [False, True], ids=["in_place", "moved"])
def test_a_node_removed_while_down_learns_of_its_removal(own_cluster: Cluster, moves: bool) -> None:
    removed, *others = own_cluster.followers()
    others.append(own_cluster.leader())
    own_cluster.kill(removed)
    if moves:
        removed.port = free_port()
        removed.replace_options("--join", others[0].address)
    with others[0].client(timeout=20) as client:
        client.remove_node(removed.id)
        for _ in range(2):
            removed.launch()
            assert removed.wait() == 7
        client.insert("key", "value")
    wait_until_agreed(others)
    removed.add_options("--rejoin")
    removed.start()
    wait_until_agreed([*others, removed])
    assert serves(removed, "key") == "value"


def test_a_removed_node_on_standby_returns_by_invitation(own_cluster: Cluster) -> None:
    removed, *others = own_cluster.followers()
    others.append(own_cluster.leader())
    with others[0].client(timeout=20) as client:
        client.remove_node(removed.id)
        wait_until(lambda: says_that_it_is_removed(removed), "it knows that it was removed")
        removed.terminate()
        removed.replace_options("--standby")
        removed.start()
        wait_until_agreed(others)
        client.add_member(removed.address)
    wait_until_agreed([*others, removed])


def test_a_follower_confirms_its_own_removal(own_cluster: Cluster) -> None:
    removed, *others = own_cluster.followers()
    others.append(own_cluster.leader())
    with removed.client(timeout=20) as client:
        client.remove_node(removed.id)
    wait_until_agreed(others)


def test_a_watch_leaves_a_node_that_is_removed(own_cluster: Cluster) -> None:
    watched, *others = own_cluster.followers()
    addresses = [watched.address, *[node.address for node in others]]
    with (
        Client([watched.address], follow_leader=False) as near,
        Client(addresses, follow_leader=False) as client,
    ):
        stuck, changes = near.watch(), client.watch()
        with own_cluster.leader().client(timeout=20) as elsewhere:
            elsewhere.insert("key", 1)
            for each in (stuck, changes):
                assert each.recv(int, timeout=20) == ("key", 1)
            elsewhere.remove_node(watched.id)
            elsewhere.insert("key", 2)
            assert changes.recv(int, timeout=20) == ("key", 2)  # through another node
            with pytest.raises(RequestTimeout):
                stuck.recv(timeout=3)
            with pytest.raises(RequestTimeout):
                near.watch(timeout=3)


def test_the_last_voter_cannot_be_removed(single: Cluster) -> None:
    first, second = single.nodes[0], single.add_node()
    wait_until_agreed([first, second])
    with first.client(timeout=20) as client:
        client.remove_node(second.id)
        with pytest.raises(InvalidRequest, match="last voter"):
            client.remove_node(first.id)
        client.insert("key", "value")
        assert client.get("key", str) == "value"
    wait_until_agreed([first])


def test_all_nodes_agree_through_additions_and_removals(single: Cluster) -> None:
    present = list(single.nodes)
    with present[0].client(timeout=20) as client:
        for number in range(3):
            added = single.add_node()
            present.append(added)
            wait_until_agreed(present)
            client.insert(f"key/{number}", number)
            if number:
                gone = present.pop(1)
                client.remove_node(gone.id)
                wait_until_agreed(present)
                single.kill(gone)
            assert serves(added, f"key/{number}") == number
