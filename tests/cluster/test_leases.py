"""Leases: keys go with them, through any node, and across changes of leader."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from skiff import (
    AsyncClient,
    Client,
    EventKind,
    InvalidRequest,
    LeaseExpired,
    LeaseInfo,
    LeaseNotFound,
)
from skiff.testing import Cluster

pytestmark = pytest.mark.cluster

SECONDS = 20.0
TTL = 1.0
NEVER_GRANTED = 1 << 40
MARGIN = TTL / 3 + 4.0  # after which a silent lease of this TTL has ended, on a busy machine
BEYOND = TTL / 3 + 1.0  # likewise, on an idle one


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("leases")) as running:
        yield running


@pytest.fixture(params=["leader", "follower"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Client]:
    """A client of the leader, or of a follower; the keys are gone afterwards."""
    node = cluster.leader() if request.param == "leader" else cluster.followers()[0]
    with Client([node.address], timeout=SECONDS, follow_leader=False) as running:
        yield running
        running.remove_prefix("")


def wait_until_gone(client: Client, key: str, seconds: float) -> float:
    """Wait until a key is gone; return the seconds that it took."""
    began = time.monotonic()
    while client.get(key) is not None:
        assert time.monotonic() < began + seconds, "the key is still there"
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_key_with_a_ttl_expires_after_it_and_not_before(client: Client) -> None:
    began = time.monotonic()
    with client.watch("a") as changes:
        client.insert("a", 1, ttl=TTL)
        client.insert("b", 1)
        wait_until_gone(client, "a", TTL + MARGIN)
        assert time.monotonic() - began >= TTL
        kinds = [change.kind for change in itertools.islice(changes, 2)]
    assert kinds == [EventKind.INSERT, EventKind.EXPIRE]
    assert client.get("b") == 1


def test_an_insert_without_a_ttl_keeps_the_key(client: Client) -> None:
    client.insert("a", 1, ttl=TTL)
    client.insert("a", 2)
    time.sleep(TTL + BEYOND)
    assert client.get("a") == 2


def test_a_lease_is_kept_alive_in_the_background(client: Client) -> None:
    with client.lease(TTL) as lease:
        client.insert("a", 1, lease=lease)
        client.insert("b", 1, lease=lease.id)
        time.sleep(2 * TTL + BEYOND)
        assert client.get_many(["a", "b"]) == {"a": 1, "b": 1}
        assert 0 < lease.remaining <= TTL
        assert not lease.lost.is_set()
    assert client.list_keys("") == []
    assert lease.lost.is_set()
    assert lease.remaining == 0.0


def test_a_lease_outlives_its_leader(cluster: Cluster) -> None:
    with Client(cluster.addresses, timeout=SECONDS) as client, client.lease(2 * TTL) as lease:
        client.insert("a", 1, lease=lease)
        leader = cluster.leader()
        leader.kill()
        time.sleep(3 * TTL)
        assert client.get("a") == 1
        assert not lease.lost.is_set()
        cluster.restart(leader)


def test_the_leases_of_a_closed_client_expire(cluster: Cluster) -> None:
    with Client(cluster.addresses, timeout=SECONDS) as other:
        with Client(cluster.addresses, timeout=SECONDS) as client:
            lease = client.lease(TTL)
            client.insert("a", 1, lease=lease)
        wait_until_gone(other, "a", TTL + MARGIN)
        assert lease.lost.wait(SECONDS)


def test_a_lost_lease_is_reported_and_refused(client: Client) -> None:
    lease = client.lease(TTL)
    with Client([client.status().address], timeout=SECONDS) as other:
        other.revoke_lease(lease.id)
    assert lease.lost.wait(TTL)
    with pytest.raises(LeaseExpired):
        client.insert("a", 1, lease=lease)
    with pytest.raises(LeaseExpired):
        lease.keep_alive()
    assert lease.revoke() == 0
    assert client.get("a") is None


def test_a_lease_that_was_never_granted_is_refused(client: Client) -> None:
    with pytest.raises(LeaseNotFound):
        client.insert("a", 1, lease=NEVER_GRANTED)
    assert client.get("a") is None


def test_leases_are_listed_without_those_of_keys_own(client: Client) -> None:
    with client.lease(TTL) as first, client.lease(60) as second:
        client.insert_many({"a": 1, "b": 1}, lease=second)
        client.insert("c", 1, ttl=60)
        mine = [each for each in client.leases() if each.id in (first.id, second.id)]
        assert mine == [LeaseInfo(first.id, TTL, 0), LeaseInfo(second.id, 60, 2)]
    assert not {first.id, second.id} & {each.id for each in client.leases()}


def test_a_lease_is_kept_alive_and_revoked_by_its_id(client: Client, cluster: Cluster) -> None:
    with Client(cluster.addresses, timeout=SECONDS) as holder:
        lease = holder.lease(TTL).id  # kept alive no longer than this client
        client.insert_many({"a": 1, "b": 1}, lease=lease)
    for _ in range(5):
        assert client.keep_lease_alive(lease) == TTL
        time.sleep(TTL / 2)
    assert client.revoke_lease(lease) == 2
    assert client.list_keys("") == []


def test_what_cannot_be_done_with_a_lease_has_an_error(client: Client) -> None:
    ended = client.lease(TTL)
    ended.revoke()
    for method in (client.keep_lease_alive, client.revoke_lease):
        with pytest.raises(LeaseExpired):
            method(ended)
        with pytest.raises(LeaseNotFound):
            method(NEVER_GRANTED)
        with pytest.raises(InvalidRequest):
            method(0)


def test_the_lease_of_a_keys_own_is_kept_alive_by_no_client(client: Client) -> None:
    client.insert("a", 1, ttl=60)
    with client.lease(60) as lease, pytest.raises(LeaseExpired):
        client.keep_lease_alive(lease.id - 1)
    assert client.get("a") == 1


@pytest.mark.parametrize("ttl", [0, -1, 0.5, 31 * 24 * 3600, float("nan"), "5"])
def test_a_ttl_out_of_bounds_is_refused_before_anything_is_sent(ttl: Any) -> None:
    with Client("127.0.0.1:1", timeout=0.1) as client:
        with pytest.raises(InvalidRequest):
            client.lease(ttl)
        with pytest.raises(InvalidRequest):
            client.insert("a", 1, ttl=ttl)


@pytest.mark.parametrize("lease", [0, -1, "1", 1 << 64])
def test_what_is_no_lease_is_refused_before_anything_is_sent(lease: Any) -> None:
    with Client("127.0.0.1:1", timeout=0.1) as client, pytest.raises(InvalidRequest):
        client.insert("a", 1, lease=lease)


def test_leases_of_an_asyncio_client(cluster: Cluster) -> None:
    async def main() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            async with await client.lease(TTL) as lease:
                await client.insert("a", 1, lease=lease)
                await asyncio.sleep(2 * TTL + BEYOND)
                assert await client.get("a") == 1
                assert not lease.lost.is_set()
            assert await client.get("a") is None
            assert lease.lost.is_set()
            assert lease.id not in [each.id for each in await client.leases()]
            other = await client.lease(60)
            assert await client.keep_lease_alive(other) == 60
            assert await client.revoke_lease(other.id) == 0
            last = await client.lease(TTL)
            await client.insert("b", 1, lease=last)
        assert last.lost.is_set()

    asyncio.run(main())
    with Client(cluster.addresses, timeout=SECONDS) as client:
        wait_until_gone(client, "b", TTL + MARGIN)


def test_many_leases_are_kept_alive_together(cluster: Cluster) -> None:
    async def main() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            leases = await asyncio.gather(*[client.lease(5 * TTL) for _ in range(2000)])
            await asyncio.sleep(7 * TTL)  # beyond the end of silent leases
            assert not any(lease.lost.is_set() for lease in leases)
            await asyncio.gather(*[lease.revoke() for lease in leases])

    asyncio.run(main())
