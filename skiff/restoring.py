"""Making a new cluster out of a backup."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from actors.failure import ActorFailure
from protocol.snapshot import SnapshotChunk, decode_rows
from protocol.storage.restoring import DamagedSnapshot
from skiff import backup, errors
from skiff.errors import StorageError
from skiff.progress import Progress, show_nothing

if TYPE_CHECKING:
    from actors.restoring import Restored


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
        chunks = _showing(backup.read(source), whole.rows, progress or show_nothing)
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
