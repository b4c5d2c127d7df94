"""A real cluster for tests: every node a program of its own, on free ports, in a temporary place.

with Cluster(nodes=3) as cluster, cluster.client() as client:
    client.insert("key", "value")
    cluster.kill(cluster.leader())
    assert client.get("key", str) == "value"
"""

import contextlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

import actors
from protocol.address import PEER_PORT_OFFSET
from skiff.client import Client
from skiff.errors import ClusterInitFailed, SkiffError
from skiff.records import NodeStatus

PORTS = PEER_PORT_OFFSET + 1  # that a node takes, all in a row
FIRST_PORT, LAST_PORT = 10_000, 32_000  # below those that systems hand out by themselves
READY_SECONDS = 20.0
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.02
STATUS_SECONDS = 1.0


class Node:
    """One node of a test cluster: its directory, its address and its processes."""

    def __init__(self, directory: Path, arguments: list[str]) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment: dict[str, str] = {}  # besides that of this program
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.id = uuid.UUID(int=0)

    def __repr__(self) -> str:
        return f"Node({self.address})"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of ``skiff node start`` besides directory and port."""
        return tuple(self._arguments)

    def add_options(self, *options: str) -> None:
        """Start the node with these options of ``skiff node start``, too, from now on."""
        self._arguments.extend(options)

    def replace_options(self, *options: str) -> None:
        """Start the node with these options of ``skiff node start`` only, from now on."""
        self._arguments = list(options)

    @property
    def address(self) -> str:
        """Where clients and peers reach the node."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the node's supervisor."""
        if self._process is None:
            raise ClusterInitFailed(f"{self} does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the node's supervisor lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def actor_pids(self) -> dict[str, int]:
        """The process id of each actor, by its name."""
        table = subprocess.run(
            ["ps", "-ax", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        children = [
            (int(pid), command)
            for pid, parent, command in map(_process_row, table.stdout.splitlines())
            if parent == str(self.pid) and "actors." in command
        ]
        return {command.rpartition("actors.")[2].split()[0]: pid for pid, command in children}

    def start(self) -> None:
        """Start the node's program; returns when it serves, as a member where it is to join.

        Raises:
            ClusterInitFailed: it ended, or did not serve in time.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the node's program without waiting for it."""
        command = [sys.executable, "-P", "-m", "skiff", "node", "start", "--json"]
        command.append("--until-eof")  # so that no node outlives the program that tests it
        place = ["--dir", str(self.directory), "--port", str(self.port)]
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *place, *self._arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.PIPE,
                # What a killed node leaves behind elsewhere than in its directory goes with it.
                env={
                    **_environment(),
                    "TMPDIR": str(self.directory.parent),
                    **self.environment,
                },
                start_new_session=True,  # so that signals reach all of its processes at once
            )

    def wait_until_ready(self) -> None:
        """Wait until a launched node serves.

        Raises:
            ClusterInitFailed: it ended, or did not serve in time.
        """
        assert self._process is not None
        line = _read_line(self._process, READY_SECONDS)
        try:
            ready = msgspec.json.decode(line, type=dict[str, str | int])
            self.id = uuid.UUID(str(ready["id"]))
        except (msgspec.MsgspecError, KeyError, ValueError):
            self.kill()
            raise ClusterInitFailed(f"{self} did not start:\n{self.log()}") from None

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the node."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def terminate(self) -> int:
        """Ask the node to shut down; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until the node's program has ended; return its exit code."""
        assert self._process is not None
        code = self._process.wait(WAIT_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return code

    def kill(self) -> None:
        """End all processes of the node with SIGKILL."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self.wait()
            wait_until(lambda: not self._has_processes(), "a killed node is gone")
            self._process = None

    def client(self, timeout: float = 5.0) -> Client:
        """Return a client that asks this node only."""
        return Client([self.address], timeout=timeout, follow_leader=False)

    def status(self) -> NodeStatus | None:
        """Return how the node stands, or None if it does not say."""
        with self.client(STATUS_SECONDS) as client:
            try:
                return client.status()
            except SkiffError:
                return None

    def _has_processes(self) -> bool:
        """Whether any process lives; one that is dead and only waits to be reaped does not."""
        table = subprocess.run(
            ["ps", "-ax", "-o", "pgid=,stat="], capture_output=True, text=True, check=True
        )
        rows = [line.split() for line in table.stdout.splitlines()]
        return any(row[0] == str(self.pid) and not row[1].startswith("Z") for row in rows)

    def log(self) -> str:
        """Return what the node has written to standard error."""
        return (self.directory.parent / f"{self.directory.name}.log").read_text()


class Cluster:
    """A cluster of real nodes, as a context manager."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        directory: Path | None = None,
        trace: bool = False,
        log_level: str = "warning",
        options: tuple[str, ...] = (),
    ) -> None:
        """Prepare a cluster; ``options`` are further ones of ``skiff node start``."""
        self._given_directory = directory
        self._options = ["--log-level", log_level, *(["--trace"] if trace else []), *options]
        self._count = nodes
        self.nodes: list[Node] = []
        self.directory = directory or Path()

    def __enter__(self) -> Self:
        self.directory = self._given_directory or Path(tempfile.mkdtemp(prefix="skiff-cluster-"))
        try:
            self._begin()
            self.wait_until_whole()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            node.kill()
        if self._given_directory is None:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def addresses(self) -> list[str]:
        """What a client takes."""
        return [node.address for node in self.nodes]

    def client(self, timeout: float = 5.0) -> Client:
        """Return a client that knows all nodes."""
        return Client(self.addresses, timeout=timeout)

    def add_node(self) -> Node:
        """Start one more node, which joins those that run; returns when it serves."""
        node = self._next_node()
        node.start()
        return node

    def _begin(self) -> None:
        """Start all nodes side by side; they form one cluster."""
        if self._count == 1:
            self._new_node("--founding-ms", "0")
        else:
            self._new_nodes()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready()

    def _new_nodes(self) -> None:
        """Prepare nodes that expect each other."""
        for _ in range(self._count):
            self._new_node()
        addresses = ",".join(self.addresses)
        for node in self.nodes:
            node.add_options("--join", addresses, "--expect", str(self._count))

    def _next_node(self) -> Node:
        running = [node.address for node in self.nodes if node.is_running]
        return self._new_node(*[option for each in running for option in ("--join", each)])

    def _new_node(self, *options: str) -> Node:
        directory = self.directory / f"node-{len(self.nodes) + 1}"
        node = Node(directory, [*self._options, *options])
        self.nodes.append(node)
        return node

    def leader(self) -> Node:
        """Return the node that leads; waits until there is one that a majority knows."""
        found: list[Node] = []

        def is_known() -> bool:
            leaders = [status.leader for node in self.nodes if (status := self._status(node))]
            found[:] = [node for node in self.nodes if leaders.count(node.id) * 2 > self._count]
            return bool(found)

        wait_until(is_known, "a majority knows the leader")
        return found[0]

    def followers(self) -> list[Node]:
        """Return the running nodes that do not lead."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader and node.is_running]

    def kill(self, node: Node) -> None:
        """End all processes of a node with SIGKILL; returns when they are gone."""
        node.kill()

    def restart(self, node: Node) -> None:
        """Start a node again; returns when it follows or leads."""
        if node.is_running:
            node.terminate()
        node.start()
        wait_until(lambda: _knows_leader(node), f"{node} knows the leader")

    def pause(self, node: Node) -> None:
        """Stop all processes of a node where they are."""
        node.signal(signal.SIGSTOP)

    def resume(self, node: Node) -> None:
        """Let a paused node go on."""
        node.signal(signal.SIGCONT)

    def wait_until_whole(self) -> None:
        """Wait until every running node knows every one of them as a voter."""
        wait_until(self._is_whole, "every node votes")

    def _is_whole(self) -> bool:
        running = [node for node in self.nodes if node.is_running]
        wanted = {node.id for node in running}
        for node in running:
            status = node.status()
            voters = {member.id for member in status.members if member.voter} if status else set()
            if status is None or status.leader is None or not wanted <= voters:
                return False
        return True

    def _status(self, node: Node) -> NodeStatus | None:
        return node.status() if node.is_running else None


def free_port() -> int:
    """Return a port that is free, together with the two after it, and stays so for this program.

    Raises:
        ClusterInitFailed: none was found.
    """
    first_ports = range(FIRST_PORT, LAST_PORT, PORTS)
    for port in random.sample(first_ports, len(first_ports)):
        if _claim(port) and all(map(_is_free, range(port, port + PORTS))):
            return port
    raise ClusterInitFailed("no three free ports in a row were found")


def wait_until(condition: Callable[[], object], what: str, timeout: float = WAIT_SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not, after so many seconds; names what was waited for.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s in vain until {what}")
        time.sleep(POLL_SECONDS)


def _knows_leader(node: Node) -> bool:
    status = node.status()
    return status is not None and status.leader is not None


def _claim(port: int) -> bool:
    """Take the UDP port of the same number until this program ends, as a sign for all others.

    Nodes have no use for it, and one may not listen yet on the port that it was promised.
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


def _read_line(process: "subprocess.Popen[bytes]", timeout: float) -> bytes:
    """Return the first line that a program prints, or what there is when it ends."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], timeout)
    return process.stdout.readline() if readable else b""


def _process_row(line: str) -> tuple[str, str, str]:
    pid, parent, command = (*line.split(None, 2), "")[:3]
    return pid, parent, command


def _environment() -> dict[str, str]:
    """Let the programs import what this one has imported, and take no settings from around it."""
    root = str(Path(str(actors.__file__)).resolve().parent.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKIFF_")}
    paths = [root, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}
