"""Behaviours: the same ones that skiff-rs tests, on real processes."""

import threading
import uuid
from pathlib import Path

import msgspec
import pytest

from protocol.state.commands import GrantLease, LeaseGranted
from skiff import (
    Builder,
    Client,
    EventKind,
    InvalidRequest,
    OutcomeUnknown,
    RequestTimeout,
    Role,
    Skiff,
)
from skiff.addresses import endpoints_of
from skiff.caller import Caller
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster.keyed import node_key

SECONDS = 10.0

pytestmark = pytest.mark.cluster


class Person(msgspec.Struct):
    name: str
    age: int
    tags: list[str] = []


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix of the shared cluster's keys for one test alone."""
    return f"{request.node.name}/"


def serves(node: Node, key: str) -> object:
    with node.client() as client:
        return client.get(key)


def test_a_leader_is_elected(tmp_path: Path) -> None:
    node = Builder().set_dir(str(tmp_path / "node")).port(free_port()).build()
    node.start()
    try:
        node.wait_for_leader(timeout=10)
        assert node.is_leader_elected()
        assert node.election_state().role is Role.LEADER
        assert node.election_state().leader == node.id
    finally:
        node.shutdown()


def test_three_nodes_agree_on_one_leader(cluster: Cluster) -> None:
    statuses = [node.status() for node in cluster.nodes]
    assert {status.leader for status in statuses if status} == {cluster.leader().id}
    assert [status.role for status in statuses if status].count(Role.LEADER) == 1


def test_a_request_that_cannot_be_encoded_is_invalid(cluster: Cluster) -> None:
    caller = Caller(endpoints_of(cluster.addresses), follow_leader=True)
    try:
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="cannot be encoded"):
                caller.write(GrantLease(1 << 64), SECONDS)
            assert isinstance(caller.write(GrantLease(5000), SECONDS), LeaseGranted)
    finally:
        caller.close()


def test_getting_a_missing_key_returns_none(client: Client, prefix: str) -> None:
    assert client.get(prefix + "missing") is None
    assert client.get(prefix + "missing", str, default="fallback") == "fallback"
    assert client.get_entry(prefix + "missing") is None


def test_an_inserted_value_is_read_back(client: Client, prefix: str) -> None:
    revision = client.insert(prefix + "key", "value")
    assert client.get(prefix + "key", str) == "value"
    entry = client.get_entry(prefix + "key", str)
    assert entry is not None
    assert (entry.revision, entry.create_revision, entry.version) == (revision, revision, 1)


def test_a_removed_key_is_gone(client: Client, prefix: str) -> None:
    client.insert(prefix + "key", 1)
    assert client.remove(prefix + "key") is True
    assert client.get(prefix + "key") is None
    assert client.remove(prefix + "key") is False


def test_a_prefix_disappears_with_its_last_key(client: Client, prefix: str) -> None:
    inner = f"{prefix}inner"
    client.insert(f"{inner}/a", 1)
    client.insert(f"{inner}/b", 1)
    client.remove(f"{inner}/a")
    assert client.get_prefixes(inner) == [inner]
    client.remove(f"{inner}/b")
    assert client.get_prefixes(inner) == []


def test_two_nodes_agree_on_the_membership(tmp_path: Path) -> None:
    first = Skiff(dir=str(tmp_path / "1"), port=free_port(), key=node_key())
    with first:
        first.wait_for_leader(timeout=10)
        second = Skiff(
            dir=str(tmp_path / "2"), port=free_port(), join_cluster=[first.address], key=node_key()
        )
        with second:
            second.wait_for_leader(timeout=10)
            expected = {first.id: first.address, second.id: second.address}
            wait_until(lambda: first.cluster() == second.cluster() == expected, "they agree")


def test_a_struct_round_trips_and_is_overwritten_and_removed(client: Client, prefix: str) -> None:
    key = prefix + "alice"
    client.insert(key, Person("Alice", 30, ["admin"]))
    assert client.get(key, Person) == Person("Alice", 30, ["admin"])
    client.insert(key, Person("Alice", 31))
    assert client.get(key, Person) == Person("Alice", 31)
    assert client.remove(key)
    assert client.get(key, Person) is None


def test_prefixes_are_all_paths_that_hold_a_key(single: Cluster) -> None:
    with single.client() as client:
        for key in ("root", "parent/a", "grandparent/parent/a", "grandparent/parent/b"):
            client.insert(key, 1)
        assert client.get_prefixes() == ["grandparent/parent", "parent"]


def test_listing_by_prefix_is_sorted_and_exact(client: Client, prefix: str) -> None:
    for name in ("parent/b", "parent/a", "parents/c", "parent"):
        client.insert(prefix + name, 1)
    assert client.list_keys(prefix + "parent/") == [prefix + "parent/a", prefix + "parent/b"]
    everything = [prefix + name for name in ("parent", "parent/a", "parent/b", "parents/c")]
    assert client.list_keys(prefix) == everything
    assert client.list_keys(prefix, limit=2) == everything[:2]
    assert client.list_keys(prefix, start_after=everything[1]) == everything[2:]
    assert set(everything) <= set(client.list_keys("/")) == set(client.list_keys())


def test_watching_a_prefix_delivers_its_writes_and_removals(client: Client, prefix: str) -> None:
    with client.watch(prefix + "users/") as subscriber:
        first = client.insert(prefix + "users/alice", 1)
        client.insert(prefix + "usersother", 2)
        client.remove(prefix + "users/alice")
        inserted, removed = subscriber.next_event(5), subscriber.next_event(5)
    assert (inserted.kind, inserted.key, inserted.value) == (
        EventKind.INSERT,
        prefix + "users/alice",
        1,
    )
    assert (removed.kind, removed.value, removed.prev_revision) == (EventKind.REMOVE, None, first)


