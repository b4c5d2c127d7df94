"""Node: one node of a test cluster, with its directory, address and processes."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

import msgspec

from skiff.client import Client
from skiff.errors import ClusterInitFailed, SkiffError
from skiff.records import NodeStatus
from skiff.testing.ports import free_port
from skiff.testing.processes import Process, running_processes
from skiff.testing.program import Program, inherited_environment
from skiff.testing.waiting import WAIT_SECONDS, wait_until

READY_SECONDS = 20.0
STATUS_SECONDS = 1.0
# In the order in which a node forks them; only Linux shows their names.
ACTORS = ("log_replicator", "client_gateway", "election_timer", "storage_writer")

if TYPE_CHECKING:
    from skiff.testing.relay import Relay


class Node:
    """One node of a test cluster: its directory, its address and its processes."""

    default_key: ClassVar[Path | None] = None  # of nodes that are made without a key

    def __init__(
        self,
        directory: Path,
        arguments: list[str],
        relay: "Relay | None" = None,
        key: Path | None = None,
    ) -> None:
        """Prepare a node; with a relay, it is reached through that alone.

        With a secret key file of a cluster, its connections are encrypted.
        """
        self.key = self.default_key if key is None else key
        self.directory = directory
        self.port = free_port()
        self._relayed_port: int | None = None  # on which it listens, if a relay has the other one
        if relay is not None:
            self._relayed_port = free_port()
            relay.open(self.port, self._relayed_port)
        self.environment: dict[str, str] = {}  # added to that of this program
        self._arguments = arguments
        self._program: Program | subprocess.Popen[bytes] | None = None
        self._input: IO[bytes] | None = None  # until the node's program has ended
        self.output: IO[bytes] | None = None  # what it prints; None once it has ended
        self.id = uuid.UUID(int=0)

    def __repr__(self) -> str:
        return f"Node({self.address})"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of ``skiff node start`` except directory and port."""
        return tuple(self._arguments)

    def add_options(self, *options: str) -> None:
        """Add options of ``skiff node start`` for the next start."""
        self._arguments.extend(options)

    def replace_options(self, *options: str) -> None:
        """Replace the options of ``skiff node start`` for the next start."""
        self._arguments = list(options)

    @property
    def address(self) -> str:
        """The ``host:port`` at which clients and peers reach the node."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the node's supervisor.

        Raises:
            ClusterInitFailed: the node does not run.
        """
        if self._program is None:
            raise ClusterInitFailed(f"{self} does not run")
        return self._program.pid

    @property
    def is_running(self) -> bool:
        """Whether the node's supervisor runs."""
        return self._program is not None and self._program.poll() is None

    @property
    def actor_pids(self) -> dict[str, int]:
        """The process id of each actor, by its name."""
        running = list(running_processes())
        servers = {each.pid for each in running if each.parent == self.pid}
        actors = sorted((each.pid, each.name) for each in running if each.parent in servers)
        if not {name for _, name in actors} <= set(ACTORS):
            return {name: pid for name, (pid, _) in zip(ACTORS, actors, strict=False)}
        return {name: pid for pid, name in actors}

    def start(self) -> None:
        """Start the node's program; return when it serves as a member.

        Raises:
            ClusterInitFailed: it ended, or did not serve in time.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the node's program without waiting for it."""
        listening_port = self.port if self._relayed_port is None else self._relayed_port
        place = ["--dir", str(self.directory), "--port", str(listening_port)]
        if listening_port != self.port:
            place += ["--advertise", self.address]
        if self.key is not None:
            place += ["--key", str(self.key)]
        # A node ends with its standard input, so that none outlives the test program.
        arguments = ["node", "start", "--json", "--until-eof", *place, *self._arguments]
        theirs, ours = os.pipe()
        self._input = os.fdopen(ours, "wb")
        ours, printed = os.pipe()
        self.output = os.fdopen(ours, "rb")
        try:
            with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
                self._program = self._start(arguments, (theirs, printed, log.fileno()))
        finally:
            os.close(theirs)
            os.close(printed)

    def _start(
        self, arguments: list[str], streams: tuple[int, int, int]
    ) -> "Program | subprocess.Popen[bytes]":
        """Start a program as leader of a process group, so that a signal reaches all processes."""
        # A killed node leaves its ipc sockets here, to be removed with the cluster.
        place = {"TMPDIR": str(self.directory.parent)}
        environment = {**inherited_environment(), **place, **self.environment}
        if not self.environment:
            return Program(arguments, streams, environment, own_session=True)
        # Such as another build of skiff: nothing of this program may be imported.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "skiff", *arguments],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=environment,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        """Wait until a launched node serves.

        Raises:
            ClusterInitFailed: it ended, or did not serve in time.
        """
        assert self.output is not None
        line = _read_line(self.output, READY_SECONDS)
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
        """End the node with SIGTERM; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until the node's program has ended; return its exit code."""
        assert self._program is not None
        code = self._program.wait(WAIT_SECONDS)
        for stream in (self._input, self.output):
            if stream is not None:
                stream.close()
        self._input = self.output = None
        return code

    def kill(self) -> None:
        """Kill all processes of the node with SIGKILL; return when they are gone."""
        if self._program is not None:
            self.signal(signal.SIGKILL)
            self.wait()
            wait_until(lambda: not self._has_processes(), "a killed node is gone")
            self._program = None

    def pause(self) -> None:
        """Stop all processes of the node with SIGSTOP; return when none runs any more."""
        self.signal(signal.SIGSTOP)  # on a busy machine, it takes effect milliseconds later
        wait_until(lambda: all(each.is_stopped for each in self._processes()), f"{self} stops")

    def resume(self) -> None:
        """Resume a paused node with SIGCONT."""
        self.signal(signal.SIGCONT)

    def client(self, timeout: float = 5.0) -> Client:
        """Return a client of this node only; ``timeout`` in seconds."""
        return Client([self.address], timeout=timeout, follow_leader=False, key=self.key or "")

    def status(self) -> NodeStatus | None:
        """Return the node's status, or None if it does not reply within a second."""
        with self.client(STATUS_SECONDS) as client:
            try:
                return client.status()
            except SkiffError:
                return None

    def _has_processes(self) -> bool:
        """Return whether any process of the node is alive, or ends with its ports still open."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return any(self._processes())

    def _processes(self) -> Iterator[Process]:
        """Yield the node's processes, but for those that have ended."""
        for each in running_processes():
            if each.group == self.pid and not each.has_ended:
                yield each

    def log(self) -> str:
        """Return the node's standard error so far."""
        return (self.directory.parent / f"{self.directory.name}.log").read_text()


def _read_line(printed: IO[bytes], timeout: float) -> bytes:
    """Return the first line that a program prints; empty if it prints none in time."""
    poll = select.poll()  # unlike select, works for descriptors above 1023
    poll.register(printed, select.POLLIN)
    return printed.readline() if poll.poll(timeout * 1000) else b""
