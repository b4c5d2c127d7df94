"""ZooKeeper: a three-node ensemble on loopback with default durability, removed when closed."""

import functools
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from scripts.benchmark.drive import drive_threads
from scripts.benchmark.foreign_process import ForeignFailed, ForeignProcess
from scripts.benchmark.kazoo_client import KazooClient
from scripts.benchmark.ports import free_ports
from scripts.benchmark.system import System

NAME = "Kazoo"
NODES = 3
READY_MAX_S = 30.0  # a Java machine starts slowly on a busy one
STATUS_MAX_S = 1.0
POLL_S = 0.1
CLASS_PATHS = (  # below the root: of Debian's package, of Homebrew's and of an unpacked release
    "usr/share/java/zookeeper.jar",
    "opt/homebrew/opt/zookeeper/libexec/lib/*",
    "opt/zookeeper/lib/*",
)
PACKAGE = "org.apache.zookeeper"
SETTINGS = "tickTime=2000\ninitLimit=10\nsyncLimit=5\nmaxClientCnxns=0\nadmin.enableServer=false\n"
LEADING = "leader"
READY_ROLES = ["follower"] * (NODES - 1) + [LEADING]


class Node(ForeignProcess):
    """One member: its number, its ports, its directory and its process."""

    def __init__(
        self, number: int, client_port: int, peer_ports: tuple[int, int], directory: Path
    ) -> None:
        super().__init__(f"ZooKeeper {number}", directory)
        self.number = number
        self.client_port = client_port
        self.peer_ports = peer_ports
        self.directory = directory

    @property
    def listing(self) -> str:
        """Its line in the configuration of every member."""
        first, second = self.peer_ports
        return f"server.{self.number}=127.0.0.1:{first}:{second}\n"

    def launch(self, class_path: str, listings: str) -> None:
        """Start the process, with the defaults for everything that affects speed or safety."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        (data / "myid").write_text(str(self.number))
        configuration = self.directory / "zoo.cfg"
        own = f"dataDir={data}\nclientPortAddress=127.0.0.1\nclientPort={self.client_port}\n"
        configuration.write_text(SETTINGS + own + listings)
        server = f"{PACKAGE}.server.quorum.QuorumPeerMain"
        self.start(["java", "-cp", class_path, server, str(configuration)])

    def role(self) -> str:
        """Return the role that the node reports, or nothing while it has none."""
        address = ("127.0.0.1", self.client_port)
        try:
            with socket.create_connection(address, timeout=STATUS_MAX_S) as connection:
                connection.sendall(b"srvr")
                report = connection.makefile("rb").read().decode()
        except OSError:
            return ""
        return report.partition("Mode: ")[2].partition("\n")[0]


class Ensemble:
    """Three nodes, one of them the leader."""

    def __init__(self, directory: Path, class_path: str) -> None:
        ports = iter(free_ports(3 * NODES))
        self._class_path = class_path
        self._killed: Node | None = None
        self._nodes = [
            Node(number, next(ports), (next(ports), next(ports)), directory / str(number))
            for number in range(1, NODES + 1)
        ]

    def start(self) -> None:
        """Start all nodes and return when one leads and the others follow."""
        for node in self._nodes:
            self._start(node)
        self._wait_until_ready()

    def stop(self) -> None:
        """End all nodes."""
        for node in self._nodes:
            node.kill()

    def addresses(self) -> list[str]:
        """Return the addresses for clients, the leader's first."""
        nodes = sorted(self._nodes, key=lambda node: node.role() != LEADING)
        return [f"127.0.0.1:{node.client_port}" for node in nodes]

    def kill_leader(self) -> int:
        """Kill the leader with SIGKILL; return the time of the signal when it is dead."""
        self._killed = next(node for node in self._nodes if node.role() == LEADING)
        killed_ns = time.monotonic_ns()
        self._killed.kill()
        return killed_ns

    def restart_killed(self) -> None:
        """Start the killed node again and return when it follows a leader."""
        assert self._killed is not None, "a node must have been killed"
        self._start(self._killed)
        self._wait_until_ready()

    def _start(self, node: Node) -> None:
        node.launch(self._class_path, "".join(each.listing for each in self._nodes))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_MAX_S
        while sorted(node.role() for node in self._nodes) != READY_ROLES:
            for node in self._nodes:
                node.check_alive()
            if time.monotonic() > deadline:
                raise ForeignFailed(f"ZooKeeper has no leader after {READY_MAX_S:.0f} s")
            time.sleep(POLL_S)


@contextmanager
def _start(class_path: str) -> Iterator[Ensemble]:
    with tempfile.TemporaryDirectory(prefix="skiff-bench-zookeeper-") as directory:
        ensemble = Ensemble(Path(directory), class_path)
        try:
            ensemble.start()
            yield ensemble
        finally:
            ensemble.stop()


def find() -> System | None:
    """Return ZooKeeper if it is installed on this machine."""
    found = [path for path in CLASS_PATHS if any(Path("/").glob(path))]
    if not found or shutil.which("java") is None:
        return None
    class_path = f"/{found[0]}"
    drive = functools.partial(drive_threads, KazooClient)
    return System(
        name=NAME,
        version=_version(class_path),
        start=functools.partial(_start, class_path),
        connect=KazooClient,
        connect_impatiently=KazooClient,
        drive_blocking=drive,
        drive_in_flight=drive,
        in_flight_processes=2,
    )


def _version(class_path: str) -> str:
    """Return the versions of Kazoo and of ZooKeeper."""
    command = ["java", "-cp", class_path, f"{PACKAGE}.version.VersionInfoMain"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    version = answer.stdout.partition("version ")[2].partition(" ")[0]
    return f"{metadata.version('kazoo')} on ZooKeeper {version}"
