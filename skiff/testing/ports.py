"""Ports of test nodes: three consecutive ones for each, reserved on this machine."""

import itertools
import random
import socket

from protocol.address import PEER_PORT_OFFSET
from skiff.errors import ClusterInitFailed

PORTS = PEER_PORT_OFFSET + 1  # consecutive ones that a node binds
FIRST_PORT, LAST_PORT = 10_000, 32_000  # below the ephemeral ports of common systems


def free_port() -> int:
    """Return a port that is free with its two successors, reserved until this program ends.

    Raises:
        ClusterInitFailed: there are no such ports.
    """
    first_ports = range(FIRST_PORT, LAST_PORT, PORTS)
    begin = random.randrange(len(first_ports))
    for port in itertools.chain(first_ports[begin:], first_ports[:begin]):
        if _claim(port) and all(map(_is_free, range(port, port + PORTS))):
            return port
    raise ClusterInitFailed("no three free ports in a row were found")


def _claim(port: int) -> bool:
    """Reserve a port by binding the UDP port of the same number until this program ends.

    Nodes bind only TCP ports, and may do so long after the port was handed out.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as claim:
        if _binds(claim, port):
            claim.detach()
            return True
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0 and _binds(probe, port)


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
