"""ZooKeeper in the benchmark: its listings, and the roles that its nodes report.

Skipped where Kazoo, which the extra `bench` brings, is not installed.
"""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

zookeeper = pytest.importorskip("scripts.benchmark.zookeeper")

REPORT = b"Zookeeper version: 3.8.0, built on 2022\nConnections: 1\nMode: leader\nNode count: 5\n"


def a_node(client_port: int) -> Any:
    return zookeeper.Node(2, client_port, (20_001, 20_002), Path("/none"))


def test_each_member_is_listed_with_both_ports_of_its_peers() -> None:
    assert a_node(20_000).listing == "server.2=127.0.0.1:20001:20002\n"


def test_a_role_is_read_from_a_nodes_report() -> None:
    heard = []

    def report(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            heard.append(connection.recv(4))
            connection.sendall(REPORT)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=report, args=(listening,))
        answering.start()
        assert a_node(listening.getsockname()[1]).role() == "leader"
        answering.join()
    assert heard == [b"srvr"]


def test_a_node_that_is_down_has_no_role() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert a_node(port).role() == ""
