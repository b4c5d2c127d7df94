"""Rights: what users may do, with real nodes and keys, through leader and followers."""

import functools
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocol.address import parse_address
from protocol.audit import fingerprint
from protocol.messages.client import EVENT_TOPIC
from protocol.security import z85
from protocol.storage.scans import PAGE_BYTES_MAX
from skiff import (
    AsyncClient,
    Check,
    Client,
    ClusterInitFailed,
    Get,
    Insert,
    PermissionDenied,
)
from skiff.key_files import make_user_keys, read_client_keys, read_public_key, read_server_keys
from skiff.testing import Cluster, wait_until
from tests.cluster import command
from tests.cluster.audited import audited
from tests.cluster.in_a_loop import InALoop, Loop
from tests.harness.curve_client import CurveClient

pytestmark = pytest.mark.cluster

SECONDS = 10.0
NAMES = count()
SCANNED = 3  # entries of a page each


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("rights")
    options = ("--admin-key", str(directory / "keys" / "admin.key"))
    with Cluster(3, directory=directory, keys=True, options=options) as running:
        yield running


@pytest.fixture
def administrator(cluster: Cluster) -> Iterator[Client]:
    """A client with the cluster's own key, which nothing restricts."""
    with cluster.client(timeout=SECONDS) as client:
        yield client
        client.remove_prefix("")


@pytest.fixture
def name() -> str:
    return f"user-{next(NAMES)}"


@pytest.fixture
def key(cluster: Cluster, administrator: Client, name: str, tmp_path: Path) -> Path:
    """The key file of a user that may do everything with the keys under jobs/."""
    assert cluster.key is not None
    make_user_keys(name, tmp_path, read_server_keys(cluster.key.parent / "cluster.key"))
    administrator.add_user(name, z85.encode(read_public_key(tmp_path / f"{name}.key")))
    for right in ("read", "write", "watch"):
        administrator.grant(f"role-{name}", right, "jobs/")
    administrator.assign_role(name, f"role-{name}")
    return tmp_path / f"{name}.key_secret"


@pytest.fixture(params=["Client", "AsyncClient"])
def bob(request: pytest.FixtureRequest, cluster: Cluster, key: Path) -> Iterator[Any]:
    """The user's blocking client of a follower, or asyncio client of the leader."""
    if request.param == "Client":
        nodes = [cluster.followers()[0].address]
        with Client(nodes, timeout=SECONDS, follow_leader=False, key=key) as blocking:
            yield blocking
        return
    loop = Loop()
    nodes = [cluster.leader().address]
    with InALoop(AsyncClient(nodes, timeout=SECONDS, key=key), loop) as asynchronous:
        yield asynchronous
    loop.close()


def is_denied(use: Any, right: str | None, prefix: str = "") -> bool:
    """Return whether an operation is denied for lack of a right to a key or prefix."""
    with pytest.raises(PermissionDenied) as denied:
        use()
    return (denied.value.right, denied.value.prefix) == (right, prefix)


def test_a_user_may_do_what_its_roles_grant_and_no_more(bob: Any, name: str) -> None:
    assert bob.whoami().user == name
    bob.insert("jobs/1", 1)
    assert bob.get("jobs/1", int) == 1
    assert bob.list_keys("jobs/") == ["jobs/1"]
    assert is_denied(lambda: bob.get("secrets/1"), "read", "secrets/1")
    assert is_denied(lambda: bob.get_many(["jobs/1", "jobs2"]), "read", "jobs2")
    assert is_denied(lambda: bob.list_keys("jobs"), "read", "jobs")
    assert is_denied(lambda: bob.insert("jobs2/1", 1), "write", "jobs2/1")
    assert is_denied(lambda: bob.remove_prefix(""), "write")
    assert is_denied(lambda: bob.watch(""), "watch")
    assert is_denied(bob.transfer_leadership, "members")
    assert is_denied(bob.users, "users")
    assert is_denied(lambda: bob.remove_user(name), "users")


def test_a_transaction_is_denied_as_a_whole(bob: Any, administrator: Client) -> None:
    secret = administrator.insert("secrets/1", 1)
    checks = [Check("secrets/1", revision=secret)]
    assert is_denied(lambda: bob.transact(checks, [Insert("jobs/1", 1)]), "read", "secrets/1")
    both = [Insert("jobs/1", 1), Insert("secrets/1", 2)]
    assert is_denied(lambda: bob.transact([], both), "write", "secrets/1")
    assert is_denied(lambda: bob.transact([], [], [Get("secrets/1")]), "read", "secrets/1")
    assert administrator.get("jobs/1") is None
    assert administrator.get("secrets/1", int) == 1


