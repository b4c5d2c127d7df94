"""Recovery: starts a new cluster from the best directory of one that lost its majority."""

import secrets
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from actors.audit import AuditTrail
from actors.data_directory import DataDirectory, is_begun
from actors.database import RocksDatabase
from actors.failure import ActorFailure
from actors.restoring import SESSIONS_SKIPPED
from protocol.config import NodeConfig
from protocol.storage.log_store import DamagedLog
from protocol.storage.recovering import DirectoryContents, NewerVersion, NoMember, recover, survey

LIMITS = NodeConfig().log_limits


class Open(NamedTuple):
    """A locked directory and its contents."""

    path: str
    database: RocksDatabase
    contents: DirectoryContents


class Found(NamedTuple):
    """The contents of the directories, the best of them, and its new cluster, if any."""

    contents: dict[str, DirectoryContents]
    best: str
    cluster: uuid.UUID | None


def recover_best(paths: Sequence[str], *, dry_run: bool) -> Found:
    """Compare directories of one cluster; make the best one the first node of a new cluster.

    Nothing changes with ``dry_run``, or if the best directory's node is the only voter.

    Raises:
        ActorFailure: a directory is in use, damaged, not a node's, or of another cluster; none was
        changed.
    """
    with ExitStack() as closing:
        opened = [_open(path, closing) for path in _distinct(paths)]
        _refuse_strange(opened)
        best = max(opened, key=lambda each: each.contents.rank)
        cluster = None
        if not dry_run and not best.contents.is_alone:
            cluster = uuid.uuid4()
            skipped = SESSIONS_SKIPPED + secrets.randbits(40)
            _recover(best, cluster.bytes, skipped)
            former = best.contents.cluster.hex()
            AuditTrail(best.path).write_offline("Recover", f"{former} as cluster {cluster.hex}")
        return Found({each.path: each.contents for each in opened}, best.path, cluster)


def _distinct(paths: Sequence[str]) -> list[str]:
    if not paths:
        raise _refused("name at least one directory")
    resolved = [Path(path).resolve() for path in paths]
    for path in paths:
        if resolved.count(Path(path).resolve()) > 1:
            raise _refused(f"{path} is named twice")
        if not is_begun(path):
            raise _refused(f"{path} holds no data of a node")
    return list(paths)


def _open(path: str, closing: ExitStack) -> Open:
    directory = DataDirectory(path)
    closing.callback(directory.close)
    closing.callback(directory.make_private)
    if directory.is_new:
        raise _refused(f"{path} holds no data of a node: its creation was interrupted")
    database = RocksDatabase(directory.database, create=False)
    closing.callback(database.close)
    return Open(path, database, _look(path, database))


def _look(path: str, database: RocksDatabase) -> DirectoryContents:
    try:
        return survey(database, LIMITS)
    except NoMember:
        raise _refused(f"the node in {path} never was a member of a cluster") from None
    except NewerVersion:
        raise _refused(
            f"the cluster of {path} was upgraded to a newer version: use that version"
        ) from None
    except DamagedLog as error:
        raise _refused(f"the data in {path} is damaged: {error}; it was left as it is") from error


def _recover(best: Open, cluster: bytes, sessions_skipped: int) -> None:
    try:
        recover(best.database, LIMITS, cluster, sessions_skipped=sessions_skipped)
    except DamagedLog as error:
        raise _refused(f"the data in {best.path} cannot be recovered: {error}") from error


def _refuse_strange(opened: list[Open]) -> None:
    first = opened[0]
    for each in opened[1:]:
        if each.contents.cluster != first.contents.cluster:
            clusters = f"{first.contents.cluster.hex()} and {each.contents.cluster.hex()}"
            raise _refused(f"{first.path} and {each.path} are of two clusters, {clusters}")
    nodes = [each.contents.node for each in opened]
    if len(set(nodes)) < len(nodes):
        raise _refused("two of the directories are of the same node")


def _refused(reason: str) -> ActorFailure:
    return ActorFailure("StorageError", reason, lasting=True)
