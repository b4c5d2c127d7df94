"""The cluster for users' own tests leaves nothing behind, however their program ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skiff.testing import wait_until

pytestmark = pytest.mark.cluster

PROGRAM = """
import pathlib, sys, time
from skiff.testing import Cluster

with Cluster(1, directory=pathlib.Path(sys.argv[1])) as cluster:
    node = cluster.nodes[0]
    print(node.pid, *node.actor_pids.values(), flush=True)
    time.sleep(600)
"""


def test_nodes_end_with_the_program_that_tests_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        pids = program.stdout.readline().split()
        assert len(pids) == 5
        program.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), "the node is gone", timeout=10)


def is_alive(pid: bytes) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False
    )
    return state.stdout.strip()[:1] not in ("", "Z")
