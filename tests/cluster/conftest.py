"""Clusters that tests share, where they leave them as they found them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skiff import Client
from skiff.testing import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, whole at the beginning; a test that breaks one mends it."""
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
