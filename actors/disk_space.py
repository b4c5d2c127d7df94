"""Disk space: the free space of a data directory, and a ballast that is released when it is full.

The ballast is a file that reserves space. Without it, a disk that other programs have filled would
have none for votes, removals and RocksDB's own files.
"""

import errno
import os
from pathlib import Path

from protocol.space import CRITICAL_SHARE, Shortage

BALLAST = "ballast"
BLOCK_BYTES = 1 << 20


class DiskSpace:
    """The space of one data directory; ``reserve`` is in bytes, 0 for no ballast."""

    def __init__(self, directory: str, reserve: int) -> None:
        self._directory = Path(directory)
        self._ballast = self._directory / BALLAST
        self._size = reserve // CRITICAL_SHARE
        self._is_held = self._ballast_bytes() >= self._size > 0
        if self._ballast.exists() and not self._is_held:
            self._release()  # of another size, or incomplete

    def free_bytes(self) -> int:
        """Return the bytes that are free for this node, without its ballast."""
        system = os.statvfs(self._directory)
        free = system.f_bavail * system.f_frsize
        return free if self._is_held else free - self._size

    def keep_ballast(self, shortage: Shortage) -> None:
        """Hold the ballast while there is space; release it if the disk is full."""
        if shortage is Shortage.CRITICAL and self._is_held:
            self._release()
        elif not shortage.is_of_disk and not self._is_held and self._size:
            self._hold()

    def _hold(self) -> None:
        try:
            _allocate(self._ballast, self._size)
            self._is_held = True
        except OSError:
            self._release()  # the disk is full after all

    def _release(self) -> None:
        self._ballast.unlink(missing_ok=True)
        self._is_held = False

    def _ballast_bytes(self) -> int:
        try:
            return self._ballast.stat().st_blocks * 512
        except OSError:
            return 0


def is_full(error: OSError) -> bool:
    """Whether an error means that a disk, or a disk quota, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _allocate(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        for _ in range(0, size, BLOCK_BYTES):
            file.write(bytes(min(size, BLOCK_BYTES)))
