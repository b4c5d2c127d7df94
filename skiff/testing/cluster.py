"""A cluster of real nodes, as a context manager."""

import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from skiff.client import Client
from skiff.records import NodeStatus
from skiff.testing.node import Node
from skiff.testing.waiting import wait_until


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


def _knows_leader(node: Node) -> bool:
    status = node.status()
    return status is not None and status.leader is not None
