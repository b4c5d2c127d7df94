"""Idle leases: the cost of leases without keys that one client keeps alive. Linux only."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from skiff import AsyncClient, AsyncLease
from skiff.testing import Cluster, Node

LEASES = 10_000
TTL = 10.0  # seconds
SECONDS = 20.0
TIMEOUT_SECONDS = 60.0
BATCH = 500  # leases granted at once
TICKS = os.sysconf("SC_CLK_TCK")


class Use(msgspec.Struct, frozen=True):
    """The use of some processes: processor and disk since their start, memory now."""

    seconds: float
    written: int  # bytes handed to the disk
    resident: int  # bytes

    def since(self, before: "Use", seconds: float) -> str:
        """Return the use of a time as a line for a person."""
        share = (self.seconds - before.seconds) / seconds
        written = (self.written - before.written) / seconds / 1024
        return f"{share:7.1%} {self.resident / 2**20:8,.0f} MiB {written:8.1f} KiB/s"


def use_of(pids: Sequence[int]) -> Use:
    """Return the use of processes."""
    ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return Use(
        sum(int(fields[11]) + int(fields[12]) for fields in ticks) / TICKS,
        sum(_field(f"/proc/{pid}/io", "write_bytes") for pid in pids),
        sum(_field(f"/proc/{pid}/status", "VmRSS") for pid in pids) * 1024,
    )


def _field(path: str, name: str) -> int:
    (value,) = [
        line.split()[1] for line in Path(path).read_text().splitlines() if line.startswith(name)
    ]
    return int(value)


async def measure(cluster: Cluster, leases: int, seconds: float) -> None:
    """Print the use without leases, then with them."""
    leader = cluster.leader()
    parts = {
        "leader": _pids(leader),
        "followers": [pid for node in cluster.followers() for pid in _pids(node)],
        "client": [os.getpid()],
    }
    async with AsyncClient(cluster.addresses, timeout=TIMEOUT_SECONDS) as client:
        await _watch(parts, f"no leases, {seconds:g} s", seconds)
        held: list[AsyncLease] = []
        while len(held) < leases:
            count = min(BATCH, leases - len(held))
            held += await asyncio.gather(*[client.lease(TTL) for _ in range(count)])
        await asyncio.sleep(TTL)  # by then, each has been kept alive a few times
        await _watch(parts, f"{leases:,} leases of {TTL:g} s, {seconds:g} s", seconds)
        lost = sum(lease.lost.is_set() for lease in held)
    if lost or cluster.leader() is not leader:
        sys.exit(f"{lost} leases were lost; the leader was {leader}, and is {cluster.leader()}")


def _pids(node: Node) -> list[int]:
    return list(node.actor_pids.values())


async def _watch(parts: dict[str, list[int]], title: str, seconds: float) -> None:
    before = {name: use_of(pids) for name, pids in parts.items()}
    await asyncio.sleep(seconds)
    sys.stdout.write(f"{title:28} of a core   memory     written\n")
    for name, pids in parts.items():
        sys.stdout.write(f"  {name:25} {use_of(pids).since(before[name], seconds)}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; exit with 1 if a lease was lost or the leader changed."""
    parser = argparse.ArgumentParser(prog="scripts/idle-leases", description=__doc__)
    add = parser.add_argument
    add("--leases", type=int, default=LEASES, metavar="N", help="10,000 by default")
    add("--seconds", type=float, default=SECONDS, metavar="S", help="of each part; 20 by default")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="skiff-leases-") as directory,
        Cluster(3, directory=Path(directory)) as cluster,
    ):
        asyncio.run(measure(cluster, options.leases, options.seconds))


if __name__ == "__main__":
    main()
