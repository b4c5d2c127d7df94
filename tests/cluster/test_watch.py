"""Watching: delivery, order, start and end of change streams."""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from protocol.client.refusals import GRACE_SECONDS
from protocol.client.watch import Place
from protocol.messages.client import ChangePage, Established, Hello, ReadChanges
from protocol.wire import decode_established
from skiff import (
    AsyncClient,
    Client,
    ClientClosed,
    Compacted,
    DeserializeFailed,
    Event,
    EventKind,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    Subscriber,
    Unsupported,
)
from skiff.async_caller import AsyncCaller
from skiff.caller import Caller
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


def test_a_receiver_times_out_while_pages_bring_no_change(
    client: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = client.insert(prefix + "key", 1)
    call = Caller.call

    def never_finish(self: Caller, operation: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = call(self, operation, *args, **kwargs)
        if isinstance(outcome, ChangePage):
            outcome = ChangePage((), operation.after, operation.position, more=True)
        return outcome

    with monkeypatch.context() as patched:
        patched.setattr(Caller, "call", never_finish)
        subscriber = client.watch(prefix, since=since)
        client.insert(prefix + "key", 2)
        subscriber._watch._complete_from = Place(client.insert(prefix + "key", 3))
        with pytest.raises(RequestTimeout, match="still being fetched"):
            subscriber.recv(timeout=0.1)
    with subscriber:
        assert [subscriber.recv(int, timeout=10)[1] for _ in range(2)] == [2, 3]


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


def test_a_change_that_cannot_be_decoded_comes_with_its_error(client: Client, prefix: str) -> None:
    client.insert(prefix + "k", "text")
    with client.watch(prefix, type=int, prev_value=True) as subscriber:
        revision = client.insert(prefix + "k", 5)
        with pytest.raises(DeserializeFailed) as raised:
            subscriber.next_event(5)
        event = raised.value.event
        assert (event.revision, event.value, event.prev_value) == (revision, b"\x05", b"\xa4text")
        assert raised.value.stored == b"\xa4text"
        client.insert(prefix + "k", 6)
        assert subscriber.next_event(5).value == 6


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
        wait_until(lambda: subscriber._receiver is not None, "another thread receives")
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
def test_a_watch_outlives_its_node_without_a_gap(tmp_path: Path, role: str) -> None:
    with Cluster(3, directory=tmp_path) as cluster, cluster.client(timeout=20) as client:
        watched: Node = cluster.leader() if role == "leader" else cluster.followers()[0]
        with client_from(watched, cluster) as watcher, watcher.watch("key/") as subscriber:
            for number in range(300):
                client.insert(f"key/{number}", number)
            assert subscriber.recv(int, timeout=10) == ("key/0", 0)
            cluster.kill(watched)
            for number in range(300, 400):
                client.insert(f"key/{number}", number)
            received = [subscriber.recv(int, timeout=20)[1] for _ in range(399)]
            assert received == list(range(1, 400))


def client_from(node: Node, cluster: Cluster) -> Client:
    """Return a client that asks this node first, and the others when it is lost."""
    others = [each.address for each in cluster.nodes if each is not node]
    return Client([node.address, *others], timeout=20, follow_leader=False)


def has_applied(node: Node, revision: int) -> bool:
    status = node.status()
    return status is not None and status.revision >= revision


def test_a_watch_leaves_a_silent_node(own_cluster: Cluster) -> None:
    watched, other = own_cluster.followers()
    with client_from(watched, own_cluster) as watcher, watcher.watch() as subscriber:
        own_cluster.pause(watched)
        with other.client(timeout=20) as client:
            client.insert("key", 1)
        assert subscriber.recv(int, timeout=30) == ("key", 1)


# --- resuming


def test_a_watch_resumes_after_a_revision(client: Client, prefix: str) -> None:
    first = client.insert(prefix + "a", 1)
    client.insert("elsewhere", 0)
    second = client.insert_many({prefix + "b": 2, prefix + "c": 3})
    client.remove(prefix + "a")
    with client.watch(prefix, since=first) as changes:
        seen = [changes.next_event(10) for _ in range(3)]
        client.insert(prefix + "d", 4)
        seen.append(changes.next_event(10))
    keys = [(each.kind, each.key.removeprefix(prefix), each.revision) for each in seen]
    assert keys == [
        ("insert", "b", second),
        ("insert", "c", second),
        ("remove", "a", second + 1),
        ("insert", "d", second + 2),
    ]


def refuse_some(callers: type, monkeypatch: pytest.MonkeyPatch) -> Counter[type]:
    """Let all nodes be too busy for the next calls; return how many of each are left."""
    left: Counter[Any] = Counter({Hello: 2, ReadChanges: 2})
    call = callers.call  # type: ignore[attr-defined]

    def refuse(caller: Any, operation: Any, *arguments: Any, **options: Any) -> Any:
        if left[type(operation)]:
            left[type(operation)] -= 1
            raise Overloaded("too many requests")
        return call(caller, operation, *arguments, **options)

    monkeypatch.setattr(callers, "call", refuse)
    return left


def test_a_watch_outlives_overloaded_nodes(
    client: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = client.insert(prefix + "a", 1)
    client.insert(prefix + "b", 2)
    left = refuse_some(Caller, monkeypatch)
    with client.watch(prefix, since=revision) as changes:
        assert next(iter(changes)).value == 2
    assert not left.total()


def test_a_watch_of_an_event_loop_outlives_overloaded_nodes(
    cluster: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        async with AsyncClient(cluster.addresses, timeout=20) as client:
            revision = await client.insert(prefix + "a", 1)
            await client.insert(prefix + "b", 2)
            left = refuse_some(AsyncCaller, monkeypatch)
            async with await client.watch(prefix, since=revision) as changes:
                assert (await anext(changes)).value == 2
            assert not left.total()

    asyncio.run(use())


def test_another_process_goes_on_where_one_has_ended(cluster: Cluster, prefix: str) -> None:
    with cluster.client(timeout=20) as client:
        changes = client.watch(prefix)
        numbers = []
        for number in range(20):
            client.insert_many({f"{prefix}{number}": number, f"{prefix}{number}/x": number})
            changes.next_event(10)
            numbers.append(changes.next_event(10).value)
            revision = changes.revision
            changes.close()
            changes = client.watch(prefix, since=revision)
        changes.close()
    assert numbers == list(range(20))


def test_between_the_changes_of_a_transaction_the_revision_is_the_one_before(
    client: Client, prefix: str
) -> None:
    with client.watch(prefix) as changes:
        revision = client.insert_many({prefix + "a": 1, prefix + "b": 2})
        changes.next_event(10)
        assert changes.revision == revision - 1
        changes.next_event(10)
        assert changes.revision == revision


def test_a_watch_begins_with_what_is_there(client: Client, prefix: str) -> None:
    values = {f"{prefix}{number:04}": number for number in range(1500)}
    for part in (dict(list(values.items())[:800]), dict(list(values.items())[800:])):
        client.insert_many(part)
    with client.watch(prefix, type=int, initial=True) as changes:
        client.insert(prefix + "new", -1)
        seen = [changes.next_event(10) for _ in range(1502)]
    assert {each.key: each.value for each in seen[:1500]} == values
    assert [each.kind for each in seen[1499:]] == ["insert", "synced", "insert"]
    assert (seen[1500].key, seen[1500].value, seen[1501].value) == ("", None, -1)
    assert seen[1500].revision == seen[1501].revision - 1


def test_recv_skips_the_mark(client: Client, prefix: str) -> None:
    with client.watch(prefix, initial=True) as changes:
        client.insert(prefix + "a", 1)
        assert changes.recv(int, timeout=10) == (prefix + "a", 1)


def test_a_directory_is_not_its_neighbour(client: Client, prefix: str) -> None:
    before = client.insert(prefix + "parent/a", 1)
    client.insert(prefix + "parents/b", 2)
    client.insert(prefix + "parent/c", 3)
    with client.watch(prefix + "parent/", since=before - 1) as changes:
        keys = [changes.next_event(10).key for _ in range(2)]
    assert keys == [prefix + "parent/a", prefix + "parent/c"]


def test_previous_values_come_on_request_live_and_from_the_history(
    client: Client, watchers: list[Client], prefix: str
) -> None:
    key = prefix + "a"
    before = client.insert(key, 1) - 1
    with (
        watchers[0].watch(prefix, type=int, since=before, prev_value=True) as full,
        watchers[0].watch(prefix, type=int) as plain,
        watchers[1].watch(prefix, type=int, initial=True, prev_value=True) as initial,
    ):
        client.insert(key, 2)
        client.remove(key)
        client.insert_many({key: 3, prefix + "b": 4})
        client.insert(key, 5)
        changes = [(None, 1), (1, 2), (2, None), (None, 3), (None, 4), (3, 5)]
        assert [(each.prev_value, each.value) for each in take(full, 6)] == changes
        with watchers[2].watch(prefix, type=int, since=before, prev_value=True) as resumed:
            assert [(each.prev_value, each.value) for each in take(resumed, 6)] == changes
        while (last := plain.next_event(20)).value != 5:
            assert last.prev_value is None
        assert (last.prev_value, last.prev_revision) == (None, last.revision - 1)
        assert take(initial, 2)[1].kind is EventKind.SYNCED
        assert [(each.prev_value, each.value) for each in take(initial, 5)] == changes[1:]


def test_older_nodes_are_left_for_one_that_has_previous_values(
    client: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = 2  # confirmations of nodes that do not know previous values

    def decoded(body: bytes) -> Established:
        nonlocal older
        older -= 1
        return replace(decode_established(body), prev_values=older < 0)

    monkeypatch.setattr("protocol.client.changes.decode_established", decoded)
    with client.watch(prefix, prev_value=True) as changes:
        client.insert(prefix + "a", 1)
        client.insert(prefix + "a", 2)
        assert [each.prev_value for each in take(changes, 2)] == [None, 1]
    older = 10**6
    with pytest.raises(Unsupported, match="older version, which keeps no previous values"):
        client.watch(prefix, prev_value=True, timeout=1)
    with client.watch(prefix, timeout=5):
        pass


@pytest.mark.timeout(120)
def test_previous_values_survive_the_loss_of_the_node(own_cluster: Cluster) -> None:
    node, other, _ = own_cluster.nodes
    with (
        Client(own_cluster.addresses, follow_leader=False, timeout=20) as watching,
        watching.watch("k", type=int, prev_value=True) as changes,
        other.client(timeout=20) as client,
    ):
        for number in range(40):
            if number == 20:
                own_cluster.kill(node)
            client.insert("k", number)
        seen = take(changes, 40)
    assert [each.prev_value for each in seen] == [None, *range(39)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"since": -1},
        {"since": "7"},
        {"since": True},
        {"since": 1 << 70},
        {"since": 10**9},
        {"initial": 1},
        {"since": 1, "initial": True},
        {"prev_value": 1},
    ],
)
def test_an_invalid_beginning_is_refused(client: Client, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        client.watch(**arguments)


class ShortHistory(NamedTuple):
    """A cluster that keeps few changes, and the revision of the last of many."""

    cluster: Cluster
    client: Client
    revision: int


@pytest.fixture
def short_history(tmp_path: Path) -> Iterator[ShortHistory]:
    """A key written 200 times on three nodes that keep about 64 changes."""
    options = ("--history-changes-kept", "64")
    with (
        Cluster(3, directory=tmp_path, options=options) as cluster,
        cluster.client(timeout=20) as client,
    ):
        revisions = [client.insert("key", number) for number in range(200)]
        yield ShortHistory(cluster, client, revisions[-1])


def test_a_history_that_is_gone_is_reported_with_the_oldest_revision_left(
    short_history: ShortHistory,
) -> None:
    _, client, revision = short_history
    with pytest.raises(Compacted, match="are no longer kept") as gone:
        client.watch(since=revision - 150)
    assert revision - 70 < gone.value.oldest < revision
    with client.watch(since=gone.value.oldest) as changes:
        assert changes.next_event(10).revision == gone.value.oldest + 1


def test_refusals_by_a_majority_end_a_watch_if_the_other_node_is_silent(
    short_history: ShortHistory,
) -> None:
    cluster, client, revision = short_history

    async def watch() -> None:
        async with AsyncClient(cluster.addresses, timeout=20) as asynchronous:
            with pytest.raises(Compacted):
                await asynchronous.watch(since=revision - 150)

    cluster.pause(cluster.followers()[0])
    began = time.monotonic()
    with pytest.raises(Compacted):
        client.watch(since=revision - 150)
    between = time.monotonic()
    asyncio.run(watch())
    seconds = (between - began, time.monotonic() - between)
    assert all(GRACE_SECONDS <= each < 3 * GRACE_SECONDS for each in seconds)


def test_a_watch_goes_on_after_a_snapshot_on_its_node(tmp_path: Path) -> None:
    options = ("--log-entries-kept", "10")
    with Cluster(3, directory=tmp_path, options=options) as cluster:
        behind, other = cluster.followers()
        with behind.client(timeout=20) as near, near.watch("key/") as changes:
            with other.client(timeout=20) as client:
                client.insert("key/0", 0)
                assert changes.recv(int, timeout=10) == ("key/0", 0)
                cluster.pause(behind)
                for number in range(1, 60):
                    client.insert(f"key/{number}", number)
                cluster.resume(behind)
            received = [changes.recv(int, timeout=20)[1] for _ in range(59)]
    assert received == list(range(1, 60))


def test_a_closed_subscriber_does_not_wait_for_a_node_to_return(single: Cluster) -> None:
    with single.client() as client, ThreadPoolExecutor(1) as pool:
        changes = client.watch()
        receiving = pool.submit(next, changes)
        single.kill(single.nodes[0])
        wait_until(lambda: changes._watch.is_lost, "the loss is noticed")
        changes.close()
        with pytest.raises(ClientClosed):
            receiving.result(timeout=5)
