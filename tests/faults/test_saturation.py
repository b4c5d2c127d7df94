"""Saturating load on a healthy cluster: slow is allowed, another leader is not."""

import multiprocessing
import time
from pathlib import Path

import pytest

from skiff import Client
from skiff.testing import Cluster

pytestmark = pytest.mark.cluster

SECONDS = 60.0
PROCESSES = 4


@pytest.mark.timeout(180)
def test_a_minute_of_saturating_load_keeps_the_leader(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        before = [status for node in cluster.nodes if (status := node.status())]
        counts = saturate(cluster.addresses)
        after = [status for node in cluster.nodes if (status := node.status())]
    assert sum(counts) > SECONDS * 100, "the load was no load"
    assert [(status.term, status.leader) for status in after] == [
        (status.term, status.leader) for status in before
    ]


def saturate(addresses: list[str]) -> list[int]:
    """Write from several processes at once for a while; return how many writes each made."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(PROCESSES) as pool:
        return pool.map(write, [(addresses, number) for number in range(PROCESSES)])


def write(work: tuple[list[str], int]) -> int:
    addresses, number = work
    deadline = time.monotonic() + SECONDS
    count = 0
    with Client(addresses, timeout=30) as client:
        while time.monotonic() < deadline:
            client.insert(f"{number}/{count % 1000}", b"x" * 1000)
            count += 1
    return count
