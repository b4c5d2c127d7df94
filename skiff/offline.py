"""Offline operations on data directories: restoring a backup, recovering from a lost majority."""

import uuid
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from actors.failure import ActorFailure
from protocol.membership import is_majority
from protocol.snapshot import SnapshotChunk, decode_rows
from protocol.state.levels import STATE_LEVEL
from protocol.storage.restoring import DamagedSnapshot
from skiff import backup, errors
from skiff.arguments import check_bool, check_collection
from skiff.errors import InvalidRequest, StorageError
from skiff.functions import check_function
from skiff.outcomes import members_of
from skiff.paths import check_file, check_path
from skiff.progress import Progress, show_nothing
from skiff.records import Member
from skiff.spool import is_stream, spooled

if TYPE_CHECKING:
    from protocol.storage.recovering import DirectoryContents


class Restored(msgspec.Struct, frozen=True):
    """The ids of the node that was restored, and of its new cluster."""

    node: uuid.UUID
    cluster: uuid.UUID


class Survivor(msgspec.Struct, frozen=True):
    """The contents of one node's data directory.

    ``last_term`` and ``last_index`` are those of its last log entry; entries after
    ``applied_index`` may not be committed. ``members`` is the latest membership in its log.
    """

    dir: str
    id: uuid.UUID
    cluster_id: uuid.UUID
    last_term: int
    last_index: int
    applied_index: int
    revision: int
    members: tuple[Member, ...]


class Recovery(msgspec.Struct, frozen=True):
    """The surviving directories of a cluster, and the one chosen for the new cluster.

    ``chosen`` has the most up-to-date log. ``cluster_id`` is that of the new cluster, None if
    nothing was changed. ``missing`` are the voters whose directories were not given.
    """

    survivors: tuple[Survivor, ...]
    chosen: Survivor
    cluster_id: uuid.UUID | None
    missing: tuple[Member, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every acknowledged write is kept: the directories of a majority were given."""
        voters = sum(member.voter for member in self.chosen.members)
        return is_majority(voters - len(self.missing), voters)

    @property
    def is_alone(self) -> bool:
        """Whether the chosen node is the only voter, and so needs no recovery."""
        return [each.id for each in self.chosen.members if each.voter] == [self.chosen.id]


def restore(
    source: str | PathLike[str] | BinaryIO,
    directory: str | PathLike[str],
    progress: Progress | None = None,
) -> Restored:
    """Restore a backup into a data directory, as the only member of a new cluster.

    Then start a node with this directory, and let other nodes join it. A missing directory is
    created. A binary stream, or a path that can be read only once, is copied to a temporary file
    beside the directory. ``progress`` is called after each chunk with the rows restored and their
    total.

    Raises:
        StorageError: the backup is damaged or needs a newer version, or the directory is not empty;
            both are unchanged.
        DataDirectoryCreateFailed: the directory cannot be created or written to.
        OSError: the backup cannot be read.
        InvalidRequest: ``source`` is neither a path nor a binary stream, ``directory`` no path, or
            ``progress`` cannot be called.
    """
    check_file("source", source, "read")
    check_path("directory", directory, InvalidRequest)
    if progress is not None:
        check_function(progress)
    progress, target = progress or show_nothing, Path(directory)
    if not isinstance(source, str | PathLike):
        with spooled(source, target) as copy:
            name = str(getattr(source, "name", "<stream>"))  # not all streams have one
            return _restore(copy, name, target, progress)
    path = Path(source)
    if is_stream(path):
        with path.open("rb") as stream, spooled(stream, target) as copy:
            return _restore(copy, str(path), target, progress)
    return _restore(path, str(path.resolve()), target, progress)


def _restore(path: Path, name: str, target: Path, progress: Progress) -> Restored:
    """Restore a file that was given by a name."""
    from actors import restoring  # noqa: PLC0415 - brings RocksDB, which no client needs

    try:
        _check_level(path)
        whole = backup.verify(path)
        chunks = _showing(backup.read(path), whole.rows, progress)
        return Restored(*restoring.restore(str(target), chunks, name))
    except ActorFailure as failure:
        raise getattr(errors, failure.error, StorageError)(str(failure)) from None
    except DamagedSnapshot as damage:
        raise _refused(f"the backup {name} is damaged: {damage}") from None
    except StorageError as damage:
        raise _refused(str(damage).replace(str(path), name)) from None


def recover(
    directories: str | PathLike[str] | Sequence[str | PathLike[str]], *, dry_run: bool = False
) -> Recovery:
    """Turn the directory with the most up-to-date log into the first node of a new cluster.

    For a cluster that has permanently lost its majority. Pass the directories of all surviving
    nodes, on this machine or copied to it. All entries of the chosen log count as committed from
    then on; writes that only lost nodes held are lost. Then start a node with the chosen directory,
    and let other nodes join it with new directories. With ``dry_run``, nothing is changed.

    Raises:
        StorageError: a directory is in use, damaged, without a node or of another cluster; none
            was changed.
        InvalidRequest: ``directories`` is neither a path nor a collection of them, or ``dry_run``
            no bool.
    """
    from actors import recovering  # noqa: PLC0415 - brings RocksDB, which no client needs

    check_bool("dry_run", dry_run)
    paths = _paths(directories)
    try:
        found = recovering.recover_best(paths, dry_run=dry_run)
    except ActorFailure as failure:
        raise getattr(errors, failure.error, StorageError)(str(failure)) from None
    survivors = {path: _survivor(path, each) for path, each in found.contents.items()}
    chosen, given = survivors[found.best], {each.id for each in survivors.values()}
    missing = tuple(each for each in chosen.members if each.voter and each.id not in given)
    return Recovery(tuple(survivors.values()), chosen, found.cluster, missing)


def _paths(directories: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[str]:
    if isinstance(directories, str | PathLike):
        directories = [directories]
    given = check_collection("directories", directories)
    for each in given:
        check_path("a directory", each, InvalidRequest)
    return [fspath(each) for each in given]


def _survivor(path: str, contents: "DirectoryContents") -> Survivor:
    return Survivor(
        dir=path,
        id=uuid.UUID(bytes=contents.node),
        cluster_id=uuid.UUID(bytes=contents.cluster),
        last_term=contents.last_term,
        last_index=contents.last_index,
        applied_index=contents.applied_index,
        revision=contents.revision,
        members=members_of(contents.membership),
    )


def _check_level(source: Path) -> None:
    """Check whether this version can apply all commands that may follow on a backup's state.

    Raises:
        StorageError: the backup is of a newer version, or is none.
    """
    level = backup.read_header(source).level
    if level > STATE_LEVEL:
        why = f"its state has level {level}, and this version can apply level {STATE_LEVEL}"
        raise backup.needs_newer_version(source, why)


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
