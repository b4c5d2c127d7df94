"""Commands of leases: they are granted, kept alive, revoked and listed, and watches show ends."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from skiff import Client
from skiff.testing import Cluster, Node
from tests.cluster.command import SECONDS_MAX, run, start

pytestmark = pytest.mark.cluster

TTL = 3.0  # seconds, longer than a command takes to start on a busy machine
NEVER_GRANTED = str(1 << 40)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(1, directory=tmp_path_factory.mktemp("lease")) as running:
        yield running


@pytest.fixture
def node(cluster: Cluster) -> Node:
    return cluster.nodes[0]


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with Client(node.address, timeout=SECONDS_MAX) as running:
        yield running


def call(node: Node, *arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it printed."""
    done = run(*arguments, settings={"SKIFF_URL": node.address})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@contextlib.contextmanager
def keeping(node: Node, lease: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep a lease alive by a command, which has printed the TTL."""
    command = start(["lease", "keep", lease], {"SKIFF_URL": node.address, "SKIFF_TIMEOUT": "1"})
    try:
        assert command.stdout is not None
        assert command.stdout.readline() == b"3\n"
        yield command
    finally:
        command.kill()
        command.communicate()


def granted(node: Node, ttl: float = TTL) -> str:
    code, printed, failed = call(node, "lease", "grant", str(ttl))
    assert (code, failed) == (0, "")
    return printed.strip()


def test_a_lease_is_granted_used_listed_and_revoked(node: Node) -> None:
    lease = granted(node, 60)
    assert call(node, "insert", "a", "1", "--lease", lease)[0] == 0
    assert call(node, "insert", "b", "1", "--ttl", "60")[0] == 0
    assert call(node, "lease", "list") == (0, f"id ttl keys\n{lease:>2}  60    1\n", "")
    listed = json.loads(call(node, "lease", "list", "--json")[1])
    assert listed == [{"id": int(lease), "ttl": 60.0, "keys": 1}]
    entries = [json.loads(call(node, "get", key, "--json")[1]) for key in ("a", "b")]
    assert [(each["lease"], each["ttl"]) for each in entries] == [(int(lease), None), (None, 60.0)]
    assert call(node, "lease", "revoke", lease) == (0, "1\n", "")
    assert call(node, "list") == (0, "b\n", "")
    assert call(node, "lease", "list", "--json") == (0, "[]\n", "")


def test_results_are_printed_as_json(node: Node) -> None:
    granting = json.loads(call(node, "lease", "grant", "2.5", "--json")[1])
    assert granting["ttl"] == 2.5
    lease = str(granting["id"])
    assert json.loads(call(node, "lease", "keep", lease, "--once", "--json")[1]) == granting
    revoked = json.loads(call(node, "lease", "revoke", lease, "--json")[1])
    assert revoked == {"id": granting["id"], "count": 0}


def test_a_lease_is_kept_alive_until_ctrl_c(node: Node, client: Client) -> None:
    lease = granted(node)
    with keeping(node, lease) as command:
        time.sleep(1.5 * TTL + 0.5)  # beyond the end of a silent lease
        assert int(lease) in [each.id for each in client.leases()]
        command.send_signal(signal.SIGINT)
        assert command.communicate(timeout=SECONDS_MAX) == (b"", b"")
        assert command.returncode == 130


def test_a_lease_is_kept_alive_until_it_has_ended(node: Node, client: Client) -> None:
    lease = granted(node)
    with keeping(node, lease) as command:
        client.revoke_lease(int(lease))
        _, failed = command.communicate(timeout=SECONDS_MAX)
        assert (command.returncode, f"lease {lease} has ended" in failed.decode()) == (4, True)


def test_a_lease_is_kept_alive_across_an_outage(
    cluster: Cluster, node: Node, client: Client
) -> None:
    lease = granted(node)
    with keeping(node, lease) as command:
        node.kill()
        assert command.stderr is not None
        assert b"no keep-alive was confirmed, going on" in command.stderr.readline()
        cluster.restart(node)
        time.sleep(1.5 * TTL + 0.5)  # beyond the end of a silent lease
        assert int(lease) in [each.id for each in client.leases()]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("lease", "keep", NEVER_GRANTED), 3, "was never granted"),
        (("lease", "revoke", NEVER_GRANTED), 3, "was never granted"),
        (("insert", "a", "1", "--lease", NEVER_GRANTED), 3, "was never granted"),
        (("lease", "revoke", "0"), 2, "a lease or its id"),
        (("lease", "grant", "0"), 2, "a number of seconds from 1"),
        (("lease", "grant", "0.5"), 2, "not 500 ms"),
        (("insert", "a", "1", "--ttl", "0"), 2, "a number of seconds from 1"),
        (("insert", "a", "1", "--ttl", "5", "--lease", "1"), 2, "a TTL of its own"),
        (("lease",), 2, "missing command"),
    ],
)
def test_what_cannot_be_done_is_reported(
    node: Node, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    done = call(node, *arguments)
    assert (done[0], done[1], reason in done[2]) == (code, "", True)


def test_a_lease_that_has_ended_is_a_conflict(node: Node) -> None:
    lease = granted(node)
    call(node, "lease", "revoke", lease)
    for arguments in (("lease", "keep"), ("lease", "revoke"), ("insert", "a", "1", "--lease")):
        code, printed, failed = call(node, *arguments, lease)
        assert (code, printed, f"lease {lease} has ended" in failed) == (4, "", True)


def test_watch_prints_an_expiry(node: Node) -> None:
    settings = {"SKIFF_URL": node.address}
    with start(["watch", "w", "--count", "2", "--prev-value"], settings) as watching:
        assert watching.stderr is not None
        watching.stderr.readline()
        call(node, "insert", "w", "5", "--ttl", str(TTL))
        printed, _ = watching.communicate(timeout=SECONDS_MAX)
    first, last = printed.decode().splitlines()
    revision = int(first.split()[0])
    assert first == f'{revision} insert w "5"'
    assert last == f'{revision + 1} expire w was "5"'
