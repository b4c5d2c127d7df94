"""Keys for the nodes and sockets that tests open themselves, where SKIFF_TEST_KEYS gives them."""

from pathlib import Path
from typing import Any

from protocol.security import z85
from skiff.key_files import read_client_keys, read_cluster_keys
from skiff.testing import Node


def node_key() -> Path | str:
    """Return the key of a node that a test starts by ``Skiff``; empty for none."""
    return Node.default_key or ""


def keyed_or_insecure() -> tuple[str, ...]:
    """Return the options of a node that other machines reach, or that has users."""
    return () if Node.default_key else ("--insecure",)


def secure_client(socket: Any, user: Path | None = None) -> None:
    """Encrypt a ZeroMQ socket that connects to a node: as a user, by its file, or the cluster."""
    key = user or Node.default_key
    if key is None:
        return
    keys = read_client_keys(key)
    socket.curve_serverkey = z85.encode(keys.servers[0]).encode()
    socket.curve_publickey = z85.encode(keys.pair.public).encode()
    socket.curve_secretkey = z85.encode(keys.pair.secret).encode()


def secure_server(socket: Any) -> None:
    """Encrypt a ZeroMQ socket to which nodes connect."""
    if Node.default_key is None:
        return
    socket.curve_server = True
    socket.curve_secretkey = z85.encode(read_cluster_keys(Node.default_key).pair.secret).encode()
