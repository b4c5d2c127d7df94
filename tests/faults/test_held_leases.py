"""Held leases under faults: none ends early, and each ends soon after its holder is gone."""

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from skiff import AsyncClient, Client, EventKind
from skiff.testing import Cluster, wait_until
from tests.cluster.command import environment

pytestmark = pytest.mark.cluster

SECONDS = 20.0
TTL = 2.0
MARGIN = 4.0  # for elections and writes of a busy machine, besides a third of the TTL
MANY = 10_000

HOLDER = f"""
import sys, time
from skiff import Client

client = Client(sys.argv[1], timeout={SECONDS})
lease = client.lease({TTL})
client.insert_many({{"held/a": 1, "held/b": 2}}, lease=lease)
print(lease.id, flush=True)
time.sleep({SECONDS})
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; every test leaves them running."""
    with Cluster(3, directory=tmp_path_factory.mktemp("held")) as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A client; the keys are gone afterwards."""
    with Client(cluster.addresses, timeout=SECONDS) as running:
        yield running
        running.remove_prefix("")


@pytest.mark.timeout(120)
def test_a_lease_outlives_the_stop_of_its_leader(cluster: Cluster, client: Client) -> None:
    with client.lease(TTL) as lease:
        client.insert("key", 1, lease=lease)
        leader = cluster.leader()
        cluster.pause(leader)
        time.sleep(3 * TTL)
        assert client.get("key") == 1
        cluster.resume(leader)
        time.sleep(TTL * 4 / 3 + MARGIN)
        assert client.get("key") == 1
        assert not lease.lost.is_set()


@pytest.mark.timeout(120)
def test_a_lease_ends_in_time_though_its_leader_is_stopped(
    cluster: Cluster, client: Client
) -> None:
    leader = cluster.leader()
    began = time.monotonic()
    client.insert("key", 1, ttl=TTL)
    cluster.pause(leader)
    try:
        wait_until(lambda: client.get("key") is None, "the key is gone")
        assert time.monotonic() - began >= TTL
        assert time.monotonic() - began < TTL * 4 / 3 + 2 * MARGIN
    finally:
        cluster.resume(leader)


@pytest.mark.timeout(120)
def test_a_lease_does_not_end_early_when_all_nodes_restart(cluster: Cluster) -> None:
    ttl = 3 * TTL
    with Client(cluster.addresses, timeout=SECONDS) as holder:
        began = time.monotonic()
        lease = holder.lease(ttl)
        holder.insert("key", 1, lease=lease)
    for node in cluster.nodes:
        cluster.kill(node)
    for node in cluster.nodes:
        node.start()
    with Client(cluster.addresses, timeout=SECONDS) as client:
        assert client.get("key") == 1
        restarted = time.monotonic()
        with client.watch("key") as changes:
            (end,) = itertools.islice(changes, 1)
        ended = time.monotonic()
    assert end.kind is EventKind.EXPIRE
    assert ended - began >= ttl
    assert ended - restarted < ttl * 4 / 3 + MARGIN


@pytest.mark.timeout(120)
def test_the_keys_of_a_killed_holder_expire(cluster: Cluster, client: Client) -> None:
    command = [sys.executable, "-P", "-c", HOLDER, ",".join(cluster.addresses)]
    with (
        client.watch("held/") as changes,
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as holder,
    ):
        assert holder.stdout is not None
        lease = int(holder.stdout.readline())
        time.sleep(1.5 * TTL)
        assert {client.get_entry(key).lease for key in client.list_keys("held/")} == {lease}  # type: ignore[union-attr]
        holder.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        seen = [(each.kind, each.key) for each in itertools.islice(changes, 4)]
        lasted = time.monotonic() - killed
    assert seen[2:] == [(EventKind.EXPIRE, "held/a"), (EventKind.EXPIRE, "held/b")]
    assert TTL / 2 < lasted < TTL * 4 / 3 + MARGIN
    assert lease not in [each.id for each in client.leases()]


@pytest.mark.timeout(180)
def test_ten_thousand_leases_of_one_client_stay_alive(cluster: Cluster) -> None:
    ttl = 15.0

    async def main() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            leases = await asyncio.gather(*[client.lease(ttl) for _ in range(MANY)])
            began = asyncio.get_running_loop().time()
            while (left := min(lease.remaining for lease in leases)) < ttl / 2:
                assert left
                await asyncio.sleep(0.1)
            await asyncio.sleep(ttl / 2)  # so that each has to be kept alive
            kept = asyncio.get_running_loop().time() - began
            assert all(lease.remaining > ttl - kept for lease in leases)
            listed = {each.id for each in await client.leases()}
            assert {lease.id for lease in leases} <= listed

    asyncio.run(main())
