"""pytest set-up: workers, their signals, tests that run alone, --rewrite and SKIFF_TEST_KEYS.

With SKIFF_TEST_KEYS=1, each cluster that a test starts without saying more has keys, and each
client has them from its environment.
"""

import fcntl
import os
import signal
from collections.abc import Generator, Iterator

import pytest

from skiff.key_files import make_cluster_keys
from skiff.testing import Node

WORKERS_MAX = 8  # each may run a cluster of a dozen processes


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that replaces expected output by actual output."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write the output of scenarios and the README's settings, to be read before kept",
    )


def pytest_configure() -> None:
    """Restore SIGINT, which a shell ignores in background jobs, for the programs of tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make keys for the clusters of this session, if that is wished."""
    if os.environ.get("SKIFF_TEST_KEYS") != "1":
        yield
        return
    keys = tmp_path_factory.mktemp("keys")
    make_cluster_keys(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "default_key", keys / "cluster.key_secret")
        patch.setenv("SKIFF_KEY", str(keys / "cluster.key_secret"))
        yield


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers: more than cores, as tests mostly wait."""
    return min(3 * (os.cpu_count() or 1), WORKERS_MAX)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run exclusive tests last, when the other workers wait least for them; skip plain ones."""
    items.sort(key=is_alone)
    if os.environ.get("SKIFF_TEST_KEYS") == "1":
        for item in items:
            if item.get_closest_marker("plain"):
                item.add_marker(pytest.mark.skip("it speaks to nodes without keys"))


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold this file's lock during a test: shared, or exclusive for tests that run alone."""
    lock = os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if is_alone(item) else fcntl.LOCK_SH)
        return (yield)
    finally:
        os.close(lock)


def is_alone(item: pytest.Item) -> bool:
    """Return whether no other test may run at the same time."""
    return item.get_closest_marker("alone") is not None
