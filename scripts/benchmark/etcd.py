"""etcd: a three-node cluster on loopback with default durability, removed when closed."""

import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc

from scripts.benchmark import etcd_client
from scripts.benchmark.drive import drive_loop, drive_threads
from scripts.benchmark.etcd_client import AsyncEtcdClient, EtcdClient, Status
from scripts.benchmark.fan_out import drive_paced, drive_watches
from scripts.benchmark.foreign_process import ForeignFailed, ForeignProcess
from scripts.benchmark.ports import free_ports
from scripts.benchmark.system import System

NODES = 3
READY_MAX_S = 20.0
START_ATTEMPTS_MAX = 3  # another program may take a free port before etcd does
POLL_S = 0.02


class Node(ForeignProcess):
    """One member: its addresses, its directory and its process."""

    def __init__(self, name: str, client_port: int, peer_port: int, directory: Path) -> None:
        super().__init__(f"etcd {name}", directory)
        self.name = name
        self.client_address = f"127.0.0.1:{client_port}"
        self.peer_address = f"127.0.0.1:{peer_port}"
        self.directory = directory

    def launch(self, initial_cluster: str) -> None:
        """Start the process, with etcd's defaults for everything that affects speed or safety."""
        client, peer = f"http://{self.client_address}", f"http://{self.peer_address}"
        options = {
            "name": self.name,
            "data-dir": str(self.directory / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": initial_cluster,
            "logger": "zap",
            "log-level": "error",
        }
        self.start(
            ["etcd", *(f"--{name}={value}" for name, value in options.items())],
            {name: value for name, value in os.environ.items() if name[:5] != "ETCD_"},
        )

    def status(self) -> Status | None:
        """Return the status that the node reports, or None without a reply."""
        with closing(etcd_client.connect_once(self.client_address)) as client:
            try:
                return client.status()
            except grpc.RpcError:
                return None


class EtcdCluster:
    """Three nodes, one of them the leader."""

    def __init__(self, directory: Path) -> None:
        ports = iter(free_ports(2 * NODES))
        self._nodes = [
            Node(name, next(ports), next(ports), directory / name)
            for name in (f"n{number}" for number in range(1, NODES + 1))
        ]
        self._initial_cluster = ",".join(f"{n.name}=http://{n.peer_address}" for n in self._nodes)
        self._killed: Node | None = None

    def start(self) -> None:
        """Start all nodes and return when each knows the leader."""
        for node in self._nodes:
            node.directory.mkdir()
            node.launch(self._initial_cluster)
        self._wait_until_ready()

    def stop(self) -> None:
        """End all nodes."""
        for node in self._nodes:
            node.kill()

    def addresses(self) -> list[str]:
        """Return the addresses for clients, the leader's first."""
        leader = self._leader()
        followers = [node for node in self._nodes if node is not leader]
        return [node.client_address for node in (leader, *followers)]

    def kill_leader(self) -> int:
        """Kill the leader with SIGKILL; return the time of the signal when it is dead."""
        self._killed = self._leader()
        killed_ns = time.monotonic_ns()
        self._killed.kill()
        return killed_ns

    def restart_killed(self) -> None:
        """Start the killed node again and return when it follows a leader."""
        assert self._killed is not None, "a node must have been killed"
        self._killed.launch(self._initial_cluster)
        self._wait_until_ready()

    def _leader(self) -> Node:
        for node in self._nodes:
            status = node.status()
            if status is not None and status.leader_id == status.member_id:
                return node
        raise ForeignFailed("no etcd node reports to be the leader")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_MAX_S
        while not self._is_ready():
            for node in self._nodes:
                node.check_alive()
            if time.monotonic() > deadline:
                raise ForeignFailed(f"etcd has no leader after {READY_MAX_S:.0f} s")
            time.sleep(POLL_S)

    def _is_ready(self) -> bool:
        statuses = [node.status() for node in self._nodes]
        leaders = {0 if status is None else status.leader_id for status in statuses}
        return len(leaders) == 1 and 0 not in leaders


def _start(directory: Path) -> EtcdCluster:
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        folder = directory / str(attempt)
        folder.mkdir()
        cluster = EtcdCluster(folder)
        try:
            cluster.start()
        except BaseException as error:
            cluster.stop()
            if attempt == START_ATTEMPTS_MAX or not isinstance(error, ForeignFailed):
                raise
        else:
            return cluster
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def start() -> Iterator[EtcdCluster]:
    """Run a cluster in a temporary directory, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="skiff-bench-etcd-") as directory:
        cluster = _start(Path(directory))
        try:
            yield cluster
        finally:
            cluster.stop()


def find() -> System | None:
    """Return etcd if it is installed on this machine."""
    if shutil.which("etcd") is None:
        return None
    answer = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
    return System(
        name="etcd",
        version=answer.stdout.splitlines()[0].rpartition(" ")[2],
        start=start,
        connect=EtcdClient,
        connect_impatiently=etcd_client.connect_impatiently,
        drive_blocking=functools.partial(drive_threads, EtcdClient),
        drive_in_flight=functools.partial(drive_loop, AsyncEtcdClient),
        drive_paced=functools.partial(drive_paced, AsyncEtcdClient),
        drive_watches=functools.partial(drive_watches, AsyncEtcdClient),
        in_flight_processes=2,
    )
