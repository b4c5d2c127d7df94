"""Port owners: which process group has opened a connection from a local port (Linux only)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
LOCAL, INODE = 1, 9  # columns of the table of connections


def group_of(port: int) -> int | None:
    """Return the id of the process group with a TCP connection from a port; None if none has."""
    ends = f":{port:04X}"
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[LOCAL].endswith(ends) and columns[INODE] != "0":
            for process in _holders(f"socket:[{columns[INODE]}]"):
                with contextlib.suppress(ProcessLookupError):
                    return os.getpgid(process)
    return None


def _holders(socket: str) -> Iterator[int]:
    """Yield the processes of this user that hold a socket."""
    for process in PROC.iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if any(str(each.readlink()) == socket for each in _files(process)):
                    yield int(process.name)


def _files(process: Path) -> Iterator[Path]:
    for each in (process / "fd").iterdir():
        if each.is_symlink():
            yield each
