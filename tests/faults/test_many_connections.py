"""Many connections, beyond a node's descriptors: new clients and peers still get in."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.address import Address, parse_address
from skiff import Client
from skiff.testing import Node, free_port, wait_until
from tests.faults.raw_connection import RawConnection

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc"),
]

DESCRIPTORS = 256
IDLE = 300  # connections to each port
LOOK_SECONDS = 1.0
BUSY_SHARE = 0.5  # of one processor; a process that loops forever has all of it

LIMITED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS // 2}, {DESCRIPTORS}))
os.execv(sys.executable, [sys.executable, "-P", "-m", "skiff", *sys.argv[1:]])
"""


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address and the pid of a node with a low limit of descriptors."""
    port = free_port()
    command = ["node", "start", "--json", "--until-eof", "--dir", str(tmp_path / "limited")]
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED, *command, "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())
        yield f"127.0.0.1:{port}", process.pid
        process.stdin.close()


def actors_of(program: int) -> dict[str, int]:
    """Return the actors of a node's program."""
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    servers = [each for each in processes if _parent(each) == program]
    actors = [each for each in processes if _parent(each) in servers]
    return {Path(f"/proc/{each}/comm").read_text().strip(): each for each in actors}


def _parent(process: int) -> int:
    return int(_stat(process)[1])


def _stat(process: int) -> list[str]:
    """Return the fields of a process's stat file from its state on."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ["", "0"]  # it has ended


def processor_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_share(pid: int) -> float:
    before, began = processor_seconds(pid), time.monotonic()
    time.sleep(LOOK_SECONDS)
    return (processor_seconds(pid) - before) / (time.monotonic() - began)


def test_idle_connections_shut_out_neither_clients_nor_peers(
    limited: tuple[str, int], tmp_path: Path
) -> None:
    address, program = limited
    pids = actors_of(program)
    assert len(pids) == 4
    parsed: Address = parse_address(address)
    endpoints = (parsed.client_endpoint, parsed.publish_endpoint, parsed.peer_endpoint)
    kinds = (b"DEALER", b"SUB", b"DEALER")
    joining = Node(tmp_path / "joining", ["--join", address])
    idle: list[RawConnection] = []
    try:
        for number in range(IDLE):
            for endpoint, kind in zip(endpoints, kinds, strict=True):
                with contextlib.suppress(OSError):  # the node may close this one
                    idle.append(RawConnection(endpoint, kind if number % 2 else b""))
        with Client(address, timeout=20) as client:
            assert client.insert("key", 1)
            with client.watch() as changes:
                client.insert("key", 2)
                assert changes.recv(int, timeout=20) == ("key", 2)
            joining.start()
            assert client.insert("key", 3)
            wait_until(lambda: len(client.members()) == 2, "the joining node is a member")
        for name in ("client_gateway", "log_replicator"):
            assert busy_share(pids[name]) < BUSY_SHARE, name
            assert len(list(Path(f"/proc/{pids[name]}/fd").iterdir())) < DESCRIPTORS - 16
        assert actors_of(program) == pids
    finally:
        for connection in idle:
            connection.socket.close()
        joining.kill()
