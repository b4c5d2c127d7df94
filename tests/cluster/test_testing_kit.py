"""Testing kit: test clusters get distinct ports and leave no process behind."""

import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from skiff.testing import Cluster, wait_until
from skiff.testing.ports import LAST_PORT, PORTS

pytestmark = pytest.mark.cluster

PROGRAM = """
import pathlib, sys, time
from skiff.testing import Cluster

with Cluster(1, directory=pathlib.Path(sys.argv[1])) as cluster:
    node = cluster.nodes[0]
    print(node.pid, *node.actor_pids.values(), flush=True)
    time.sleep(600)
"""


PORTS_OF_FEW = """
import sys
from skiff.testing import ports

ports.FIRST_PORT, ports.LAST_PORT = map(int, sys.argv[1:])
print(*[ports.free_port() for _ in range(5)], flush=True)
sys.stdin.read()
"""


def test_concurrent_programs_get_different_ports() -> None:
    first = random.randrange(LAST_PORT, 32_700)  # outside the range of other tests
    command = [sys.executable, "-c", PORTS_OF_FEW, str(first), str(first + 20 * PORTS)]
    with ExitStack() as running:
        programs = [
            running.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(3)
        ]
        lines = [each.stdout.readline() for each in programs if each.stdout is not None]
        for each in programs:
            each.communicate()
    ports = b" ".join(lines).split()
    assert len(ports) == len(set(ports)) == 15


def test_nodes_end_when_their_test_program_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        pids = program.stdout.readline().split()
        assert len(pids) == 5
        program.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), "the node is gone", timeout=10)


def test_all_nodes_may_be_killed_and_restarted(tmp_path: Path) -> None:
    with Cluster(3, directory=tmp_path) as cluster:
        with cluster.client() as client:
            client.insert("k", 1)
        for node in cluster.nodes:
            cluster.kill(node)
        for node in cluster.nodes:
            cluster.restart(node)
        with cluster.client() as client:
            assert client.get("k") == 1


def is_alive(pid: bytes) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False
    )
    return state.stdout.strip()[:1] not in ("", "Z")