def test_a_right_that_is_revoked_ends_a_watch_and_a_scan(
    bob: Any, administrator: Client, name: str
) -> None:
    for number in range(SCANNED):
        administrator.insert(f"jobs/{number:05}", b"x" * (PAGE_BYTES_MAX // 2))
    entries = iter(bob.scan("jobs/"))
    next(entries)
    with bob.watch("jobs/") as changes:
        administrator.insert("jobs/new", 2)
        assert changes.recv(timeout=SECONDS) == ("jobs/new", 2)
        administrator.revoke(f"role-{name}", "watch", "jobs/")
        administrator.revoke(f"role-{name}", "read", "jobs/")
        administrator.insert("jobs/newer", 3)
        assert is_denied(lambda: changes.recv(timeout=SECONDS), "watch", "jobs/")
    assert is_denied(lambda: list(entries), "read", "jobs/")
    bob.insert("jobs/1", 1)


def test_a_subscription_that_is_denied_is_on_record(cluster: Cluster, key: Path, name: str) -> None:
    node, keys = cluster.nodes[0], read_client_keys(key)
    endpoint = parse_address(node.address).publish_endpoint

    def targets() -> list[str]:
        return [each["target"] for each in audited(node.directory) if each["user"] == name]

    with CurveClient(zmq.SUB, endpoint, keys.pair, keys.servers[0]) as subscriber:
        wait_until(subscriber.succeeded, "the user is let in")
        subscriber.socket.subscribe(EVENT_TOPIC + b"jobs/")
        subscriber.socket.subscribe(EVENT_TOPIC + b"secrets/")
        wait_until(targets, "the denial is on record")
    assert targets() == ["watch secrets/"]


def test_a_user_that_is_removed_is_denied_everything_at_once(
    bob: Any, administrator: Client, name: str, cluster: Cluster, key: Path
) -> None:
    bob.insert("jobs/1", 1)
    administrator.remove_user(name)
    for use in (lambda: bob.insert("jobs/1", 2), lambda: bob.get("jobs/1"), bob.whoami):
        assert is_denied(use, None)
    records = [each for node in cluster.nodes for each in audited(node.directory)]
    own = fingerprint(read_public_key(key.with_suffix(".key")))
    denied = [each for each in records if each["key"] == own]
    assert {(each["target"], each["outcome"]) for each in denied} == {("known user", "denied")}
    assert {"Get", "WhoAmI"} <= {each["operation"] for each in denied}
    assert administrator.get("jobs/1", int) == 1


def test_a_user_keeps_no_lease_of_others_alive(bob: Any, administrator: Client) -> None:
    administrator.insert("jobs/mine", 1, ttl=SECONDS)
    shared = administrator.lease(SECONDS).id
    for lease in (shared, shared - 1):  # that of the key was granted before
        assert is_denied(functools.partial(bob.keep_lease_alive, lease), "write")


def test_a_user_that_may_write_less_keeps_its_leases_alive_no_more(
    bob: Any, administrator: Client, name: str
) -> None:
    administrator.grant(f"role-{name}", "write", "more/")
    lease = bob.lease(SECONDS).id
    bob.insert("jobs/1", 1, lease=lease)
    bob.keep_lease_alive(lease)
    administrator.revoke(f"role-{name}", "write", "jobs/")
    assert is_denied(functools.partial(bob.keep_lease_alive, lease), "write")
    assert is_denied(functools.partial(bob.revoke_lease, lease), "write")
    assert administrator.get("jobs/1", int) == 1


def test_the_first_administrator_is_the_one_of_the_settings(cluster: Cluster) -> None:
    assert cluster.key is not None
    key = cluster.key.parent / "admin.key_secret"
    with Client(cluster.addresses, timeout=SECONDS, key=key) as client:
        identity = client.whoami()
        assert (identity.user, [role.name for role in identity.roles]) == ("admin", ["admin"])
        assert "admin" in [user.name for user in client.users()]


def test_a_node_with_users_does_not_start_without_a_key(
    cluster: Cluster, administrator: Client, key: Path
) -> None:
    node = cluster.followers()[0]
    node.terminate()
    secret, node.key, options = node.key, None, node.options
    node.replace_options(*options[: options.index("--admin-key")])
    try:
        with pytest.raises(ClusterInitFailed, match="the state of this node has users"):
            node.start()
    finally:
        node.key = secret
        node.replace_options(*options)
        cluster.restart(node)
    cluster.wait_until_whole()


def test_rights_outlive_a_crash_of_the_leader(
    cluster: Cluster, administrator: Client, name: str, key: Path
) -> None:
    with Client(cluster.addresses, timeout=SECONDS, key=key) as bob:
        bob.insert("jobs/1", 1)
        killed = cluster.leader()
        cluster.kill(killed)
        bob.insert("jobs/1", 2)
        assert is_denied(lambda: bob.get("secrets/1"), "read", "secrets/1")
        cluster.restart(killed)
        with Client([killed.address], timeout=SECONDS, follow_leader=False, key=key) as restarted:
            assert restarted.whoami().user == name
            assert is_denied(lambda: restarted.get("secrets/1"), "read", "secrets/1")


def test_a_node_gets_users_with_a_snapshot(
    cluster: Cluster, administrator: Client, key: Path
) -> None:
    joined = cluster.add_node()
    cluster.wait_until_whole()
    with Client([joined.address], timeout=SECONDS, follow_leader=False, key=key) as bob:
        bob.insert("jobs/1", 1)
        assert is_denied(lambda: bob.get("secrets/1"), "read", "secrets/1")
    administrator.remove_node(joined.id)
    joined.kill()
    cluster.nodes.remove(joined)


def test_commands_of_recipes_need_no_rights_beyond_their_keys(cluster: Cluster, key: Path) -> None:
    options = ["--url", cluster.nodes[0].address, "--key", str(key), "--timeout", str(SECONDS)]
    child = ["--", sys.executable, "-c", "pass"]
    assert command.run("lock", "jobs/lock", *options, *child).returncode == 0
    assert command.run("barrier", "wait", "jobs/barrier", *options).returncode == 0
    assert command.run("barrier", "enter", "jobs/both", "1", *options, *child).returncode == 0
    assert command.run("queue", "put", "jobs/queue", "item", *options).returncode == 0
    assert command.run("queue", "take", "jobs/queue", *options).stdout == b"item"
    with command.start(["elect", "jobs/election", "value", *options]) as leader:
        assert leader.stdout is not None
        assert int(leader.stdout.readline()) > 0
        leader.terminate()
        assert leader.communicate()[0] == b""
    assert leader.returncode == 0
