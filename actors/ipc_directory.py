"""IpcDirectory: the directory of a node's ipc sockets, locked while the node runs.

The node's program removes it, or else its actors do. If all of them were killed, the next node that
starts finds the lock free and removes the directory.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "skiff."  # reserved: an unlocked directory with this prefix is removed
SOCKET_PATH_BYTES_MAX = 103  # the limit of macOS; that of Linux is 107


class IpcDirectory:
    """The ipc directory of one node, which restarted actors use again."""

    def __init__(self) -> None:
        self.path = ""
        self._lock: int | None = None

    def keep(self) -> None:
        """Create the directory, or recreate it: systems may clean up old temporary files.

        Another starting node may remove it before it is locked.

        Raises:
            OSError: it cannot be created.
        """
        if not self.path:
            _clear_abandoned()
        while not self._is_held():
            self.release()
            self._make()
            with contextlib.suppress(FileNotFoundError):
                self._lock = _open(self.path)
                fcntl.flock(self._lock, fcntl.LOCK_EX)

    def socket(self, name: str) -> str | None:
        """Return the path of a socket for other programs; None if it is too long for one.

        The actors use short relative names: the directory is their working directory.
        """
        path = f"{self.path}/{name}"
        return path if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX else None

    def clear(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Release the lock; after a fork, the parent still holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        if self.path:
            Path(self.path).mkdir(mode=0o700)
        else:
            self.path = tempfile.mkdtemp(prefix=PREFIX)

    def _is_held(self) -> bool:
        """Whether the directory exists, and is the one that was locked."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._lock), Path(self.path).stat())
        except FileNotFoundError:
            return False


def _clear_abandoned() -> None:
    """Remove abandoned directories of this user's programs."""
    with contextlib.suppress(OSError):
        for path in list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
            with contextlib.suppress(OSError):
                _clear_if_abandoned(path)


def _clear_if_abandoned(path: Path) -> None:
    """Remove a directory; raises OSError if its lock is held."""
    if path.lstat().st_uid != os.getuid():
        return
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _open(path: str | Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
