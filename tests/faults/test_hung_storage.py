"""Hung storage: a leader whose storage writer is stopped is replaced, and clients continue."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skiff import Client, RequestTimeout
from skiff.testing import Cluster, Node, wait_until
from tests.harness.stopped_actor import stopped_actor

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

LONGEST_SECONDS = 1.5  # several times the default, for busy machines
TIMEOUTS = ("--election-timeout-min-ms", "750", "--election-timeout-max-ms", "1500")
BOUND_SECONDS = 5 * LONGEST_SECONDS  # detection may take four of them


@contextmanager
def hung_storage(node: Node) -> Iterator[float]:
    """Stop a node's storage writer; yield the time of the stop."""
    with stopped_actor(node, "storage_writer"):
        yield time.monotonic()


def test_a_leader_with_hung_storage_is_replaced_under_writes(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path, options=TIMEOUTS) as cluster:
        hung = cluster.leader()
        addresses = [hung.address, *[node.address for node in cluster.nodes if node is not hung]]
        with Client(addresses, timeout=60) as client:
            client.insert("before", 1)
            with hung_storage(hung) as since:
                client.insert("after", 2)  # perhaps by the disks of the others, before an election
                wait_until(lambda: client.status().leader != hung.id, "another node leads")
                assert time.monotonic() - since < BOUND_SECONDS
            assert client.get("before") == 1
        with hung.client(timeout=20) as client:
            assert client.get("after") == 2


def test_an_idle_leader_with_hung_storage_is_replaced(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path, options=TIMEOUTS) as cluster:
        hung, other = cluster.leader(), cluster.followers()[0]

        def another_leads() -> bool:
            status = other.status()
            return status is not None and status.leader not in (None, hung.id)

        with hung_storage(hung) as since:
            wait_until(another_leads, "another node leads")
            assert time.monotonic() - since < BOUND_SECONDS


def test_a_node_with_hung_storage_reports_it_and_recovers(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path, options=TIMEOUTS) as cluster:
        with cluster.client(timeout=BOUND_SECONDS) as client:
            client.insert("before", 1)
            with (
                hung_storage(cluster.nodes[0]),
                pytest.raises(RequestTimeout, match="storage of this node does not answer"),
            ):
                client.get("before")
            client.insert("after", 2, timeout=20)
            assert client.get("before") == 1
        assert "does not answer" in cluster.nodes[0].log()
