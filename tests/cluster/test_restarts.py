"""Restarts: a node restarts dead actors, and gives up if they die too often."""

import os
import signal
from pathlib import Path

import pytest

from actors import supervisor
from skiff import Skiff, SkiffError
from skiff.testing import free_port, wait_until
from tests.cluster.keyed import node_key

pytestmark = pytest.mark.cluster

RESTARTS = supervisor.RESTARTS_MAX + 2


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", 0.01)


def kill_an_actor(node: Skiff) -> None:
    """Kill an actor of a serving node; return when the node has noticed."""
    node.wait_until_serving()
    pid = node.pids["election_timer"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in node.pids.values(), "the dead actor is noticed")


def test_infrequent_actor_deaths_never_end_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_WINDOW_SECONDS", 0.1)
    with Skiff(tmp_path / "node", port=free_port(), key=node_key()) as node:
        for _ in range(RESTARTS):
            kill_an_actor(node)
        node.wait_until_serving()


def test_frequent_actor_deaths_end_a_node(tmp_path: Path) -> None:
    with Skiff(tmp_path / "node", port=free_port(), key=node_key()) as node:
        with pytest.raises(SkiffError, match="died"):  # noqa: PT012 - any of them may raise
            for _ in range(RESTARTS):
                kill_an_actor(node)
        wait_until(lambda: node.pids == {}, "its processes are gone")
