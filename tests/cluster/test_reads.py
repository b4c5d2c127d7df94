"""Reads: several keys at once, scans at one revision, and reads of a limited staleness."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import get_args

import msgspec
import pytest

from skiff import (
    AsyncClient,
    Client,
    DeserializeFailed,
    Entry,
    InvalidRequest,
    RequestTimeout,
    StreamClosed,
)
from skiff.arguments import Consistency
from skiff.testing import Cluster, Node
from tests.harness.stopped_actor import stopped_actor

pytestmark = pytest.mark.cluster

SECONDS = 20.0
MANY = 2500  # more than two pages of a scan
CONTINUE = signal.SIGCONT


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, all up at the start of a test, with many keys below ``many/``."""
    with Cluster(3, directory=tmp_path_factory.mktemp("reads")) as running:
        with running.client(timeout=SECONDS) as client:
            for begin in range(0, MANY, 500):
                client.insert_many({key(n): n for n in range(begin, begin + 500)})
        yield running


@pytest.fixture(params=["leader", "follower"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Client]:
    """A client of the leader, or of a follower, alone."""
    node = cluster.leader() if request.param == "leader" else cluster.followers()[0]
    with client_of(node) as running:
        yield running
        running.remove_prefix("own/")


def key(number: int) -> str:
    return f"many/{number:05}"


def client_of(node: Node, timeout: float = SECONDS) -> Client:
    return Client([node.address], timeout=timeout, follow_leader=False)


# --- several keys


def test_several_keys_are_read_together_and_absent_ones_left_out(client: Client) -> None:
    assert client.get_many([key(7), "none", key(3), key(7)], int) == {key(7): 7, key(3): 3}
    assert client.get_many([]) == {}
    assert client.get_many(iter([key(1)])) == {key(1): 1}


@pytest.mark.parametrize("keys", ["key", b"key", [""], [1], 5, None, list(map(str, range(1001)))])
def test_invalid_keys_are_refused_before_anything_is_sent(client: Client, keys: object) -> None:
    with pytest.raises(InvalidRequest):
        client.get_many(keys)  # type: ignore[call-overload]


def test_a_value_of_another_type_is_named_and_can_be_read_raw(client: Client) -> None:
    client.insert("own/text", "seven")
    with pytest.raises(DeserializeFailed, match="'own/text' is not of type int"):
        client.get_many(["own/text"], int)
    with pytest.raises(DeserializeFailed, match="'own/text' is not of type int"):
        list(client.scan("own/", int))
    raw = client.get_many(["own/text"], msgspec.Raw)
    assert msgspec.msgpack.decode(raw["own/text"]) == "seven"


# --- scans


def test_a_scan_shows_one_revision_whatever_is_written_meanwhile(client: Client) -> None:
    entries = client.scan("many/", int)
    first = next(entries)
    written = client.swap(key(MANY - 1), -1, int)
    client.insert("many/late", -2)
    try:
        rest = list(entries)
        assert [first.value, *[each.value for each in rest]] == list(range(MANY))
        assert rest[-1] == written
        assert client.count("many/") == MANY + 1
    finally:
        client.insert(key(MANY - 1), MANY - 1)
        client.remove("many/late")


def test_hundreds_of_scans_run_at_once(cluster: Cluster) -> None:
    async def scan() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:

            async def one() -> int:
                return len([each async for each in client.scan("many/", int, limit=1001)])

            assert await asyncio.gather(*[one() for _ in range(500)]) == [1001] * 500

    asyncio.run(scan())


def test_scans_are_sorted_in_either_direction_and_limited(client: Client) -> None:
    last = [each.key for each in client.scan("many/", limit=1500, reverse=True)]
    assert last == [key(n) for n in range(MANY - 1, MANY - 1501, -1)]
    after = client.scan("many/", start_after=key(8), limit=2)
    assert [each.key for each in after] == [key(9), key(10)]
    before = client.scan("many/", start_after=key(2), reverse=True)
    assert [each.key for each in before] == [key(1), key(0)]
    assert list(client.scan("many/", limit=0)) == list(client.scan("man/")) == []


def test_keys_are_listed_and_counted(client: Client) -> None:
    assert client.list_keys("many/", limit=2, reverse=True) == [key(MANY - 1), key(MANY - 2)]
    assert client.list_keys("many/", reverse=True, start_after=key(1)) == [key(0)]
    assert client.list_keys("many/", reverse=True) == client.list_keys("many/")[::-1]
    assert (client.count("many/"), client.count("many/000"), client.count("man/")) == (MANY, 100, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefix": "a\0"},
        {"prefix": 5},
        {"type": "no type"},
        {"limit": -1},
        {"limit": 2.0},
        {"start_after": ""},
        {"reverse": 1},
        {"read": "eventual"},
        {"max_staleness": 1},
        {"read": "stale", "max_staleness": 0},
        {"read": "stale", "max_staleness": float("nan")},
        {"read": "stale", "max_staleness": "1"},
        {"at_least": -1},
        {"at_least": True},
        {"at_least": "7"},
    ],
)
def test_an_invalid_scan_is_refused_at_the_call(
    client: Client, arguments: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest):
        client.scan(**arguments)  # type: ignore[call-overload]


