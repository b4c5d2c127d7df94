"""Test clusters: real nodes as programs of their own, on free ports, in a temporary directory.

with Cluster(nodes=3) as cluster, cluster.client() as client:
    client.insert("key", "value")
    cluster.kill(cluster.leader())
    assert client.get("key", str) == "value"
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skiff.testing.cluster import Cluster
    from skiff.testing.node import Node
    from skiff.testing.ports import free_port
    from skiff.testing.waiting import wait_until

# Imported on first use: pytest loads this package for its plugin, whatever the tests need.
_ON_FIRST_USE = {
    "Cluster": "skiff.testing.cluster",
    "Node": "skiff.testing.node",
    "free_port": "skiff.testing.ports",
    "wait_until": "skiff.testing.waiting",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_ON_FIRST_USE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})


__all__ = ["Cluster", "Node", "free_port", "wait_until"]
