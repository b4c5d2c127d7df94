"""Stopped actor: one process of a node, stopped by SIGSTOP while the others go on."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from skiff.testing import Node, wait_until
from skiff.testing.processes import running_processes


@contextmanager
def stopped_actor(node: Node, name: str) -> Iterator[None]:
    """Stop an actor's process; it goes on at the end of the block."""
    pid = node.actor_pids[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _is_stopped(pid), f"the {name} stops")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    return any(each.is_stopped for each in running_processes() if each.pid == pid)
