"""The directory of a node's ipc sockets: made under a lock, cleared away when nobody holds that.

The node's own program removes it, or else its actors do. Where all of them were killed at once, the
next node that starts finds the lock free.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "skiff-"
UNFINISHED = "."  # stands before the name until the lock is held
OWNER = "owner"


class Names:
    """One node's names, the same ones for all actors that follow each other."""

    def __init__(self) -> None:
        self.path = ""
        self._lock: int | None = None

    def keep(self) -> None:
        """Make the directory, or make it anew: systems clear away what is old.

        Raises:
            OSError: the system does not let it be made.
        """
        if self.path:
            Path(self.path).mkdir(mode=0o700, exist_ok=True)
            return
        _clear_abandoned()
        new = Path(tempfile.mkdtemp(prefix=UNFINISHED + PREFIX))
        try:
            self._lock = os.open(new / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.path = str(new.rename(new.with_name(new.name.removeprefix(UNFINISHED))))
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            self.let_go()
            raise

    def clear(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.let_go()

    def let_go(self) -> None:
        """Hold the lock no more; in a forked process, the one that forked still holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _clear_abandoned() -> None:
    """Remove what this user's programs left behind that are gone with all their actors."""
    with contextlib.suppress(OSError):
        for owner in list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}")):
            with contextlib.suppress(OSError):
                _clear_if_abandoned(owner)


def _clear_if_abandoned(owner: Path) -> None:
    """Remove a directory unless its lock is held, which is an OSError like any other obstacle."""
    if owner.parent.lstat().st_uid != os.getuid():
        return
    lock = os.open(owner, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(owner.parent, ignore_errors=True)
    finally:
        os.close(lock)
