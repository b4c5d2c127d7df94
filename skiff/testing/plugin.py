"""Plugin of pytest: fixtures of real clusters and their clients.

pytest loads it in every run, so it imports nothing of skiff before a fixture is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from skiff.async_client import AsyncClient
    from skiff.client import Client
    from skiff.testing.cluster import Cluster
    from skiff.testing.shared import SharedCluster

NODES, SCOPE = "1", "session"  # where neither an option nor the configuration says it
SCOPES = ("session", "module", "function")
MARKER = (
    "skiff(nodes, partitions, options): a cluster of its own for this test, as Cluster makes it"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the cluster that tests share."""
    group = parser.getgroup("skiff", "clusters of skiff")
    nodes = f"number of nodes of the fixture skiff_cluster ({NODES})"
    scope = f"tests that share it: {', '.join(SCOPES)} ({SCOPE})"
    group.addoption("--skiff-nodes", type=int, help=nodes, metavar="N")
    group.addoption("--skiff-scope", choices=SCOPES, help=scope)
    parser.addini("skiff_nodes", nodes, default=NODES)
    parser.addini("skiff_scope", scope, default=SCOPE)


def pytest_configure(config: pytest.Config) -> None:
    """Check the configuration, and register the marker."""
    config.addinivalue_line("markers", MARKER)
    _scope("", config)
    _nodes(config)


def _scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest names it
    scope = config.getoption("skiff_scope") or config.getini("skiff_scope")
    if scope not in SCOPES:
        raise pytest.UsageError(f"skiff_scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    return scope


def _nodes(config: pytest.Config) -> int:
    nodes = config.getoption("skiff_nodes")
    text = str(config.getini("skiff_nodes") if nodes is None else nodes)
    if not text.isdecimal() or int(text) < 1:
        raise pytest.UsageError(f"skiff_nodes must be a number from 1 on, not {text!r}")
    return int(text)


@pytest.fixture(scope=_scope)
def _skiff_shared_cluster(pytestconfig: pytest.Config) -> "Iterator[SharedCluster]":
    """The cluster of all tests of the configured scope that have none of their own."""
    from skiff.testing.cluster import Cluster  # noqa: PLC0415
    from skiff.testing.shared import SharedCluster  # noqa: PLC0415

    nodes = _nodes(pytestconfig)
    shared = SharedCluster(lambda: Cluster(nodes), nodes)
    yield shared
    shared.close()


@pytest.fixture
def skiff_cluster(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    """A running ``skiff.testing.Cluster`` without keys.

    Tests share it, as ``--skiff-scope`` says, and a test that breaks it gets another one started
    for the next. A test that is marked by ``@pytest.mark.skiff(nodes=3)`` gets one of its own.
    """
    marker = request.node.get_closest_marker("skiff")
    if marker is None:
        yield request.getfixturevalue("_skiff_shared_cluster").take()
        return
    from skiff.testing.cluster import Cluster  # noqa: PLC0415

    if marker.args:
        raise pytest.UsageError("the marker names its arguments: @pytest.mark.skiff(nodes=3)")
    with Cluster(**{"nodes": _nodes(request.config), **marker.kwargs}) as cluster:
        yield cluster


@pytest.fixture
def skiff_client(skiff_cluster: "Cluster") -> "Iterator[Client]":
    """A ``skiff.Client`` of the cluster, closed after the test."""
    with skiff_cluster.client() as client:
        yield client


@pytest.fixture
def skiff_async_client(skiff_cluster: "Cluster") -> "AsyncClient":
    """A ``skiff.AsyncClient`` of the cluster, for ``async with`` in the test's own event loop.

    It opens no connection before that, so that it suits any way to run coroutines.
    """
    from skiff.async_client import AsyncClient  # noqa: PLC0415

    return AsyncClient(skiff_cluster.addresses, key=skiff_cluster.key or "")
