"""Worker processes: their number, their signals, tests that run alone; and the switch --rewrite."""

import fcntl
import os
import signal
from collections.abc import Generator

import pytest

WORKERS_MAX = 8  # each may run a cluster of a dozen processes


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that makes what comes out the expected output."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write the output of scenarios and the README's settings, to be read before kept",
    )


def pytest_configure() -> None:
    """Let the programs that tests start heed Ctrl-C, also where a shell runs all in background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run the tests: most of these wait more than they compute."""
    return min(2 * (os.cpu_count() or 1), WORKERS_MAX)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what runs alone, when the other processes have the least to wait."""
    items.sort(key=is_alone)


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Share this file's lock with the other processes, or hold it alone."""
    lock = os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if is_alone(item) else fcntl.LOCK_SH)
        return (yield)
    finally:
        os.close(lock)


def is_alone(item: pytest.Item) -> bool:
    """Whether no other test may run at the same time."""
    return item.get_closest_marker("alone") is not None
