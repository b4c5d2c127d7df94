"""The owner of the data directory: makes durable, applies what is committed, answers reads.

One turn takes in everything that has arrived. Its writes go to disk as one synced batch; what
is committed and already durable is applied before that, so that nobody who waits for a result
also waits for the disk.
"""

import logging
from collections.abc import Sequence
from typing import assert_never

from actors.actor import NEVER, Surroundings, run
from actors.data_directory import DataDirectory
from actors.database import Database
from actors.log_store import LogStore
from actors.reading import Reader
from actors.sockets import Readable
from protocol.commands import Event
from protocol.config import NodeConfig
from protocol.entry import Entry
from protocol.node_messages import (
    AdoptCluster,
    Append,
    BatchApplied,
    Changes,
    Commit,
    FetchLog,
    FollowChanges,
    Following,
    GatewayMessage,
    IgnoreChanges,
    Opened,
    Persisted,
    ReadAt,
    ReadsDone,
    ReplicatorMessage,
    ReportStatus,
    StatusReport,
    StorageMessage,
)
from protocol.state_machine import Outcome, StateMachine
from protocol.wire import decode_for_storage, encode

APPLY_ENTRIES_MAX = 256  # in one turn, so that appends never wait long for a backlog

log = logging.getLogger("skiff.storage_writer")


