"""skiff: a three-node cluster on loopback, with the benchmark's interface."""

import functools
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from scripts.benchmark.drive import drive_loop, drive_threads
from scripts.benchmark.fan_out import drive_paced, drive_watches
from scripts.benchmark.system import System
from skiff import AsyncClient, AsyncLease, AsyncSubscriber, Client, Lease
from skiff.testing import Cluster, Node

NODES = 3
CALL_MAX_S = 5.0
SECURE = "skiffs://"
LEASE_SECONDS = 60.0  # longer than a measurement


class SkiffClient:
    """Blocks until a reply arrives; finds the leader by itself."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._client = Client(_target(addresses), timeout=CALL_MAX_S)
        self._lease: Lease | None = None

    def put(self, key: str, value: bytes) -> None:
        """Write a value."""
        self._client.insert(key, value)

    def get(self, key: str) -> bytes | None:
        """Read a value linearizably."""
        return self._client.get(key, bytes)

    def pipeline(self, puts: Sequence[tuple[str, bytes]]) -> None:
        """Write values in one pipeline."""
        with self._client.pipeline() as pipeline:
            for key, value in puts:
                pipeline.insert(key, value)

    def transaction(self, puts: Sequence[tuple[str, bytes]]) -> None:
        """Write values in one transaction."""
        self._client.insert_many(dict(puts))

    def scan(self, prefix: str) -> int:
        """Read all entries under a prefix, at one revision; return their number."""
        return sum(1 for _ in self._client.scan(prefix, bytes))

    def lock(self, name: str) -> None:
        """Acquire a lock and release it."""
        with self._client.lock(name):
            pass

    def keep_alive(self) -> None:
        """Keep a lease alive."""
        self._lease = self._lease or self._client.lease(LEASE_SECONDS)
        self._lease.keep_alive()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncSkiffClient:
    """Sends concurrent operations."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._client = AsyncClient(_target(addresses), timeout=CALL_MAX_S)
        self._lease: AsyncLease | None = None

    def put(self, key: str, value: bytes) -> Awaitable[object]:
        """Start to write a value."""
        return self._client.insert(key, value)

    def get(self, key: str) -> Awaitable[object]:
        """Start to read a value linearizably."""
        return self._client.get(key, bytes)

    async def pipeline(self, puts: Sequence[tuple[str, bytes]]) -> None:
        """Write values in one pipeline."""
        async with self._client.pipeline() as pipeline:
            for key, value in puts:
                pipeline.insert(key, value)

    def transaction(self, puts: Sequence[tuple[str, bytes]]) -> Awaitable[object]:
        """Start to write values in one transaction."""
        return self._client.insert_many(dict(puts))

    async def scan(self, prefix: str) -> int:
        """Read all entries under a prefix, at one revision; return their number."""
        return len([each async for each in self._client.scan(prefix, bytes)])

    async def lock(self, name: str) -> None:
        """Acquire a lock and release it."""
        async with self._client.lock(name):
            pass

    async def keep_alive(self) -> None:
        """Keep a lease alive."""
        self._lease = self._lease or await self._client.lease(LEASE_SECONDS)
        await self._lease.keep_alive()

    async def watch(self, prefix: str, subscribers: int) -> list[AsyncSubscriber]:
        """Watch a prefix a number of times; return when all are confirmed."""
        return [await self._client.watch(prefix, type=bytes) for _ in range(subscribers)]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class SkiffCluster:
    """Three nodes, and the one that was killed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._killed: Node | None = None

    def addresses(self) -> list[str]:
        """Return the addresses for clients, the leader's first."""
        leader = str(self._cluster.leader().address)
        addresses = [leader, *(each for each in self._cluster.addresses if each != leader)]
        key = self._cluster.key
        return addresses if key is None else [f"{SECURE}{','.join(addresses)}?key={key}"]

    def kill_leader(self) -> int:
        """Kill the leader with SIGKILL; return the time of the signal when it is dead."""
        self._killed = self._cluster.leader()
        killed_ns = time.monotonic_ns()
        self._cluster.kill(self._killed)
        return killed_ns

    def restart_killed(self) -> None:
        """Start the killed node again and return when it follows a leader."""
        assert self._killed is not None, "a node must have been killed"
        self._cluster.restart(self._killed)

    def trace_files(self) -> list[Path]:
        """Return the trace files so far."""
        return sorted(Path(self._cluster.directory).glob("**/trace/*.ndjson"))


def _target(addresses: Sequence[str]) -> str | list[str]:
    """Return what a client takes: with keys, one address names all nodes and the key file."""
    return addresses[0] if addresses[0].startswith(SECURE) else list(addresses)


@contextmanager
def _start(*, trace: bool, keys: bool) -> Iterator[SkiffCluster]:
    with Cluster(nodes=NODES, trace=trace, keys=keys) as cluster:
        yield SkiffCluster(cluster)


def find(name: str = "skiff", *, keys: bool = False) -> System:
    """Return the skiff of this working tree, with encrypted connections if there are keys."""
    return System(
        name=name,
        version=metadata.version("skiff-kv"),
        start=functools.partial(_start, trace=False, keys=keys),
        start_traced=functools.partial(_start, trace=True, keys=keys),
        connect=SkiffClient,
        connect_impatiently=SkiffClient,
        drive_blocking=functools.partial(drive_threads, SkiffClient),
        drive_in_flight=functools.partial(drive_loop, AsyncSkiffClient),
        drive_paced=functools.partial(drive_paced, AsyncSkiffClient),
        drive_watches=functools.partial(drive_watches, AsyncSkiffClient),
        in_flight_processes=1,
    )
