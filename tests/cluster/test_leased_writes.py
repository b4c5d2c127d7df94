"""Leased writes: every way to write a value takes a lease or a TTL, and entries show them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from skiff import (
    AsyncClient,
    Client,
    Get,
    Insert,
    InvalidRequest,
    Lease,
    LeaseExpired,
    LeaseNotFound,
    PipelineFailed,
)
from skiff.testing import Cluster

pytestmark = pytest.mark.cluster

SECONDS = 20.0
TTL = 60.0  # of leases that must not end
NEVER_GRANTED = 1 << 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(1, directory=tmp_path_factory.mktemp("leased")) as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A client; the keys are gone afterwards."""
    with Client(cluster.addresses, timeout=SECONDS) as running:
        yield running
        running.remove_prefix("")


@pytest.fixture
def lease(client: Client) -> Iterator[Lease]:
    with client.lease(TTL) as granted:
        yield granted


def shown(client: Client) -> dict[str, tuple[int | None, float | None]]:
    """Return the lease and the TTL of each entry, which two kinds of reads agree on."""
    entries = list(client.scan(""))
    assert entries == [client.get_entry(entry.key) for entry in entries]
    return {entry.key: (entry.lease, entry.ttl) for entry in entries}


def test_entries_show_their_lease_or_their_ttl(client: Client, lease: Lease) -> None:
    client.insert("a", 1, lease=lease)
    client.insert("b", 1, ttl=1.5 * TTL)
    client.insert("c", 1)
    client.increment("a")
    client.increment("b")
    assert shown(client) == {"a": (lease.id, None), "b": (None, 1.5 * TTL), "c": (None, None)}
    client.insert("a", 3)
    assert shown(client)["a"] == (None, None)


def test_every_write_takes_a_lease(client: Client, lease: Lease) -> None:
    client.insert_many({"many/1": 1, "many/2": 2}, lease=lease)
    client.swap("swap", 1, lease=lease.id)
    client.transact([], [Insert("transact", 1, lease=lease)])
    with client.pipeline() as pipeline:
        pipeline.insert("pipeline", 1, lease=lease)
    with client.transaction() as transaction:
        transaction.insert("transaction", 1, lease=lease)
    client.namespace("names/").insert("a", 1, lease=lease)
    assert len(shown(client)) == 7
    assert set(shown(client).values()) == {(lease.id, None)}
    assert lease.revoke() == 7
    assert shown(client) == {}


def test_every_write_takes_a_ttl(client: Client) -> None:
    client.insert_many({"many/1": 1, "many/2": 2}, ttl=TTL)
    client.swap("swap", 1, ttl=TTL)
    client.transact([], [Insert("transact", 1, ttl=TTL)])
    with client.pipeline() as pipeline:
        pipeline.insert("pipeline", 1, ttl=TTL)
    with client.transaction() as transaction:
        transaction.insert("transaction", 1, ttl=TTL)
    client.namespace("names/").insert("a", 1, ttl=TTL)
    assert len(shown(client)) == 7
    assert set(shown(client).values()) == {(None, TTL)}


def test_an_exchange_returns_the_lease_that_the_key_had(client: Client, lease: Lease) -> None:
    client.insert("a", 1, lease=lease)
    replaced = client.swap("a", 2, ttl=TTL)
    removed = client.pop("a")
    assert replaced is not None
    assert removed is not None
    assert (replaced.lease, replaced.ttl) == (lease.id, None)
    assert (removed.lease, removed.ttl) == (None, TTL)
    result = client.transact([], [Insert("a", 1, lease=lease), Get("a")])
    assert result.results[1].lease == lease.id


def test_a_write_with_a_lease_that_has_ended_is_refused_as_a_whole(client: Client) -> None:
    lease = client.lease(TTL)
    lease.revoke()
    with pytest.raises(LeaseExpired):
        client.insert_many({"a": 1, "b": 2}, lease=lease)
    with pytest.raises(LeaseExpired):
        client.swap("a", 1, lease=lease)
    with pytest.raises(LeaseNotFound):
        client.transact([], [Insert("a", 1), Insert("b", 1, lease=NEVER_GRANTED)])
    transaction = client.transaction()
    transaction.insert("a", 1)
    transaction.insert("b", 1, lease=lease)
    with pytest.raises(LeaseExpired):
        transaction.commit()
    assert shown(client) == {}


def test_a_pipeline_goes_on_after_a_lease_that_has_ended(client: Client, lease: Lease) -> None:
    with pytest.raises(PipelineFailed) as failed, client.pipeline() as pipeline:
        pipeline.insert("a", 1, lease=NEVER_GRANTED).insert("b", 1, lease=lease)
    refused, revision = failed.value.results
    assert isinstance(refused, LeaseNotFound)
    assert isinstance(revision, int)
    assert shown(client) == {"b": (lease.id, None)}


@pytest.mark.parametrize(
    "fields", [{"ttl": 0}, {"ttl": 0.5}, {"lease": 0}, {"lease": "1"}, {"lease": 1, "ttl": 5}]
)
def test_what_is_no_lease_is_refused_before_anything_is_sent(fields: dict[str, Any]) -> None:
    with Client("127.0.0.1:1", timeout=0.1) as client:
        with pytest.raises(InvalidRequest):
            client.insert_many({"a": 1}, **fields)
        with pytest.raises(InvalidRequest):
            client.swap("a", 1, **fields)
        with pytest.raises(InvalidRequest):
            client.transact([], [Insert("a", 1, **fields)])
        with pytest.raises(InvalidRequest):
            client.pipeline().insert("a", 1, **fields)
        with pytest.raises(InvalidRequest):
            client.transaction().insert("a", 1, **fields)


def test_leased_writes_of_an_asyncio_client(cluster: Cluster, client: Client) -> None:
    async def main() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as other:
            lease = await other.lease(TTL)
            await other.insert_many({"a": 1}, lease=lease)
            await other.swap("b", 1, lease=lease)
            await other.namespace("c/").insert("d", 1, lease=lease)
            async with other.transaction() as transaction:
                transaction.insert("e", 1, lease=lease)
            async with other.pipeline() as pipeline:
                pipeline.insert("f", 1, lease=lease)
            assert {entry.lease async for entry in other.scan("")} == {lease.id}
            assert await lease.revoke() == 5

    asyncio.run(main())
    assert shown(client) == {}
