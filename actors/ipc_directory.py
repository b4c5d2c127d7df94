"""IpcDirectory: a directory of ipc sockets, locked by its node and removed once the lock is free.

The node's own program removes it, or else its actors do. Where all of them were killed at once, the
next node that starts finds the lock free.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "skiff."  # reserved: any directory of this name may be removed
SOCKET_PATH_BYTES_MAX = 103  # on macOS; four more on Linux


class IpcDirectory:
    """The directory of one node, the same for all actors that follow each other."""

    def __init__(self) -> None:
        self.path = ""
        self._lock: int | None = None

    def keep(self) -> None:
        """Make the directory, or make it anew: systems clear away what is old.

        Another node that starts may remove it before it is locked.

        Raises:
            OSError: the system does not let it be made.
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
        """Return the path of a socket for other programs, None where it is too long for one.

        The actors themselves work in the directory, so that their names are short.
        """
        path = f"{self.path}/{name}"
        return path if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX else None

    def clear(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Release the lock; in a forked process, the one that forked still holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        if self.path:
            Path(self.path).mkdir(mode=0o700)
        else:
            self.path = tempfile.mkdtemp(prefix=PREFIX)

    def _is_held(self) -> bool:
        """Whether the directory is there, and is the one that was locked."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._lock), Path(self.path).stat())
        except FileNotFoundError:
            return False


def _clear_abandoned() -> None:
    """Remove what this user's programs left behind that are gone; their actors are then ending."""
    with contextlib.suppress(OSError):
        for names in list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
            with contextlib.suppress(OSError):
                _clear_if_abandoned(names)


def _clear_if_abandoned(names: Path) -> None:
    """Remove a directory unless its lock is held, which is an OSError like any other obstacle."""
    if names.lstat().st_uid != os.getuid():
        return
    lock = _open(names)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(names, ignore_errors=True)
    finally:
        os.close(lock)


def _open(names: str | Path) -> int:
    return os.open(names, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
