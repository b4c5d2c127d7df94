"""Exactly once: a retry is applied once, on any node and after any failure."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from protocol.messages.client import Get, Outcome
from protocol.state.commands import (
    Found,
    Insert,
    Inserted,
    Missing,
    Remove,
    Removed,
    SessionExpired,
    Write,
)
from protocol.wire import encode
from skiff import OutcomeUnknown, RevisionMismatch
from skiff.testing import Cluster, Node
from tests.cluster.raw_client import RawClient

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; a test that breaks one repairs it."""
    with Cluster(3, directory=tmp_path_factory.mktemp("exactly-once")) as running:
        yield running


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix of the shared cluster's keys for one test alone."""
    return f"{request.node.name}/"


def insert(session: int, sequence: int, key: str, value: object) -> Write:
    return Write(session, sequence, 1, Insert(key, encode(value)))


def ask(node: Node, *writes: Write) -> tuple[Outcome, ...]:
    with RawClient(node) as client:
        return client.ask(*writes)


def version(node: Node, key: str) -> int:
    with RawClient(node) as client:
        (found,) = client.ask(Get(key))
    return found.version if isinstance(found, Found) else 0


def first_write(node: Node, key: str) -> tuple[Write, Outcome]:
    """Write in a new session; return the write, for retries, and its outcome."""
    with RawClient(node) as client:
        write = insert(client.open_session(), 1, key, "first")
        (outcome,) = client.ask(write)
    assert isinstance(outcome, Inserted)
    return write, outcome


# --- the same write again


def test_a_retried_write_gets_the_first_result_on_every_node(cluster: Cluster, prefix: str) -> None:
    write, outcome = first_write(cluster.nodes[0], prefix + "key")
    for node in [*cluster.nodes, *cluster.nodes]:
        assert ask(node, write) == (outcome,)
    # The first result, not that of another application: the key was written since.
    with cluster.client() as client:
        client.insert(prefix + "key", "second")
        for node in cluster.nodes:
            assert ask(node, write) == (outcome,)
        entry = client.get_entry(prefix + "key", str)
    assert entry is not None
    assert (entry.value, entry.version) == ("second", 2)


def test_a_retried_removal_still_reports_that_the_key_existed(
    cluster: Cluster, prefix: str
) -> None:
    with RawClient(cluster.nodes[0]) as client:
        session = client.open_session()
        client.ask(insert(session, 1, prefix + "key", 1))
        removal = Write(session, 2, 1, Remove(prefix + "key"))
        (outcome,) = client.ask(removal)
    assert isinstance(outcome, Removed)
    assert outcome.existed
    for node in cluster.nodes:
        assert ask(node, removal) == (outcome,)


def test_a_retried_write_is_recognised_after_a_leader_change(cluster: Cluster, prefix: str) -> None:
    leader = cluster.leader()
    write, outcome = first_write(leader, prefix + "key")
    cluster.kill(leader)
    for node in cluster.nodes:
        if node is not leader:
            assert ask(node, write) == (outcome,)
    cluster.restart(leader)
    assert ask(leader, write) == (outcome,)
    assert version(leader, prefix + "key") == 1


def test_a_retried_write_is_recognised_after_all_nodes_crashed(
    cluster: Cluster, prefix: str
) -> None:
    write, outcome = first_write(cluster.nodes[0], prefix + "key")
    for node in cluster.nodes:
        node.signal(signal.SIGKILL)
    for node in cluster.nodes:
        node.kill()
        node.launch()
    for node in cluster.nodes:
        node.wait_until_ready()
    for node in cluster.nodes:
        assert ask(node, write) == (outcome,)
        assert version(node, prefix + "key") == 1


def test_a_write_retried_while_the_leader_crashes_is_applied_once(
    cluster: Cluster, prefix: str
) -> None:
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    with RawClient(others[0]) as one, RawClient(others[1]) as other:
        session = one.open_session()
        writes = [insert(session, number, f"{prefix}{number}", number) for number in range(1, 101)]
        early = [one.send(write) for write in writes]
        cluster.kill(leader)
        late = [other.send(write) for write in writes]
        first = [one.outcomes(number) for number in early]
        second = [other.outcomes(number) for number in late]
    assert first == second
    assert all(isinstance(outcome, Inserted) for (outcome,) in first)
    assert len(set(first)) == len(writes)
    cluster.restart(leader)
    assert [version(leader, f"{prefix}{number}") for number in (1, 50, 100)] == [1, 1, 1]


# --- duplicates in one frame


def test_a_write_repeated_within_one_frame_is_applied_once(cluster: Cluster, prefix: str) -> None:
    with RawClient(cluster.nodes[0]) as client:
        write = insert(client.open_session(), 1, prefix + "key", 1)
        outcomes = client.ask(*[write] * 10)
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], Inserted)
    assert version(cluster.nodes[0], prefix + "key") == 1


