"""Restoring: creates a data directory from a backup."""

import secrets
import uuid
from collections.abc import Iterable

from actors.audit import AuditTrail
from actors.data_directory import DataDirectory
from actors.database import RocksDatabase
from actors.failure import ActorFailure
from protocol.address import Address
from protocol.config import NodeConfig
from protocol.snapshot import SnapshotChunk
from protocol.storage.restoring import Restoring

SESSIONS_SKIPPED = 1 << 40  # more than a cluster opens after a backup; restores add random ones


def restore(path: str, chunks: Iterable[SnapshotChunk], source: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Create the directory of the only member of a new cluster from a snapshot.

    Returns the ids of the node and of the cluster. The node corrects its address in the membership
    when it starts. The audit trail of the directory begins with the ``source``.

    Raises:
        ActorFailure: the directory is in use, not empty or not writable.
        DamagedSnapshot: the chunks are damaged or incomplete; the directory can be used again.
    """
    directory = DataDirectory(path)
    try:
        if not directory.is_new:
            raise ActorFailure(
                "StorageError",
                f"{path} already holds the data of a node; choose an empty or a new directory",
                lasting=True,
            )
        directory.begin_generation(restoring=True)
        restored = _fill(directory, chunks)
        directory.complete_generation()
        AuditTrail(path).write_offline("Restore", f"{source} as cluster {restored[1].hex}")
    finally:
        directory.make_private()
        directory.close()
    return restored


def _fill(directory: DataDirectory, chunks: Iterable[SnapshotChunk]) -> tuple[uuid.UUID, uuid.UUID]:
    database = RocksDatabase(directory.database, create=True)
    try:
        restoring = Restoring(database, NodeConfig().log_limits)
        for chunk in chunks:
            restoring.take(chunk)
        node, cluster = uuid.uuid4(), uuid.uuid4()
        restoring.finish(
            node.bytes,
            cluster.bytes,
            Address("127.0.0.1"),
            sessions_skipped=SESSIONS_SKIPPED + secrets.randbits(40),
        )
    finally:
        database.close()
    return node, cluster
