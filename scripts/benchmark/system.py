"""System: the interface that the benchmark requires of a store under test."""

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
        """Return the addresses for clients, the leader's first."""

    def kill_leader(self) -> int:
        """Kill the leader with SIGKILL; return the time of the signal when it is dead."""

    def restart_killed(self) -> None:
        """Start the killed node again and return when it follows a leader."""


class TracedCluster(Cluster, Protocol):
    """A cluster whose nodes trace the stages of each request."""

    def trace_files(self) -> list[Path]:
        """Return the trace files so far."""


@dataclass(frozen=True, kw_only=True)
class System:
    """A key-value store: its cluster, its clients and its drivers."""

    name: str
    version: str
    start: Callable[[], AbstractContextManager[Cluster]]
    start_traced: Callable[[], AbstractContextManager[TracedCluster]] | None = None
    connect: Callable[[Sequence[str]], BlockingClient]
    connect_impatiently: Callable[[Sequence[str]], BlockingClient]  # with fast failover
    drive_blocking: Drive
    drive_in_flight: Drive
    drive_paced: Drive | None = None  # the writer of a fan-out, if it is compared
    drive_watches: Drive | None = None  # its subscribers
    in_flight_processes: int  # for the clients, the best number by measurement
