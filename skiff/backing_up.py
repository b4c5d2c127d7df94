"""Backing up: copies a snapshot of a running node, chunk by chunk, to a file or a stream."""

import uuid
from collections.abc import Iterator
from itertools import chain
from os import PathLike
from pathlib import Path

from protocol.messages.client import NodeStatus, ReadSnapshot, SnapshotPart, Status
from protocol.snapshot import SnapshotChunk, decode_rows
from skiff import backup
from skiff.backup import Backup, Origin, Writable
from skiff.caller import Caller
from skiff.errors import RPCCallFailed, StreamClosed
from skiff.functions import check_function
from skiff.paths import check_file
from skiff.progress import Progress, show_nothing


def back_up(
    caller: Caller,
    target: str | PathLike[str] | Writable,
    timeout: float | None,
    progress: Progress | None,
) -> Backup:
    """Write a snapshot of the node that answers; it is taken after this call began.

    The caller must not follow the leader, because only the node that took the snapshot has it.
    The caller's connection is closed at the end.

    Raises:
        InvalidRequest: the target is neither a path nor a binary stream, or the progress cannot
            be called.
        ClientClosed: the client was closed.
        StreamClosed: the node dropped the snapshot: it restarted, no chunk was read for long, or
            several other backups began there.
        OSError: the file exists, or cannot be written.
    """
    check_file("path", target, "write")
    if progress is not None:
        check_function(progress)
    try:
        return _back_up(caller, target, timeout, progress or show_nothing)
    finally:
        caller.disconnect()


def _back_up(
    caller: Caller,
    target: str | PathLike[str] | Writable,
    timeout: float | None,
    progress: Progress,
) -> Backup:
    chunks = _read_chunks(caller, timeout, progress)
    if isinstance(target, str | PathLike):
        backup.check_free(Path(target))
    chunks = chain([next(chunks)], chunks)
    # Now that the snapshot is taken, as the level may rise, and never falls.
    origin = _read_origin(caller, timeout)
    if isinstance(target, str | PathLike):
        return backup.write(Path(target), origin, chunks)
    return backup.write_to(target, origin, chunks)


def _read_origin(caller: Caller, timeout: float | None) -> Origin:
    status = caller.call(Status(), timeout)
    if not isinstance(status, NodeStatus):
        raise RPCCallFailed(f"expected a NodeStatus, not {status!r}")
    return Origin(status.cluster, status.node, status.membership.level)


def _read_chunks(
    caller: Caller, timeout: float | None, progress: Progress
) -> Iterator[SnapshotChunk]:
    request = ReadSnapshot(uuid.uuid4().bytes, None)
    rows = 0
    while True:
        part = caller.call(request, timeout)
        if not isinstance(part, SnapshotPart):
            raise RPCCallFailed(f"expected a SnapshotPart, not {part!r}")
        if part.chunk is None:
            raise StreamClosed(
                "the node dropped the snapshot: it restarted, no chunk was read for long, or "
                "several other backups began there"
            )
        yield part.chunk
        rows += len(decode_rows(part.chunk.rows))
        progress(rows, part.rows_estimate)
        if part.chunk.last:
            break
        request = ReadSnapshot(request.backup, part.chunk.end)
