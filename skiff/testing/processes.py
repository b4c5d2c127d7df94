"""Processes of this machine: from ``/proc`` on Linux, where containers often have no ``ps``."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
# Fields of /proc/PID/stat after the name.
STATE, PARENT, GROUP, THREADS = 0, 1, 2, 17


class Process(NamedTuple):
    """One process."""

    pid: int
    parent: int
    group: int
    has_ended: bool  # whether it has released its sockets, though it was not reaped
    is_stopped: bool  # by a signal such as SIGSTOP
    name: str  # on Linux, an actor's own; else that of the interpreter


def running_processes() -> Iterator[Process]:
    """Yield all processes, also those that were not reaped."""
    return _from_proc() if (PROC / "self").exists() else _from_ps()


def _from_proc() -> Iterator[Process]:
    for place in PROC.iterdir():
        with contextlib.suppress(OSError, ValueError):  # no process, or one that has ended
            pid = int(place.name)
            name, _, rest = (place / "stat").read_text().partition("(")[2].rpartition(") ")
            fields = rest.split()
            # While other threads of a zombie still end, its files are open.
            has_ended = fields[STATE] == "Z" and fields[THREADS] == "1"
            is_stopped = fields[STATE] == "T"
            parent, group = int(fields[PARENT]), int(fields[GROUP])
            yield Process(pid, parent, group, has_ended, is_stopped, name)


def _from_ps() -> Iterator[Process]:
    columns = "pid=,ppid=,pgid=,stat=,comm="
    table = subprocess.run(["ps", "-ax", "-o", columns], capture_output=True, text=True, check=True)
    for row in table.stdout.splitlines():
        pid, parent, group, state, name = row.split(None, 4)
        has_ended = state.startswith("Z") and "l" not in state
        is_stopped = state.startswith("T")
        yield Process(int(pid), int(parent), int(group), has_ended, is_stopped, name)
