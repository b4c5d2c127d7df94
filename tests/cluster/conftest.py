"""Fixtures: clusters for tests, shared where tests restore them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skiff import Client
from skiff.testing import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, all up at the start of a test; a test that breaks one repairs it."""
    with Cluster(3, directory=tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.client() as connected:
        yield connected


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes for one test alone, which may leave them in any state."""
    with Cluster(3, directory=tmp_path) as running:
        yield running


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Cluster]:
    """One node for one test alone."""
    with Cluster(1, directory=tmp_path) as running:
        yield running
