"""Memory: the resident size of an actor's process."""

import subprocess

from skiff.testing import Node


def resident_bytes(node: Node, actor: str) -> int:
    """Return the resident bytes of a node's actor."""
    pid = str(node.actor_pids[actor])
    listed = subprocess.run(["ps", "-o", "rss=", "-p", pid], capture_output=True, check=True)
    return int(listed.stdout) * 1024
