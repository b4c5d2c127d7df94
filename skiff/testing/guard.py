"""Guard: a program that ends a test cluster whose test program has died, and removes its directory.

It waits for the end of its standard input, so it acts however the test program dies; a node that is
stopped by SIGSTOP would not notice that by itself. If the guard is killed as well, the next cluster
finds the directory unlocked, and does the same. It is run as a file and imports nothing of skiff.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "skiff-cluster-"
LOCK = ".lock"  # locked while the test program lives
DONE = b"."  # sent by a test program that has ended the cluster itself
PROC = Path("/proc")  # with a directory for each process, on Linux
STDERR = "2"  # descriptor
END_SECONDS = 10.0  # for killed processes to be gone


class Guard:
    """The guard of one cluster, in its test program."""

    def __init__(self, directory: Path | None) -> None:
        """Guard a cluster in a directory; None makes a temporary one, to be removed at the end."""
        self._is_temporary = directory is None
        if directory is None:
            remove_leftovers()
        self.directory = (directory or Path(tempfile.mkdtemp(prefix=PREFIX))).absolute()
        self._lock = _locked(self.directory) if self._is_temporary else None
        kind = "temporary" if self._is_temporary else "given"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self.directory), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # no signal to the test program's group reaches it
        )

    def close(self) -> None:
        """End the guard, as the cluster has ended; a temporary directory is removed."""
        if self._is_temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(DONE)
            self._process.stdin.close()
        self._process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_leftovers() -> None:
    """End the clusters of test programs that have died together with their guards."""
    for directory in list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # of another user, or removed meanwhile
            lock = os.open(directory / LOCK, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                end_cluster(directory)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)


def end_cluster(directory: Path) -> None:
    """Kill the nodes that log to a directory, and wait until they are gone."""
    deadline = time.monotonic() + END_SECONDS
    while (groups := _groups(directory)) and time.monotonic() < deadline:
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        time.sleep(0.05)


def _groups(directory: Path) -> set[int]:
    """Return the process groups of nodes that log to a directory."""
    found = directory.resolve().glob("node-[0-9]*.log")
    # A link of another user could name the standard error of an innocent program.
    files = [str(file) for file in found if not file.is_symlink()]
    if not files:
        return set()
    return set(_listed_by_proc(files) if (PROC / "self").exists() else _listed_by_lsof(files))


def _listed_by_proc(files: list[str]) -> Iterator[int]:
    """Yield the group of each process whose standard error is one of some files."""
    for place in PROC.iterdir():
        with contextlib.suppress(OSError, ValueError):  # none, or not to be read
            if str((place / "fd" / STDERR).readlink()) in files:
                yield os.getpgid(int(place.name))


def _listed_by_lsof(files: list[str]) -> Iterator[int]:
    """Yield the same where there is no ``/proc``, as on macOS; without ``lsof``, nothing."""
    lsof = shutil.which("lsof") or "/usr/sbin/lsof"
    if not Path(lsof).exists():
        return
    command = [lsof, "-w", "-a", "-d", STDERR, "-F", "g", "--", *files]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    for row in listed.stdout.splitlines():
        if row.startswith("g"):
            yield int(row[1:])


def _locked(directory: Path) -> int:
    """Lock a new directory; return the descriptor that keeps the lock."""
    new = directory / f"{LOCK}.new"
    lock = os.open(new, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(directory / LOCK)  # else it could be found unlocked
    return lock


def main(directory: Path, *, is_temporary: bool) -> None:
    """Wait for the end of the test program; end its cluster unless it has done so."""
    if sys.stdin.buffer.read(len(DONE)) == DONE:
        return
    end_cluster(directory)
    if is_temporary:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_temporary=sys.argv[2] == "temporary")
