"""Ports: free ones for the nodes of another store."""

import random
import socket
from contextlib import ExitStack

# Below the ephemeral ports, so that a restarted node finds its ports free.
PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return ports that no program listens on."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                break
        return ports