class StorageWriter:
    """Writes what the replicator hands over, and says when it is durable."""

    def __init__(self, surroundings: Surroundings) -> None:
        sockets = surroundings.sockets
        self._inbox = sockets.inbox("storage")
        self._replicator = sockets.outbox("replicator")
        self._gateway = sockets.outbox("gateway")
        self._directory = DataDirectory(surroundings.config.dir)
        self._database = _open(self._directory, surroundings.config)
        self._store = LogStore(self._database)
        self._store.begin_incarnation()
        self._database.write(sync=True)
        self._machine = StateMachine(
            self._database.table("kv"),
            self._database.table("prefixes"),
            self._database.table("sessions"),
            self._database.table("sessions").scan(b""),
        )
        self._reader = Reader(self._database)
        self._node, self._incarnation = self._store.node, self._store.incarnation
        surroundings.whereabouts.node = self._node.hex()[:8]
        self._trace = surroundings.trace(self._node)
        self._commit_index = self._machine.applied_index
        self._unapplied: dict[int, Entry] = {}  # as appended, to be applied without a read
        self._appends: list[Append] = []
        self._reads: list[ReadAt] = []
        self._followed = False
        self._to_replicator: list[ReplicatorMessage] = []
        self._to_gateway: list[GatewayMessage] = []
        self._announce()
        surroundings.ready(self._node)

    def timeout(self) -> float:
        """Return at once while committed entries are left to apply."""
        return 0.0 if self._may_apply() else NEVER

    def turn(self, readable: Readable) -> None:
        """Take in what has arrived; apply, write, apply what that allowed, answer."""
        for frame in self._inbox.drain_single():
            for message in decode_for_storage(frame):
                self._take(message)
        self._apply()
        self._write()
        self._apply()
        self._answer_reads()
        self._send()

    def stop(self) -> float:
        """Nothing is left to do: what was promised is on disk."""
        return 0.0

    def close(self) -> None:
        """Close the database and let another node have the directory."""
        if self._trace is not None:
            self._trace.write()
        self._database.close()
        self._directory.close()

    def _announce(self) -> None:
        """Tell the other actors what the directory held."""
        recovered = self._store.recover(self._machine.applied_index)
        self._to_replicator.append(recovered)
        self._to_gateway.append(Opened(self._node, self._store.cluster, self._incarnation))
        log.info("opened at revision %d, index %d", self._machine.revision, self._store.last_index)
        self._send()

    def _take(self, message: StorageMessage) -> None:
        match message:
            case Append():
                self._appends.append(message)
            case Commit(index=index):
                self._note("receives", [message])
                self._commit_index = max(self._commit_index, index)
            case ReadAt():
                self._reads.append(message)
            case AdoptCluster(cluster=cluster):
                self._store.adopt_cluster(cluster)
            case _:
                self._tell(message)

    def _tell(self, message: FetchLog | ReportStatus | FollowChanges | IgnoreChanges) -> None:
        """Answer a question about what is stored by now."""
        match message:
            case FetchLog(peer=peer, from_index=first, bytes_max=bytes_max):
                self._write()
                self._to_replicator.append(self._store.slice_for(peer, first, bytes_max))
            case ReportStatus(number=number, status=status):
                revision = self._machine.revision
                report = StatusReport(number, status, self._machine.applied_index, revision)
                self._to_gateway.append(report)
            case FollowChanges(nonce=nonce):
                self._followed = True
                self._to_gateway.append(Following(nonce, self._machine.revision))
            case IgnoreChanges():
                self._followed = False
            case unknown:
                assert_never(unknown)

    def _write(self) -> None:
        """Make everything appended in this turn durable with one sync."""
        if not self._appends:
            return
        appends, self._appends = self._appends, []
        for append in appends:
            self._store.append(append)
            for entry in append.entries:
                self._unapplied[entry.index] = entry
        self._note("writes", appends)
        self._database.write(sync=True)
        end = (self._store.last_term, self._store.last_index)
        self._to_replicator.append(Persisted(appends[-1].number, self._incarnation, *end))
        self._note("sends", self._to_replicator)
        self._replicator.send(encode(self._to_replicator))
        self._to_replicator.clear()

    def _may_apply(self) -> bool:
        return self._machine.applied_index < self._applicable_index()

    def _applicable_index(self) -> int:
        """Return up to where the log on disk is the committed one.

        Entries that are still to be written may replace some that another leader had left here.
        """
        replaced = [append.entries[0].index for append in self._appends if append.entries]
        return min(self._commit_index, self._store.last_index, *[first - 1 for first in replaced])

    def _apply(self) -> None:
        """Apply what is committed; no sync, because the log can always be applied again."""
        if not self._may_apply():
            return
        events: list[Event] = []
        last = min(self._applicable_index(), self._machine.applied_index + APPLY_ENTRIES_MAX)
        while self._machine.applied_index < last:
            self._report(self._machine.apply(self._next_entry()), events)
        self._machine.store_progress()
        self._database.write(sync=False)
        if events and self._followed:
            self._to_gateway.append(Changes(tuple(events)))
        self._send()

    def _next_entry(self) -> Entry:
        index = self._machine.applied_index + 1
        entry = self._unapplied.pop(index, None) or self._store.entry_at(index)
        assert entry is not None, f"entry {index} is committed and not in the log"
        return entry

    def _report(self, outcome: Outcome, events: list[Event]) -> None:
        events.extend(outcome.events)
        if outcome.origin == self._node and outcome.incarnation == self._incarnation:
            applied = BatchApplied(outcome.number, self._machine.applied_index, outcome.results)
            self._to_gateway.append(applied)

    def _answer_reads(self) -> None:
        waiting: list[ReadAt] = []
        for read in self._reads:
            if read.index > self._machine.applied_index:
                waiting.append(read)
                continue
            outcomes = self._reader.serve(read.payload, self._machine.revision)
            self._to_gateway.append(ReadsDone(read.number, outcomes))
        self._reads = waiting

    def _send(self) -> None:
        if self._to_replicator:
            self._replicator.send(encode(self._to_replicator))
            self._to_replicator.clear()
        if self._to_gateway:
            self._note("sends", self._to_gateway)
            self._gateway.send(encode(self._to_gateway))
            self._to_gateway.clear()

    def _note(self, verb: str, messages: Sequence[object]) -> None:
        if self._trace is not None:
            self._trace.note(verb, messages)


def _open(directory: DataDirectory, config: NodeConfig) -> Database:
    """Open the database; a new one gets its identity, and its cluster where it founds one."""
    if not directory.is_new:
        return Database(directory.database, create=False)
    directory.begin_generation()
    database = Database(directory.database, create=True)
    store = LogStore(database)
    if config.join_cluster or config.standby:
        store.begin()
    else:
        store.found(config.address)
    database.write(sync=True)
    directory.complete_generation()
    return database


if __name__ == "__main__":
    run("storage_writer", StorageWriter)
