"""Shared cluster: one that several tests use in turn, each of which finds it whole and empty."""

from collections.abc import Callable

from skiff.client import Client
from skiff.testing.cluster import Cluster

WHOLE_SECONDS = 5.0  # for a cluster to be whole again; else another one is started
REMOVAL_SECONDS = 60.0  # for each page of keys to be removed
PAGE_KEYS = 10_000


class SharedCluster:
    """A cluster that is started when it is first needed, and replaced once a test has broken it."""

    def __init__(self, make: Callable[[], Cluster], nodes: int) -> None:
        """Make clusters of so many nodes by a function."""
        self._make = make
        self._nodes = nodes
        self._cluster: Cluster | None = None

    def take(self) -> Cluster:
        """Return the cluster for the next test, whole and without keys.

        Raises:
            ClusterInitFailed: no cluster could be started.
        """
        if self._cluster is not None and not self._is_restored(self._cluster):
            self.close()
        if self._cluster is None:
            self._cluster = self._make().__enter__()
        return self._cluster

    def close(self) -> None:
        """End the cluster; idempotent."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.__exit__(None, None, None)

    def _is_restored(self, cluster: Cluster) -> bool:
        """Empty a cluster that has all its nodes, and no others; return whether that was done."""
        if len(cluster.nodes) != self._nodes or not all(each.is_running for each in cluster.nodes):
            return False
        for node in cluster.nodes:
            cluster.resume(node)  # it may be paused
        try:
            cluster.wait_until_whole(WHOLE_SECONDS)
        except TimeoutError:
            return False
        with cluster.client(REMOVAL_SECONDS) as client:
            remove_all(client)
        return True


def remove_all(client: Client) -> None:
    """Remove all keys, of any number."""
    while len(keys := client.list_keys(limit=PAGE_KEYS)) == PAGE_KEYS:
        with client.pipeline() as pipeline:
            for key in keys:
                pipeline.remove(key)
    client.remove_prefix("")
