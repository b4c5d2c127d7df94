"""Failover: measures the pause of writes after the leader is killed."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Self

from scripts.benchmark.client import BlockingClient
from scripts.benchmark.job import value_of
from scripts.benchmark.system import Cluster, System

STEADY_S = 0.5  # of successful writes before a kill, plus random jitter
PAUSE_MAX_S = 30.0
POLL_S = 0.005


class NoRecovery(Exception):
    """No write was acknowledged within the maximum after a kill."""


class SteadyWriter:
    """A blocking client that writes continuously and notes each write's start and end."""

    def __init__(self, connect: Callable[[Sequence[str]], BlockingClient], addresses: list[str]):
        self._connect = connect
        self._addresses = addresses
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._acknowledged: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def first_begun_after(self, moment_ns: int) -> int:
        """Wait for a write that began after a moment; return when it was acknowledged.

        An earlier write does not count: its reply may be in flight already.
        """
        deadline = time.monotonic() + PAUSE_MAX_S
        while not (self._acknowledged and self._acknowledged[-1][0] > moment_ns):
            if time.monotonic() > deadline:
                raise NoRecovery(f"no write was acknowledged for {PAUSE_MAX_S:.0f} s")
            time.sleep(POLL_S)
        return next(ended for began, ended in self._acknowledged if began > moment_ns)

    def _write(self) -> None:
        with closing(self._connect(self._addresses)) as client:
            while not self._stopping.is_set():
                began = time.monotonic_ns()
                try:
                    client.put("failover", value_of(0))
                except Exception:  # noqa: BLE001 - a failed write is simply not acknowledged
                    time.sleep(POLL_S)
                else:
                    self._acknowledged.append((began, time.monotonic_ns()))


def measure_failover(system: System, cluster: Cluster) -> float:
    """Kill the leader during writes; return the milliseconds to the next acknowledged one."""
    with SteadyWriter(system.connect_impatiently, cluster.addresses()) as writer:
        writer.first_begun_after(time.monotonic_ns())
        # With jitter, the kill falls anywhere between two heartbeats.
        time.sleep(STEADY_S + random.random() / 2)
        killed_ns = cluster.kill_leader()
        pause_ns = writer.first_begun_after(time.monotonic_ns()) - killed_ns
    cluster.restart_killed()
    return pause_ns / 1e6
