"""The memory of an actor's process, as the system counts it."""

import subprocess

from skiff.testing import Node


def resident_bytes(node: Node, actor: str) -> int:
    """Return how much memory an actor of a node has resident."""
    pid = str(node.actor_pids[actor])
    listed = subprocess.run(["ps", "-o", "rss=", "-p", pid], capture_output=True, check=True)
    return int(listed.stdout) * 1024
