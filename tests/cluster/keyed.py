"""Keys for the sockets that tests open themselves, where SKIFF_TEST_KEYS gives the nodes keys."""

from typing import Any

from protocol.security import z85
from skiff.key_files import read_cluster_keys
from skiff.testing import Node


def secure_client(socket: Any) -> None:
    """Encrypt a ZeroMQ socket that connects to a node, as the cluster itself."""
    if Node.default_key is None:
        return
    pair = read_cluster_keys(Node.default_key).pair
    socket.curve_serverkey = socket.curve_publickey = z85.encode(pair.public).encode()
    socket.curve_secretkey = z85.encode(pair.secret).encode()


def secure_server(socket: Any) -> None:
    """Encrypt a ZeroMQ socket to which nodes connect."""
    if Node.default_key is None:
        return
    socket.curve_server = True
    socket.curve_secretkey = z85.encode(read_cluster_keys(Node.default_key).pair.secret).encode()