def test_a_scan_ends_with_an_error_if_its_node_restarts(cluster: Cluster) -> None:
    node = cluster.followers()[0]
    with client_of(node) as client:
        entries = client.scan("many/")
        next(entries)
        cluster.kill(node)
        cluster.restart(node)
        with pytest.raises(StreamClosed, match="does not have the view of revision"):
            list(entries)


# --- previous values


def test_swap_and_pop_return_the_entry_that_was_there(client: Client) -> None:
    assert client.swap("own/key", 1) is None
    before = client.get_entry("own/key", int)
    assert client.swap("own/key", 2, int) == before
    popped = client.pop("own/key", int)
    assert isinstance(popped, Entry)
    assert (popped.value, popped.version) == (2, 2)
    assert client.pop("own/key") is None
    with pytest.raises(InvalidRequest, match="a key cannot be empty"):
        client.pop("")


# --- staleness


@pytest.fixture
def behind(cluster: Cluster) -> Iterator[Node]:
    """A follower that receives no entries, and misses the newest value of ``lag``."""
    node = cluster.followers()[0]
    with cluster.client(timeout=SECONDS) as client, client_of(node) as there:
        there.get("lag", at_least=client.insert("lag", "old"))
        with stopped_actor(node, "log_replicator"):
            client.insert("lag", "new")
            yield node
        there.get("lag")


def test_a_stale_read_needs_no_leader_and_may_be_old(behind: Node) -> None:
    with client_of(behind) as client:
        assert client.get("lag", read="stale") == "old"
        assert client.count("many/", read="stale") == MANY
        assert len(list(client.scan("many/", read="stale"))) == MANY
        assert client.list_keys("lag", read="stale") == ["lag"]
        assert client.get_many(["lag"], read="stale") == {"lag": "old"}


def test_a_state_that_is_too_old_is_not_served(behind: Node) -> None:
    with client_of(behind, timeout=1.0) as client:
        assert client.get("lag", read="stale", max_staleness=3600.0) == "old"
        with pytest.raises(RequestTimeout, match="no leader could confirm the read"):
            client.get("lag", read="stale", max_staleness=0.001)


def test_a_revision_that_a_node_has_not_reached_is_awaited(behind: Node, cluster: Cluster) -> None:
    with cluster.client(timeout=SECONDS) as elsewhere:
        newest = elsewhere.get_entry("lag")
        assert newest is not None
    with client_of(behind, timeout=1.0) as client:
        with pytest.raises(RequestTimeout):
            client.get("lag", read="stale", at_least=newest.revision)
        resumed = threading.Timer(0.3, os.kill, (behind.actor_pids["log_replicator"], CONTINUE))
        resumed.start()
        late = client.get("lag", read="stale", at_least=newest.revision, timeout=SECONDS)
        resumed.join()
    assert late == "new"


def test_a_client_that_moves_to_a_node_behind_reads_no_older_state(
    behind: Node, cluster: Cluster
) -> None:
    leader = cluster.leader()
    with Client([leader.address, behind.address], timeout=1.0, follow_leader=False) as client:
        while client.get("lag", read="stale") != "new":
            client.get("lag")  # until it has asked the leader
        cluster.pause(leader)
        try:
            with pytest.raises(RequestTimeout):
                client.get("lag", read="stale", timeout=2.0)
            with client_of(behind) as other:
                assert other.get("lag", read="stale") == "old"
        finally:
            cluster.resume(leader)


def test_a_revision_from_the_future_is_an_error(client: Client) -> None:
    for read in get_args(Consistency):
        with pytest.raises(InvalidRequest, match="revision 1000000000 is from the future"):
            client.get("key", read=read, at_least=10**9)


def test_every_client_reads_its_own_writes_by_stale_reads(client: Client) -> None:
    for number in range(50):
        client.insert("own/counter", number)
        assert client.get("own/counter", int, read="stale") == number
        assert client.get("own/counter", int, read="stale", max_staleness=0.1) == number


# --- asyncio


def test_asyncio_clients_read_alike(cluster: Cluster) -> None:
    async def read() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            assert await client.get_many([key(1), "none"], int) == {key(1): 1}
            found = [each.value async for each in client.scan("many/", int, reverse=True)]
            assert found == list(range(MANY - 1, -1, -1))
            counts = await asyncio.gather(*[client.count("many/0000") for _ in range(10)])
            assert counts == [10] * 10
            with pytest.raises(InvalidRequest):
                client.scan(limit=-1)
            assert await client.swap("own/key", os.getpid()) is None
            popped = await client.pop("own/key", int)
            assert popped is not None
            assert popped.value == os.getpid()
            assert await client.get("own/key", read="stale", default=0) == 0

    asyncio.run(read())


def test_a_new_client_stays_with_the_node_of_its_scan(cluster: Cluster) -> None:
    for node in cluster.nodes:
        with Client(node.address, timeout=SECONDS) as client:  # which may move to the leader
            entries = client.scan("many/", int)
            next(entries)
            client.insert("own/key", 1)
            assert sum(1 for _ in entries) == MANY - 1
            assert client.count("many/") == MANY


def test_scans_side_by_side_show_their_own_revisions(cluster: Cluster) -> None:
    async def scan() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            scans = [aiter(client.scan("many/", int)) for _ in range(10)]
            for each in scans:
                await anext(each)
            left = await asyncio.gather(*[rest(each) for each in scans])
            assert left == [MANY - 1] * 10

    async def rest(entries: AsyncIterator[Entry[int]]) -> int:
        return len([each async for each in entries])

    asyncio.run(scan())
