"""The directory of one node: whose it is, that only one node uses it, where its database lies.

    skiff.json      format, generation and whether the generation was ever complete
    ballast         room on the disk that is let go when that is full
    lock            held as long as a storage writer lives
    generation-1/   the RocksDB directory

A directory that is damaged or not skiff's is refused; nothing in it is ever wiped.
"""

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
LOCK_SECONDS = 2.5  # how long a former node's processes may take to go away


class Marker(msgspec.Struct, frozen=True):
    """What ``skiff.json`` says."""

    format: int
    generation: int
    complete: bool
    restoring: bool = False


def is_begun(path: str) -> bool:
    """Whether a node ever began in a directory, as far as this process can see."""
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
        """Where the RocksDB directory lies."""
        return self._path / "generation-1"

    def begin_generation(self, *, restoring: bool = False) -> None:
        """Prepare to create the database, dropping one whose creation was interrupted.

        A node promises nothing before its generation is complete, so that nothing is lost.
        While one is restored, it is noted that no node may begin with less.
        """
        assert self.is_new
        self._write_marker(Marker(FORMAT, 1, complete=False, restoring=restoring))
        rmtree(self.database, ignore_errors=True)

    def complete_generation(self) -> None:
        """Note that the database is whole: from now on it is never created anew."""
        self._write_marker(Marker(FORMAT, 1, complete=True))
        self.is_new = False

    def close(self) -> None:
        """Let another node use the directory."""
        os.close(self._lock)

    def _read_marker(self) -> Marker | None:
        try:
            marker = msgspec.json.decode((self._path / MARKER).read_bytes(), type=Marker)
        except FileNotFoundError:
            return None
        except OSError as error:
            # Nothing is known of the data then: the system may be short of what it needs to look.
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
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ActorFailure(
            "DataDirectoryCreateFailed",
            f"cannot create the directory {path}: {error.strerror}",
            lasting=True,
        ) from error


def _refuse_foreign(path: Path) -> None:
    """Refuse a directory that is not skiff's, before anything is put into it.

    Another node may begin here just now: it writes its marker before anything else.
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
    """Make durable which names stand in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
