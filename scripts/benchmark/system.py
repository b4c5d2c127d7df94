"""The key-value store under test, as the benchmark needs it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.benchmark.client import BlockingClient
from scripts.benchmark.drive import Drive


class Cluster(Protocol):
    """Three running nodes."""

    def addresses(self) -> list[str]:
        """Return where clients connect, the leader's address first."""

    def kill_leader(self) -> int:
        """End the leader with SIGKILL; return, when it is dead, the clock's time of the signal."""

    def restart_killed(self) -> None:
        """Start the killed node again and return when it follows a leader."""


class TracedCluster(Cluster, Protocol):
    """A cluster whose nodes note when a request passes each of their stages."""

    def trace_files(self) -> list[Path]:
        """Return the files that the nodes have written so far."""


@dataclass(frozen=True, kw_only=True)
class System:
    """A key-value store: how to start it and how to drive it."""

    name: str
    version: str
    start: Callable[[], AbstractContextManager[Cluster]]
    start_traced: Callable[[], AbstractContextManager[TracedCluster]] | None = None
    connect: Callable[[Sequence[str]], BlockingClient]
    connect_impatiently: Callable[[Sequence[str]], BlockingClient]  # for when nodes die
    drive_blocking: Drive
    drive_in_flight: Drive
    in_flight_processes: int  # into how many the clients are best split, found by trying
