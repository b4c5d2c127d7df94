"""Storage writer: the process that owns the data directory, around the storage core."""

import logging
import os
import signal
import time
import uuid
from collections.abc import Sequence

from actors.actor import ActorContext
from actors.data_directory import DataDirectory, is_begun
from actors.database import RocksDatabase
from actors.disk_space import DiskSpace
from actors.failure import ActorFailure, damaged_data
from actors.port import Readable
from actors.sockets import BindFailed, check_free
from protocol.config import NodeConfig
from protocol.messages.replicator import ReplicatorMessage, SnapshotInstalled
from protocol.messages.storage import Commit
from protocol.space import Shortage, SpaceWatch
from protocol.storage.log_store import DamagedLog, LogStore
from protocol.storage.outbox import StorageOutbox
from protocol.storage.writer import StorageWriter
from protocol.wire import decode_for_storage, encode

LOOK_SECONDS = 1.0  # between measurements of the disk's space while nothing is written
SHORTAGES = {
    Shortage.NONE: "there is space for inserts again",
    Shortage.QUOTA: "the state has reached its quota: inserts are refused until some is removed",
    Shortage.LOW: "the disk has less space left than its reserve: this node takes no inserts",
    Shortage.CRITICAL: "the disk is almost full: this node takes no inserts",
}
FAIL_POINT = "SKIFF_FAIL_POINT"  # the step at which a test has this process killed

log = logging.getLogger("skiff.storage_writer")


class StorageActor:
    """Runs the storage core, and sends the messages of each step before the next one."""

    def __init__(self, context: ActorContext) -> None:
        sockets = context.sockets
        self._inbox = sockets.inbox("storage")
        self._replicator = sockets.outbox("replicator")
        self._gateway = sockets.outbox("gateway")
        _check_ports(context)
        self._directory = DataDirectory(context.config.dir)
        self._space = DiskSpace(context.config.dir, context.config.disk_reserve_bytes)
        self._database = self._open(context.config)
        self._core = StorageWriter(
            self._database,
            context.config.log_limits,
            _die_at_fail_point,
            context.config.space_limits,
            context.config.history_limits,
        )
        self._shortage = Shortage.NONE
        self._look_at = 0.0
        self._look_at_space()
        context.log_fields.node = self._core.node.hex()[:8]
        self._trace = context.trace(self._core.node)
        self._announce(context.config.dir)
        context.ready(self._core.node)

    def timeout(self) -> float:
        """Return 0 while the core has work, else the seconds until the next space measurement."""
        return 0.0 if self._core.has_work else self._look_at - time.monotonic()

    def turn(self, readable: Readable) -> None:
        """Process the messages that have arrived, step by step."""
        for frame in self._inbox.drain_single():
            for message in decode_for_storage(frame):
                if isinstance(message, Commit):
                    self._trace.note("receives", [message])
                self._core.step(message)
        self._trace.note("writes", self._core.appends)
        if self._core.appends or self._look_at <= time.monotonic():
            self._look_at_space()
        for outbox in self._core.flush():
            self._send(outbox)

    def stop(self) -> float:
        """Write applied changes; everything acknowledged is already on disk."""
        self._core.write_tables()
        return 0.0

    def close(self) -> None:
        """Close the database and release the directory."""
        self._trace.write()
        self._database.close()
        self._directory.close()

    def _open(self, config: NodeConfig) -> RocksDatabase:
        """Open the database; release the ballast first if the disk is full."""
        watch = SpaceWatch(config.space_limits)
        watch.look(self._space.free_bytes(), 0)
        self._space.keep_ballast(watch.room.shortage)
        return _open(self._directory, config)

    def _look_at_space(self) -> None:
        """Measure the free space for the core, each second and before each write."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._core.set_time(time.time())
        before, self._shortage = (
            self._shortage,
            self._core.look_at_space(self._space.free_bytes()),
        )
        self._space.keep_ballast(self._shortage)
        if self._shortage is not before:
            log.warning("%s", SHORTAGES[self._shortage])

    def _announce(self, directory: str) -> None:
        """Send the recovered state to the other actors."""
        try:
            recovered = self._core.recover()
        except DamagedLog as error:
            raise damaged_data(directory, error) from error
        log.info("opened at revision %d", self._core.revision)
        self._send(recovered)

    def _send(self, outbox: StorageOutbox) -> None:
        for sentence in outbox.warnings:
            log.warning("%s", sentence)
        for sentence in outbox.errors:
            log.error("%s", sentence)
        if outbox.replicator:
            self._log_installed(outbox.replicator)
            self._trace.note("sends", outbox.replicator)
            self._replicator.send(encode(outbox.replicator))
        if outbox.gateway:
            self._trace.note("sends", outbox.gateway)
            self._gateway.send(encode(outbox.gateway))

    def _log_installed(self, messages: Sequence[ReplicatorMessage]) -> None:
        for message in messages:
            if isinstance(message, SnapshotInstalled):
                log.info("installed the leader's snapshot of index %d", message.index)


def _check_ports(context: ActorContext) -> None:
    """Check that the ports are free before a new directory is created.

    With an existing directory, an earlier incarnation may still hold the ports; its lock is checked
    instead.
    """
    if is_begun(context.config.dir):
        return
    try:
        check_free(context.config.bind_address.endpoints, context.sockets.keys)
    except BindFailed as error:
        raise ActorFailure("RPCBindFailed", str(error), lasting=True) from error


def _open(directory: DataDirectory, config: NodeConfig) -> RocksDatabase:
    """Open the database; a new one is given a node id."""
    if not directory.is_new:
        return RocksDatabase(directory.database, create=False)
    _refuse_half_restored(directory, config)
    directory.begin_generation()
    database = RocksDatabase(directory.database, create=True)
    LogStore(database, config.log_limits).begin(uuid.uuid4().bytes)
    database.write(sync=True)
    directory.complete_generation()
    return database


def _refuse_half_restored(directory: DataDirectory, config: NodeConfig) -> None:
    """Refuse to start empty in a directory whose restore was interrupted."""
    if directory.was_restoring:
        raise ActorFailure(
            "StorageError",
            f"{config.dir} holds no state yet: a restore was interrupted here; run 'skiff restore' "
            "again, or choose another directory",
            lasting=True,
        )


def _die_at_fail_point(step: str) -> None:
    if os.environ.get(FAIL_POINT) == step:
        os.kill(os.getpid(), signal.SIGKILL)
