"""Data directory: its format, its lock, and the database within it.

    skiff.json      format, generation and whether the generation was ever complete
    ballast         disk space in reserve, released when the disk is full
    lock            held while a storage writer runs
    generation-1/   the RocksDB directory

A directory that is damaged or not skiff's is refused; its contents are never deleted.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from shutil import rmtree

import msgspec

from actors.disk_space import BALLAST
from actors.failure import ActorFailure, damaged_data

FORMAT = 1
MARKER = "skiff.json"
LOCK = "lock"
OWN_NAMES = {MARKER, LOCK, BALLAST, "trace", MARKER + ".new"}
MODE, FILE_MODE = 0o700, 0o600
LOCK_SECONDS = 2.5  # for the processes of an earlier start to end


class Marker(msgspec.Struct, frozen=True):
    """The contents of ``skiff.json``."""

    format: int
    generation: int
    complete: bool
    restoring: bool = False


def is_begun(path: str) -> bool:
    """Whether a directory has a marker; False if that cannot be read."""
    try:
        return (Path(path) / MARKER).exists()
    except OSError:
        return False


class DataDirectory:
    """A directory that this process has locked."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        _create(self._path)
        _refuse_foreign(self._path)
        self._lock = _lock(self._path)
        try:
            marker = self._read_marker() or Marker(FORMAT, 1, complete=False)
            if marker.complete and not self.database.is_dir():
                raise damaged_data(self._path, f"{self.database.name} is missing")
        except BaseException:
            self.close()
            raise
        self.is_new = not marker.complete
        self.was_restoring = self.is_new and marker.restoring

    @property
    def database(self) -> Path:
        """The path of the RocksDB directory."""
        return self._path / "generation-1"

    def begin_generation(self, *, restoring: bool = False) -> None:
        """Prepare to create the database; delete one whose creation was interrupted.

        A node acknowledges nothing before its generation is complete, so that nothing is lost.
        ``restoring`` is recorded, so that no node starts empty after an interrupted restore.
        """
        assert self.is_new
        self._write_marker(Marker(FORMAT, 1, complete=False, restoring=restoring))
        rmtree(self.database, ignore_errors=True)

    def complete_generation(self) -> None:
        """Record that the database is complete, so that it is never created again."""
        self._write_marker(Marker(FORMAT, 1, complete=True))
        self.is_new = False

    def make_private(self) -> None:
        """Take all rights within from other users: RocksDB gives what the umask allows."""
        for each in self._path.rglob("*"):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if not each.is_symlink():
                    each.chmod(MODE if each.is_dir() else FILE_MODE)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def _read_marker(self) -> Marker | None:
        try:
            marker = msgspec.json.decode((self._path / MARKER).read_bytes(), type=Marker)
        except FileNotFoundError:
            return None
        except OSError as error:
            # The data may be fine: the system may lack descriptors or memory.
            reason = f"cannot read {self._path / MARKER}: {error.strerror}"
            raise ActorFailure("StorageError", reason) from error
        except msgspec.MsgspecError as error:
            raise damaged_data(self._path, f"{MARKER} cannot be read: {error}") from error
        if marker.format != FORMAT:
            raise ActorFailure(
                "StorageError",
                f"{self._path} has format {marker.format} and this skiff reads {FORMAT}: "
                "run the version that wrote it",
                lasting=True,
            )
        return marker

    def _write_marker(self, marker: Marker) -> None:
        new = self._path / (MARKER + ".new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(marker))
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path / MARKER)
        sync_directory(self._path)


def _create(path: Path) -> None:
    try:
        path.mkdir(mode=MODE, parents=True, exist_ok=True)
        if path.stat().st_uid == os.getuid():
            path.chmod(MODE)  # it may have been made by another program, for others to read
    except OSError as error:
        raise ActorFailure(
            "DataDirectoryCreateFailed",
            f"cannot create the directory {path}: {error.strerror}",
            lasting=True,
        ) from error


def _refuse_foreign(path: Path) -> None:
    """Refuse a directory that is not skiff's, before anything is written to it.

    The marker is checked last: another node that starts here writes it first.
    """
    try:
        strangers = sorted({entry.name for entry in path.iterdir()} - OWN_NAMES)
        is_foreign = strangers and not (path / MARKER).exists()
    except OSError as error:
        raise ActorFailure(
            "DataDirectoryCreateFailed",
            f"cannot read the directory {path}: {error.strerror}",
            lasting=True,
        ) from error
    if is_foreign:
        raise ActorFailure(
            "StorageError",
            f"{path} holds {strangers[0]!r} and no {MARKER}, so that it is not a skiff "
            "directory; choose an empty or a new one",
            lasting=True,
        )


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ActorFailure(
            "DataDirectoryCreateFailed",
            f"cannot write to the directory {path}: {error.strerror}",
            lasting=True,
        ) from error
    deadline = time.monotonic() + LOCK_SECONDS
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise ActorFailure(
                "StorageError",
                f"{path} is in use by another skiff node; stop that one or choose another "
                "directory",
                lasting=True,
            )
        time.sleep(0.05)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
