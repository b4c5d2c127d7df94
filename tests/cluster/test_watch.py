"""Watching: delivery, order, start and end of change streams."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skiff import (
    Client,
    ClientClosed,
    DeserializeFailed,
    Event,
    EventKind,
    InvalidRequest,
    RequestTimeout,
    StreamClosed,
    Subscriber,
)
from skiff.testing import Cluster, Node, wait_until

pytestmark = pytest.mark.cluster

WRITERS = 4
CHANGES = 2000


class Person(msgspec.Struct):
    name: str
    age: int


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix of the shared cluster's keys for one test alone."""
    return f"{request.node.name}/"


@pytest.fixture
def watchers(cluster: Cluster) -> Iterator[list[Client]]:
    """A client of each node alone."""
    clients = [node.client(timeout=20) for node in cluster.nodes]
    yield clients
    for client in clients:
        client.close()


def take(subscriber: Subscriber, count: int) -> list[Event[Any]]:
    return [subscriber.next_event(20) for _ in range(count)]


def in_threads(works: list[Callable[[], None]]) -> None:
    """Run functions in threads to their ends; raise an error of any of them here."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# --- delivery


@pytest.mark.timeout(120)
def test_every_node_delivers_every_change_once_and_in_order(
    cluster: Cluster, watchers: list[Client], prefix: str
) -> None:
    written: dict[int, tuple[str, int]] = {}

    def write(writer: int) -> None:
        with cluster.client(timeout=30) as client:
            for number in range(CHANGES // WRITERS):
                key = f"{prefix}{writer}/{number % 10}"
                written[client.insert(key, number)] = (key, number)

    subscribers = [client.watch(prefix) for client in watchers]
    try:
        in_threads([lambda writer=writer: write(writer) for writer in range(WRITERS)])  # type: ignore[misc]
        for subscriber in subscribers:
            events = take(subscriber, CHANGES)
            assert [event.revision for event in events] == sorted(written)
            latest: dict[str, int] = defaultdict(int)
            for event in events:
                assert (event.key, event.value) == written[event.revision]
                assert event.prev_revision == latest[event.key]
                latest[event.key] = event.revision
            assert subscriber.revision == events[-1].revision
    finally:
        for subscriber in subscribers:
            subscriber.close()


def test_a_watch_is_established_when_it_returns(
    cluster: Cluster, client: Client, watchers: list[Client], prefix: str
) -> None:
    for number in range(51):
        with watchers[number % len(watchers)].watch(prefix) as subscriber:
            client.insert(prefix + "key", number)
            # A node that lags may still deliver what was written just before.
            while (received := subscriber.recv(int, timeout=10))[1] < number:
                pass
        assert received == (prefix + "key", number)


def test_watchers_of_overlapping_prefixes_each_receive_their_own_changes(
    cluster: Cluster, client: Client, prefix: str
) -> None:
    with (
        cluster.client() as other,
        client.watch(prefix) as all_of_it,
        client.watch(prefix + "in/") as inner,
        other.watch(prefix + "in/side") as single,
        other.watch(prefix + "in/side") as twin,
    ):
        names = ("out", "in/side", "inside", "in/other", "in/sides")
        for name in names:
            client.insert(prefix + name, name)
        assert [event.value for event in take(all_of_it, 5)] == list(names)
        assert [event.value for event in take(inner, 3)] == ["in/side", "in/other", "in/sides"]
        assert [event.value for event in take(single, 2)] == ["in/side", "in/sides"]
        assert [event.value for event in take(twin, 2)] == ["in/side", "in/sides"]
        for subscriber in (all_of_it, inner, single, twin):
            with pytest.raises(RequestTimeout):
                subscriber.recv(timeout=0)


def test_watching_everything_sees_every_key(client: Client, prefix: str) -> None:
    for everything in ("", "/"):
        with client.watch(everything) as subscriber:
            client.insert(prefix + "key", everything)
            assert subscriber.recv(str, timeout=10) == (prefix + "key", everything)


def test_a_watch_works_after_all_watchers_have_left(client: Client, prefix: str) -> None:
    for number in range(5):
        with client.watch(prefix) as subscriber:
            client.insert(prefix + "key", number)
            assert subscriber.recv(int, timeout=10) == (prefix + "key", number)
        client.insert("unseen/" + prefix, number)


def test_a_write_without_effect_publishes_no_change(client: Client, prefix: str) -> None:
    with client.watch(prefix) as subscriber:
        client.remove(prefix + "absent")
        revision = client.insert(prefix + "key", 1)
        event = subscriber.next_event(10)
    assert (event.kind, event.key, event.revision) == (EventKind.INSERT, prefix + "key", revision)


# --- values and timeouts


def test_values_are_decoded_as_the_requested_type(client: Client, prefix: str) -> None:
    alice = Person("Alice", 30)
    with (
        client.watch(prefix, type=Person) as typed,
        client.watch(prefix) as plain,
        client.watch(prefix) as wrong,
    ):
        client.insert(prefix + "alice", alice)
        client.insert(prefix + "number", 7)
        assert next(typed).value == alice
        with pytest.raises(DeserializeFailed, match="number"):
            typed.recv(timeout=10)
        assert plain.recv(Person, timeout=10) == (prefix + "alice", alice)
        assert plain.recv(int, timeout=10) == (prefix + "number", 7)
        with pytest.raises(DeserializeFailed, match="alice"):
            wrong.recv(int, timeout=10)
        # A change that cannot be decoded does not end the stream.
        assert wrong.recv(int, timeout=10) == (prefix + "number", 7)


def test_receiving_continues_after_a_timeout(client: Client, prefix: str) -> None:
    with client.watch(prefix) as subscriber:
        for timeout in (0, 0.05):
            with pytest.raises(RequestTimeout):
                subscriber.recv(timeout=timeout)
            with pytest.raises(RequestTimeout):
                subscriber.next_event(timeout)
        client.insert(prefix + "key", 1)
        assert subscriber.recv(int, timeout=10) == (prefix + "key", 1)


def test_receiving_times_out_while_another_thread_receives(client: Client, prefix: str) -> None:
    with client.watch(prefix) as subscriber, ThreadPoolExecutor() as pool:
        first = pool.submit(subscriber.next_event)
        wait_until(subscriber._receiving.locked, "another thread receives")
        with pytest.raises(RequestTimeout):
            subscriber.next_event(0.05)
        client.insert(prefix + "key", 1)
        assert first.result(timeout=10).key == prefix + "key"


def test_a_type_that_cannot_be_decoded_is_refused(client: Client, prefix: str) -> None:
    with pytest.raises(InvalidRequest, match="decoded"):
        client.watch(prefix, type=list[int] | tuple[int])


def test_recv_skips_removals(client: Client, prefix: str) -> None:
    with client.watch(prefix) as subscriber:
        client.insert(prefix + "a", 1)
        client.remove(prefix + "a")
        client.insert(prefix + "b", 2)
        assert subscriber.recv(int, timeout=10) == (prefix + "a", 1)
        assert subscriber.recv(int, timeout=10) == (prefix + "b", 2)


# --- ends


def test_a_closed_subscriber_raises_client_closed(client: Client, prefix: str) -> None:
    subscriber = client.watch(prefix)
    subscriber.close()
    subscriber.close()
    with pytest.raises(ClientClosed):
        next(subscriber)


def test_a_subscriber_of_a_closed_client_raises_client_closed(cluster: Cluster) -> None:
    client = cluster.client()
    subscriber = client.watch()
    client.close()
    with pytest.raises(ClientClosed):
        next(subscriber)
    subscriber.close()


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_the_death_of_the_watched_node_closes_the_stream_without_a_gap(
    tmp_path: Path, role: str
) -> None:
    with Cluster(3, directory=tmp_path) as cluster, cluster.client(timeout=20) as client:
        watched: Node = cluster.leader() if role == "leader" else cluster.followers()[0]
        with watched.client() as watcher, watcher.watch("key/") as subscriber:
            for number in range(500):
                client.insert(f"key/{number}", number)
            assert subscriber.recv(int, timeout=10) == ("key/0", 0)
            wait_until(lambda: has_applied(watched, subscriber.revision + 499), "all is published")
            cluster.kill(watched)
            received: list[Any] = [0]
            with contextlib.suppress(StreamClosed):
                for event in subscriber:
                    received.append(event.value)  # noqa: PERF401 - the loop ends with an error
            assert received == list(range(len(received))), "a gap before the end"
            with pytest.raises(StreamClosed):
                subscriber.recv(timeout=1)
        # A new watch goes through another node.
        with client.watch("after/") as subscriber:
            client.insert("after/key", 1)
            assert subscriber.recv(int, timeout=10) == ("after/key", 1)


def has_applied(node: Node, revision: int) -> bool:
    status = node.status()
    return status is not None and status.revision >= revision


def test_the_stream_of_a_silent_node_is_closed(own_cluster: Cluster) -> None:
    watched = own_cluster.followers()[0]
    with watched.client() as watcher, watcher.watch() as subscriber:
        own_cluster.pause(watched)
        with pytest.raises(StreamClosed, match="published nothing for too long"):
            subscriber.recv(timeout=30)
