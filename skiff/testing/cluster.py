"""Cluster: real nodes on this machine for tests, as a context manager."""

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from skiff.client import Client
from skiff.errors import ClusterInitFailed
from skiff.key_files import make_cluster_keys
from skiff.records import NodeStatus
from skiff.testing.guard import Guard
from skiff.testing.node import Node
from skiff.testing.port_owners import group_of
from skiff.testing.waiting import WAIT_SECONDS, wait_until

if TYPE_CHECKING:
    from skiff.testing.relay import Relay


class Cluster:
    """A cluster of real nodes on this machine, as a context manager."""

    def __init__(  # noqa: PLR0913 - one parameter for each choice
        self,
        nodes: int = 3,
        *,
        directory: Path | None = None,
        trace: bool = False,
        log_level: str = "warning",
        options: tuple[str, ...] = (),
        partitions: bool = False,
        keys: bool = False,
    ) -> None:
        """Prepare a cluster of ``nodes`` nodes; entering the context starts it.

        The nodes' data and logs are in ``directory``, or else in a temporary one that is removed at
        the end, however this program ends. ``options`` are further options of ``skiff node start``,
        with ``trace`` for traces.
        With ``partitions``, all nodes are reached through a relay, which ``partition`` cuts.
        With ``keys``, all connections are encrypted by the keys in ``directory / "keys"``, which
        are made if they are missing, and clients have the rights of a node.

        Raises:
            ValueError: it has both ``keys`` and ``partitions``, which only Linux can have.
        """
        if keys and partitions and sys.platform != "linux":
            raise ValueError("only on Linux, a cluster with keys can be partitioned")
        self._keys = keys
        self._key: Path | None = None
        self._given_directory = directory
        self._options = ["--log-level", log_level, *(["--trace"] if trace else []), *options]
        self._count = nodes
        self._has_partitions = partitions
        self._relay: Relay | None = None
        self._guard: Guard | None = None
        self.nodes: list[Node] = []
        self.directory = directory or Path()

    def __enter__(self) -> Self:
        self._guard = Guard(self._given_directory)
        self.directory = self._guard.directory
        try:
            self._key = self._make_keys()
            if self._has_partitions:
                self._relay = _new_relay(None if self._key is None else self._address_of)
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
        if self._relay is not None:
            self._relay.close()
        if self._guard is not None:
            self._guard.close()

    @property
    def addresses(self) -> list[str]:
        """The addresses of all nodes, as a client takes them."""
        return [node.address for node in self.nodes]

    @property
    def key(self) -> Path | None:
        """The secret key file of a running cluster, for clients; None without keys."""
        return self._key

    def client(self, timeout: float = 5.0) -> Client:
        """Return a client of all nodes; ``timeout`` in seconds."""
        return Client(self.addresses, timeout=timeout, key=self._key or "")

    def add_node(self) -> Node:
        """Start one more node, which joins the running ones; return it when it serves.

        Raises:
            ClusterInitFailed: it ended, or did not serve in time.
        """
        node = self._next_node()
        node.start()
        return node

    def _make_keys(self) -> Path | None:
        if not self._keys:
            return Node.default_key
        key = self.directory / "keys" / "cluster.key_secret"
        if not key.exists():
            make_cluster_keys(key.parent)
        return key

    def _begin(self) -> None:
        """Start all nodes concurrently; they form one cluster."""
        if self._count == 1:
            self._new_node("--founding-ms", "0")
        else:
            self._new_nodes()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready()

    def _new_nodes(self) -> None:
        """Prepare nodes that form a cluster with each other."""
        for _ in range(self._count):
            self._new_node()
        addresses = ",".join(self.addresses)
        for node in self.nodes:
            node.add_options("--join", addresses, "--expect", str(self._count))

    def _address_of(self, port: int) -> str:
        """Return the address of the node that has opened a connection from a port."""
        group = group_of(port)
        with contextlib.suppress(ClusterInitFailed):  # a node is killed meanwhile
            return next((n.address for n in self.nodes if n.is_running and n.pid == group), "")
        return ""

    def _next_node(self) -> Node:
        running = [node.address for node in self.nodes if node.is_running]
        return self._new_node(*[option for each in running for option in ("--join", each)])

    def _new_node(self, *options: str) -> Node:
        directory = self.directory / f"node-{len(self.nodes) + 1}"
        node = Node(directory, [*self._options, *options], self._relay, self._key)
        self.nodes.append(node)
        return node

    def leader(self) -> Node:
        """Wait until a majority knows the same leader; return it.

        Raises:
            TimeoutError: there was none within 20 seconds.
        """
        found: list[Node] = []

        def is_known() -> bool:
            leaders = [status.leader for node in self.nodes if (status := self._status(node))]
            found[:] = [node for node in self.nodes if leaders.count(node.id) * 2 > self._count]
            return bool(found)

        wait_until(is_known, "a majority knows the leader")
        return found[0]

    def followers(self) -> list[Node]:
        """Return the running nodes except the leader.

        Raises:
            TimeoutError: there was no leader within 20 seconds.
        """
        leader = self.leader()
        return [node for node in self.nodes if node is not leader and node.is_running]

    def kill(self, node: Node) -> None:
        """Kill all processes of a node with SIGKILL; return when they are gone."""
        node.kill()

    def restart(self, node: Node) -> None:
        """Restart a node; return when it knows the leader, unless most other nodes are down.

        Raises:
            ClusterInitFailed: it ended, or did not serve in time.
            TimeoutError: it knew no leader within 20 seconds.
        """
        if node.is_running:
            node.terminate()
        node.start()
        running = sum(each.is_running for each in self.nodes)
        if 2 * running > len(self.nodes):
            wait_until(lambda: _knows_leader(node), f"{node} knows the leader")

    def pause(self, node: Node) -> None:
        """Stop all processes of a node with SIGSTOP; return when none runs any more."""
        node.pause()

    def resume(self, node: Node) -> None:
        """Resume a paused node with SIGCONT."""
        node.resume()

    def partition(self, *groups: Iterable[Node]) -> None:
        """Cut off groups of nodes from each other; clients still reach all nodes.

        The nodes in no group are one more group: ``partition([node])`` isolates a node from all
        others. It replaces the partition before.

        Raises:
            ValueError: the cluster was made without ``partitions=True``, or a node is in two
                groups, or of another cluster.
        """
        named = [list(group) for group in groups]
        nodes = [node for group in named for node in group]
        if len(set(nodes)) != len(nodes) or not set(nodes) <= set(self.nodes):
            raise ValueError("each node of a partition is of this cluster, and in one group")
        self._way().cut([node.address for node in group] for group in named)

    def heal(self) -> None:
        """End the partition; the nodes connect to each other again within a second.

        Raises:
            ValueError: the cluster was made without ``partitions=True``.
        """
        self._way().cut([])

    def _way(self) -> "Relay":
        if self._relay is None:
            raise ValueError("only a running Cluster(partitions=True) can be partitioned")
        return self._relay

    def wait_until_whole(self, timeout: float = WAIT_SECONDS) -> None:
        """Wait until every running node knows all of them as voters, ``timeout`` seconds at most.

        Raises:
            TimeoutError: they did not in time.
        """
        wait_until(self._is_whole, "every node votes", timeout)

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


def _new_relay(find_sender: Callable[[int], str] | None) -> "Relay":
    from skiff.testing.relay import Relay  # noqa: PLC0415 - asyncio is imported where it is needed

    return Relay(find_sender)


def _knows_leader(node: Node) -> bool:
    status = node.status()
    return status is not None and status.leader is not None
