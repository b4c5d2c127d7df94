"""Taking a backup of a running cluster, and making a new one out of it."""

import uuid
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from actors.failure import ActorFailure
from protocol.client_messages import NodeStatus, ReadSnapshot, SnapshotPart, Status
from protocol.snapshot import SnapshotChunk, decode_rows
from protocol.storage.restoring import DamagedSnapshot
from skiff import backup, errors
from skiff.backup import Backup
from skiff.caller import Caller
from skiff.errors import RPCCallFailed, StorageError, StreamClosed

if TYPE_CHECKING:
    from actors.restoring import Restored

Progress = Callable[[int, int], None]  # rows so far, and about how many there are


def back_up(
    caller: Caller,
    path: str | PathLike[str],
    timeout: float | None,
    progress: Progress | None,
) -> Backup:
    """Write the state of the node that answers the caller, at one moment from now on.

    The caller must not follow the leader, because only this node knows the snapshot that it has
    begun. It is closed in the end.

    Raises:
        StreamClosed: the node ended the snapshot: it restarted, nothing was read for long, or
            several other backups began there.
        OSError: the file cannot be written, or there is one already.
    """
    try:
        return _back_up(caller, Path(path), timeout, progress or _show_nothing)
    finally:
        caller.close()


def _show_nothing(_: int, __: int) -> None:
    """Report to nobody."""


def _back_up(caller: Caller, path: Path, timeout: float | None, progress: Progress) -> Backup:
    status = caller.call(Status(), timeout)
    if not isinstance(status, NodeStatus):
        raise RPCCallFailed(f"a status was answered with {status!r}")
    chunks = _read_chunks(caller, timeout, progress)
    return backup.write(path, status.cluster, status.node, chunks)


def _read_chunks(
    caller: Caller, timeout: float | None, progress: Progress
) -> Iterator[SnapshotChunk]:
    question = ReadSnapshot(uuid.uuid4().bytes, None)
    rows = 0
    while True:
        part = caller.call(question, timeout)
        if not isinstance(part, SnapshotPart):
            raise RPCCallFailed(f"a snapshot was answered with {part!r}")
        if part.chunk is None:
            raise StreamClosed(
                "the node has ended the snapshot: it restarted, nothing was read for long, or "
                "several other backups began there"
            )
        yield part.chunk
        rows += len(decode_rows(part.chunk.rows))
        progress(rows, part.rows_estimate)
        if part.chunk.last:
            break
        question = ReadSnapshot(question.backup, part.chunk.end)


def restore(
    path: str | PathLike[str],
    directory: str | PathLike[str],
    progress: Progress | None = None,
) -> "Restored":
    """Make a data directory out of a backup, for the only member of a new cluster.

    Start a node in it, and let others join that one. The directory is made where it
    is missing.

    Raises:
        StorageError: the backup is damaged, or the directory is not empty; neither was changed.
    """
    from actors import restoring  # noqa: PLC0415 - brings RocksDB, which no client needs

    source = Path(path)
    try:
        whole = backup.verify(source)
        chunks = _showing(backup.read(source), whole.rows, progress or _show_nothing)
        return restoring.restore(str(directory), chunks)
    except ActorFailure as failure:
        raise getattr(errors, failure.error, StorageError)(str(failure)) from None
    except DamagedSnapshot as damage:
        raise _refused(f"the backup {source} is damaged: {damage}") from None
    except StorageError as damage:
        raise _refused(str(damage)) from None


def _refused(reason: str) -> StorageError:
    return StorageError(f"{reason}; nothing was restored from it")


def _showing(
    chunks: Iterator[SnapshotChunk], total: int, progress: Progress
) -> Iterator[SnapshotChunk]:
    rows = 0
    for chunk in chunks:
        yield chunk
        rows += len(decode_rows(chunk.rows))
        progress(rows, total)
