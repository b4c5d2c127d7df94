"""Saturation: a healthy cluster may become slow under load, but keeps its leader."""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from skiff import Client
from skiff.testing import Cluster

SECONDS = 60.0
PROCESSES = 4
VALUE = b"x" * 1000
KEYS = 1000  # of each process, overwritten again and again
TIMEOUT_SECONDS = 30.0


class Saturation(msgspec.Struct, frozen=True):
    """The result of the load."""

    writes: tuple[int, ...]  # acknowledged, of each process
    before: tuple[tuple[int, UUID | None], ...]  # term and leader, by each node's status
    after: tuple[tuple[int, UUID | None], ...]


def measure(directory: Path, seconds: float, processes: int = PROCESSES) -> Saturation:
    """Write from several processes for some seconds, and compare the leader before and after."""
    with Cluster(3, directory=directory) as cluster:
        before = _leaders(cluster)
        writes = _saturate(cluster.addresses, seconds, processes)
        return Saturation(writes, before, _leaders(cluster))


def report(saturation: Saturation, seconds: float) -> str:
    """Return the figures as lines for a person."""
    elections = max(term for term, _ in saturation.after) - max(t for t, _ in saturation.before)
    rate = sum(saturation.writes) / seconds
    return f"{rate:12,.0f} writes acknowledged a second\n{elections:12,} elections meanwhile"


def _leaders(cluster: Cluster) -> tuple[tuple[int, UUID | None], ...]:
    statuses = [node.status() for node in cluster.nodes]
    return tuple((status.term, status.leader) for status in statuses if status is not None)


def _saturate(addresses: list[str], seconds: float, processes: int) -> tuple[int, ...]:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(processes) as pool:
        return tuple(pool.map(_write, [(addresses, seconds, n) for n in range(processes)]))


def _write(work: tuple[list[str], float, int]) -> int:
    addresses, seconds, number = work
    deadline = time.monotonic() + seconds
    count = 0
    with Client(addresses, timeout=TIMEOUT_SECONDS) as client:
        while time.monotonic() < deadline:
            client.insert(f"{number}/{count % KEYS}", VALUE)
            count += 1
    return count


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the load; exit with 1 if another leader was elected."""
    parser = argparse.ArgumentParser(prog="scripts/saturate", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=SECONDS, metavar="S", help="of load; 60 by default")
    add("--processes", type=int, default=PROCESSES, metavar="N", help="that write; 4 by default")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="skiff-saturation-") as directory:
        saturation = measure(Path(directory), options.seconds, options.processes)
    sys.stdout.write(report(saturation, options.seconds) + "\n")
    if saturation.before != saturation.after:
        sys.exit(f"the leader did not stay: {saturation.before} became {saturation.after}")


if __name__ == "__main__":
    main()
