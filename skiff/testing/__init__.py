"""Test clusters: real nodes as programs of their own, on free ports, in a temporary directory.

with Cluster(nodes=3) as cluster, cluster.client() as client:
    client.insert("key", "value")
    cluster.kill(cluster.leader())
    assert client.get("key", str) == "value"
"""

from skiff.testing.cluster import Cluster
from skiff.testing.node import Node
from skiff.testing.ports import free_port
from skiff.testing.waiting import wait_until

__all__ = ["Cluster", "Node", "free_port", "wait_until"]
