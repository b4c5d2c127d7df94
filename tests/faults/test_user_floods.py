"""User floods: what one user asks, however costly, leaves room for the requests of others."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from protocol.messages.client import Get, ListKeys, Operation, Scan
from protocol.security import z85
from protocol.state.commands import (
    Insert,
    Lookup,
    OpenSession,
    RemovePrefix,
    SessionOpened,
    Transact,
    Write,
)
from skiff import Client, SkiffError
from skiff.key_files import make_user_keys, read_public_key, read_server_keys
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.raw_client import RawClient
from tests.faults.memory import resident_bytes

pytestmark = pytest.mark.cluster

KEYS, PAGES = 10_000, 750
FLOOD_SECONDS = 2.5
TIMEOUT = 5.0  # of a bystander's calls; up to 0.5 on a machine with nothing else to do
RESIDENT_MAX = 256 << 20  # of each actor
CALLS_MIN = 5  # of the bystander while the flood lasts

Flood = Callable[[int, int], tuple[Operation, ...]]  # by session and number of the request


def lists(_: int, __: int) -> tuple[Operation, ...]:
    return (ListKeys("jobs/", KEYS),) * PAGES


def counts(_: int, __: int) -> tuple[Operation, ...]:
    return tuple([Scan(os.urandom(16), "jobs/", KEYS, counts=True) for _ in range(PAGES)])


def gets(_: int, __: int) -> tuple[Operation, ...]:
    return (Get("jobs/1"),) * 10_000


def lookups(session: int, number: int) -> tuple[Operation, ...]:
    return _writes(session, number, Transact((), (Lookup("jobs/1"),) * 900))


def removals(session: int, number: int) -> tuple[Operation, ...]:
    prefixes = tuple([RemovePrefix(f"jobs/none/{each:04}") for each in range(900)])
    return _writes(session, number, Transact((), prefixes))


def many(session: int, number: int) -> tuple[Operation, ...]:
    """Return more transactions than a request may have operations."""
    return lookups(session, number) * 20


def inserts(session: int, number: int) -> tuple[Operation, ...]:
    values = tuple([Insert(f"jobs/new/{each}", bytes(100)) for each in range(500)])
    return _writes(session, number, Transact((), values))


def _writes(session: int, number: int, command: Transact) -> tuple[Operation, ...]:
    sequences = range(number * 10 + 1, number * 10 + 11)
    return tuple([Write(session, each, each, command) for each in sequences])


class Bystander(threading.Thread):
    """Reads, lists and writes as another user, until a call fails."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self._ended = threading.Event()
        self.calls = 0
        self.failure: SkiffError | None = None

    def run(self) -> None:
        calls: list[Callable[[], object]] = [
            lambda: self._client.get("jobs/1"),
            lambda: self._client.list_keys("jobs/1"),
            lambda: self._client.insert("jobs/2", 1),
        ]
        try:
            while not self._ended.wait(0.02):
                for call in calls:
                    call()
                    self.calls += 1
        except SkiffError as failure:
            self.failure = failure

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("floods")
    with Cluster(3, directory=directory, keys=True) as cluster, cluster.client() as client:
        assert cluster.key is not None
        servers = read_server_keys(cluster.key.parent / "cluster.key")
        for right in ("read", "write"):
            client.grant("worker", right, "jobs/")
        for name in ("flooder", "bystander", "stranger"):
            make_user_keys(name, directory, servers)
            client.add_user(name, z85.encode(read_public_key(directory / f"{name}.key")))
        for name in ("flooder", "bystander"):
            client.assign_role(name, "worker")
        for first in range(0, KEYS, 1000):
            client.insert_many({f"jobs/{each}": each for each in range(first, first + 1000)})
        yield cluster


def session_of(client: RawClient) -> int:
    """Open a session, once what its user has asked before leaves room."""
    opened: list[int] = []

    def is_admitted() -> bool:
        (outcome,) = client.ask(Write(0, 0, 0, OpenSession()))
        if isinstance(outcome, SessionOpened):
            opened.append(outcome.session)
        return bool(opened)

    wait_until(is_admitted, "a session is opened")
    return opened[0]


def flood(node: Node, user: Path, operations: Flood) -> None:
    """Ask again and again, on several connections, whatever the answers are."""
    with ExitStack() as open_clients:
        clients = [open_clients.enter_context(RawClient(node, user)) for _ in range(4)]
        sessions = [session_of(client) for client in clients]
        until, number = time.monotonic() + FLOOD_SECONDS, 0
        while time.monotonic() < until:
            for client, session in zip(clients, sessions, strict=True):
                client.send(*operations(session, number), seconds=3600)
            number += 1
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("user", "operations"),
    [
        ("flooder", gets),
        ("flooder", lookups),
        ("flooder", many),
        ("flooder", inserts),
        ("stranger", removals),
        ("stranger", lists),
        ("flooder", counts),  # last, as much of it waits after its end
    ],
)
def test_a_user_that_floods_a_node_holds_up_no_other(
    keyed: Cluster, user: str, operations: Flood
) -> None:
    leader, directory = keyed.leader(), keyed.directory
    pids = leader.actor_pids
    with Client(keyed.addresses, key=directory / "bystander.key_secret", timeout=TIMEOUT) as client:
        client.insert("jobs/2", 0)
        bystander = Bystander(client)
        bystander.start()
        try:
            flood(leader, directory / f"{user}.key_secret", operations)
            resident = {actor: resident_bytes(leader, actor) for actor in pids}
        finally:
            bystander.end()
    assert bystander.failure is None
    assert bystander.calls >= CALLS_MIN
    assert max(resident.values()) < RESIDENT_MAX, resident
    assert leader.actor_pids == pids
