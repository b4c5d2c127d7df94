"""Conditions of a run: versions, machine and settings, printed with its figures."""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass

from scripts.benchmark.job import VALUE_BYTES
from scripts.benchmark.system import System

SYNC_PROBES = 100


@dataclass(frozen=True)
class Conditions:
    """Versions, machine and settings."""

    versions: dict[str, str]
    cores: int
    platform: str
    sync_us: float
    rounds: int
    duration_s: float
    value_bytes: int = VALUE_BYTES
    nodes: int = 3
    fsync: bool = True

    def __str__(self) -> str:
        """Return the conditions as one line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{versions}; {self.cores} cores, {self.platform}; {self.nodes} nodes on loopback, "
            f"{self.value_bytes}-byte values, fsync on ({self.sync_us:.0f} µs alone); "
            f"medians of {self.rounds} rounds of {self.duration_s:g} s"
        )


def note_conditions(systems: Iterable[System], rounds: int, duration_s: float) -> Conditions:
    """Return the conditions of a run."""
    versions = {system.name: system.version for system in systems}
    return Conditions(
        versions=versions | {"Python": platform.python_version()},
        cores=os.cpu_count() or 1,
        platform=f"{platform.system()} {platform.machine()}",
        sync_us=_sync_us(),
        rounds=rounds,
        duration_s=duration_s,
    )


def _sync_us() -> float:
    """Return the median time of a small synced write in the clusters' directory."""
    times_us = []
    with tempfile.TemporaryFile(prefix="skiff-bench-") as file:
        for _ in range(SYNC_PROBES):
            began = time.monotonic_ns()
            os.write(file.fileno(), bytes(VALUE_BYTES))
            os.fsync(file.fileno())
            times_us.append((time.monotonic_ns() - began) / 1e3)
    return statistics.median(times_us)