def test_three_nodes_agree_and_each_serves_every_key(cluster: Cluster, prefix: str) -> None:
    expected = {node.id: node.address for node in cluster.nodes}
    for node in cluster.nodes:
        with node.client() as client:
            assert {member.id: member.address for member in client.members()} == expected
            client.insert(f"{prefix}{node.id}", str(node.id))
    for node in cluster.nodes:
        for other in cluster.nodes:
            assert serves(node, f"{prefix}{other.id}") == str(other.id)


def test_a_failed_leader_is_replaced_without_data_loss(own_cluster: Cluster) -> None:
    leader = own_cluster.leader()
    with own_cluster.client(timeout=15) as client:
        for number in range(50):
            client.insert(f"key/{number}", number)
        own_cluster.kill(leader)
        client.insert("after", "the leader")
        assert own_cluster.leader() is not leader
        assert [client.get(f"key/{number}", int) for number in range(50)] == list(range(50))
        assert client.get("after", str) == "the leader"


def test_a_crashed_follower_catches_up_after_its_restart(own_cluster: Cluster) -> None:
    follower = own_cluster.followers()[0]
    own_cluster.kill(follower)
    with own_cluster.client() as client:
        for number in range(100):
            client.insert(f"while/away/{number}", number)
    identity = follower.id
    own_cluster.restart(follower)
    assert follower.id == identity
    with follower.client() as client:
        assert len(client.list_keys("while/away/")) == 100
        assert client.get("while/away/99", int) == 99


def test_many_clients_insert_concurrently(cluster: Cluster, prefix: str) -> None:
    failures: list[Exception] = []

    def insert(node: Node, writer: int) -> None:
        try:
            with node.client(timeout=30) as client:
                for number in range(25):
                    client.insert(f"{prefix}{writer}/{number}", [writer, number])
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    writers = [
        threading.Thread(target=insert, args=(cluster.nodes[writer % 3], writer))
        for writer in range(9)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    for node in cluster.nodes:
        with node.client() as client:
            assert len(client.list_keys(prefix)) == 9 * 25


def test_a_removed_node_is_no_longer_a_member(own_cluster: Cluster) -> None:
    removed = own_cluster.followers()[0]
    with own_cluster.client() as client:
        client.remove_node(removed.id)
        remaining = {node.id for node in own_cluster.nodes if node is not removed}
        assert {member.id for member in client.members()} == remaining
        wait_until(lambda: (status := removed.status()) and status.removed, "it knows")
        client.insert("after", "removal")
        assert client.get("after", str) == "removal"


def test_the_leader_can_be_removed(own_cluster: Cluster) -> None:
    leader = own_cluster.leader()
    with own_cluster.client(timeout=15) as client:
        client.insert("before", 1)
        client.remove_node(leader.id)
        client.insert("after", 2)
        assert leader.id not in {member.id for member in client.members()}
        assert (client.get("before", int), client.get("after", int)) == (1, 2)


def test_identity_and_data_survive_a_restart(single: Cluster) -> None:
    node = single.nodes[0]
    identity = node.id
    with single.client() as client:
        revision = client.insert("kept", "data")
    assert node.terminate() == 0
    node.start()
    assert node.id == identity
    with single.client() as client:
        entry = client.get_entry("kept", str)
        assert entry is not None
        assert (entry.value, entry.revision) == ("data", revision)
        assert client.insert("more", 1) == revision + 1


def test_data_survives_a_simultaneous_restart_of_all_nodes(own_cluster: Cluster) -> None:
    with own_cluster.client() as client:
        client.insert("kept", "data")
    identities = [node.id for node in own_cluster.nodes]
    for node in own_cluster.nodes:
        node.kill()
    for node in own_cluster.nodes:
        node.start()
    assert [node.id for node in own_cluster.nodes] == identities
    with own_cluster.client(timeout=15) as client:
        assert client.get("kept", str) == "data"


@pytest.fixture
def watched_follower(cluster: Cluster) -> tuple[Node, Node]:
    return cluster.leader(), cluster.followers()[0]


def test_a_subscriber_on_a_follower_sees_the_leaders_writes(
    watched_follower: tuple[Node, Node], prefix: str
) -> None:
    leader, follower = watched_follower
    with (
        follower.client() as watcher,
        leader.client() as writer,
        watcher.watch(prefix) as subscriber,
    ):
        revisions = [writer.insert(f"{prefix}{number}", number) for number in range(20)]
        events = [subscriber.next_event(5) for _ in range(20)]
    assert [event.revision for event in events] == revisions
    assert [event.value for event in events] == list(range(20))


def test_operations_without_a_quorum_fail_at_their_deadline(own_cluster: Cluster) -> None:
    leader = own_cluster.leader()
    for follower in own_cluster.followers():
        own_cluster.kill(follower)
    with leader.client(timeout=1.5) as client, pytest.raises((OutcomeUnknown, RequestTimeout)):
        client.insert("key", "value")
    with leader.client(timeout=0.5) as client, pytest.raises(RequestTimeout):
        client.get("key")


def test_removing_an_unknown_node_raises_a_lookup_error(client: Client) -> None:
    with pytest.raises(LookupError, match="no member"):
        client.remove_node(uuid.uuid4())