def test_a_write_sent_on_many_connections_at_once_is_applied_once(
    cluster: Cluster, prefix: str
) -> None:
    clients = [RawClient(node) for node in cluster.nodes * 3]
    try:
        session = clients[0].open_session()
        for sequence in range(1, 21):
            write = insert(session, sequence, f"{prefix}{sequence}", 1)
            numbers = [client.send(write, write) for client in clients]
            outcomes = {
                outcome
                for client, number in zip(clients, numbers, strict=True)
                for outcome in client.outcomes(number)
            }
            assert len(outcomes) == 1
            assert isinstance(outcomes.pop(), Inserted)
            assert version(cluster.nodes[0], f"{prefix}{sequence}") == 1
    finally:
        for client in clients:
            client.__exit__(None, None, None)


# --- unrecognizable retries are not applied


def test_a_session_that_was_never_opened_is_refused(cluster: Cluster, prefix: str) -> None:
    for node in cluster.nodes:
        for session in (0, 1 << 40):
            (outcome,) = ask(node, insert(session, 1, prefix + "key", 1))
            assert isinstance(outcome, SessionExpired)
        with RawClient(node) as client:
            (found,) = client.ask(Get(prefix + "key"))
            assert isinstance(found, Missing)


def test_a_write_below_the_window_is_not_applied_again(cluster: Cluster, prefix: str) -> None:
    with RawClient(cluster.nodes[0]) as client:
        session = client.open_session()
        old = insert(session, 1, prefix + "key", "old")
        client.ask(old)
        client.ask(Write(session, 2, 2, Insert(prefix + "key", encode("new"))))
        (outcome,) = client.ask(old)
        assert isinstance(outcome, SessionExpired)
    assert version(cluster.nodes[0], prefix + "key") == 2


# --- the client library, while leaders die


def fail_over(cluster: Cluster, times: int, proceed: Callable[[], None]) -> None:
    """Kill leaders one after another, with progress before and after each."""
    for _ in range(times):
        proceed()
        leader = cluster.leader()
        cluster.kill(leader)
        proceed()
        cluster.restart(leader)


class Crew:
    """Worker threads; an error of one of them fails the test."""

    def __init__(self, works: Sequence[Callable[[], None]]) -> None:
        self._stop = threading.Event()
        self._done = threading.Semaphore(0)
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._errors == []

    def wait_for(self, steps: int) -> None:
        """Wait until ``steps`` further steps are done."""
        for _ in range(steps):
            assert self._done.acquire(timeout=30), f"the work stands still: {self._errors}"

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                work()
                self._done.release()
        except BaseException as error:  # noqa: BLE001 - raised at the end
            self._errors.append(error)


@pytest.mark.timeout(120)
def test_an_absent_key_is_created_by_one_client_only_while_leaders_crash(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        contests = [Contestant(cluster, name) for name in range(4)]
        with Crew([each.contend for each in contests]) as crew:
            fail_over(cluster, 2, lambda: crew.wait_for(100))
        contested = set.union(*[set(each.attempted) for each in contests])
        with cluster.client(timeout=20) as client:
            for key in sorted(contested):
                entry = client.get_entry(key, int)
                winners = {each.name for each in contests if key in each.won}
                unknown = {each.name for each in contests if key in each.unknown}
                assert len(winners) <= 1, f"{key} was won by {winners}"
                assert entry is not None, f"{key} has no winner"
                assert entry.version == 1
                assert entry.value in (winners or unknown)
        for each in contests:
            each.close()


class Contestant:
    """A client that inserts one key after another if absent."""

    def __init__(self, cluster: Cluster, name: int) -> None:
        self.name = name
        self.won: set[str] = set()
        self.unknown: set[str] = set()
        self.attempted: list[str] = []
        self._client = cluster.client(timeout=30)

    def contend(self) -> None:
        key = f"contest/{len(self.attempted)}"
        self.attempted.append(key)
        try:
            self._client.insert(key, self.name, if_revision=0)
            self.won.add(key)
        except RevisionMismatch:
            pass
        except OutcomeUnknown:
            self.unknown.add(key)

    def close(self) -> None:
        self._client.close()


@pytest.mark.timeout(120)
def test_a_counter_of_conditional_writes_stays_exact_while_leaders_crash(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        counters = [Counter(cluster) for _ in range(3)]
        with Crew([each.increment for each in counters]) as crew:
            fail_over(cluster, 2, lambda: crew.wait_for(60))
        acknowledged = sum(each.acknowledged for each in counters)
        unknown = sum(each.unknown for each in counters)
        with cluster.client(timeout=20) as client:
            entry = client.get_entry("counter", int)
        for each in counters:
            each.close()
    assert entry is not None
    assert entry.value == entry.version
    assert acknowledged <= entry.value <= acknowledged + unknown


class Counter:
    """A client that increments a shared key by read and conditional write."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged = 0
        self.unknown = 0
        self._client = cluster.client(timeout=30)

    def increment(self) -> None:
        while True:
            entry = self._client.get_entry("counter", int)
            value, revision = (0, 0) if entry is None else (entry.value, entry.revision)
            try:
                self._client.insert("counter", value + 1, if_revision=revision)
                self.acknowledged += 1
            except RevisionMismatch:
                continue
            except OutcomeUnknown:
                self.unknown += 1
            return

    def close(self) -> None:
        self._client.close()
