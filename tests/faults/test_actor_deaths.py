"""Actor deaths: the node restarts as a whole, and no acknowledged write is lost."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from skiff.testing import Cluster, Node, wait_until
from tests.faults.load import Load

pytestmark = pytest.mark.cluster

ACTORS = ("election_timer", "log_replicator", "storage_writer", "client_gateway")


@pytest.mark.timeout(180)
def test_the_death_of_any_actor_under_load_loses_no_acknowledged_write(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        with Load(cluster, writers=3) as load:
            load.wait_for(50)
            for actor in ACTORS:
                kill_actor(cluster.followers()[0], actor)
                load.wait_for(20)
                kill_actor(cluster.leader(), actor)
                load.wait_for(20)
        cluster.wait_until_whole()
        assert load.failures == []
        for node in cluster.nodes:
            load.check(node)


def kill_actor(node: Node, actor: str) -> None:
    """Kill one actor; return when the node serves again with four new ones."""
    before = node.actor_pids
    os.kill(before[actor], signal.SIGKILL)
    wait_until(lambda: is_renewed(node, before), f"{node} restarts after its {actor} died")


def is_renewed(node: Node, before: dict[str, int]) -> bool:
    pids = node.actor_pids
    renewed = len(pids) == len(ACTORS) and not set(pids.values()) & set(before.values())
    status = node.status() if renewed else None
    return status is not None and status.leader is not None


@pytest.mark.timeout(120)
def test_a_node_whose_actors_keep_dying_exits_with_an_error(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        node = cluster.nodes[0]

        def kill_any() -> bool:
            for pid in list(node.actor_pids.values())[:1]:
                with suppress(ProcessLookupError):  # it may have died already
                    os.kill(pid, signal.SIGKILL)
            return not node.is_running

        wait_until(kill_any, "the node gives up", timeout=60)
        assert node.wait() == 1
        assert "died" in node.log()


@pytest.mark.parametrize("level", ["warning", "error"])
def test_an_actor_death_is_logged_in_one_line(tmp_path: Path, level: str) -> None:
    with Cluster(1, directory=tmp_path, log_level=level) as cluster:
        node = cluster.nodes[0]
        kill_actor(node, "election_timer")
        told = f"WARNING node={node.id.hex[:8]} actor=supervisor term=- election_timer died; "
        log = node.log()
    if level == "warning":
        assert log.endswith(f"{told}restarting all actors\n")
    assert log.count("\n") == (level == "warning")
