"""Stored node: the real storage writer on a simulated disk, driven by a test."""

from collections.abc import Iterator
from random import Random
from typing import Any

from protocol.compaction import HistoryLimits, LogLimits
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.replicator import Recovered, SnapshotRead
from protocol.messages.storage import Append, Commit, FetchSnapshot, StageChunk, StorageMessage
from protocol.snapshot import SnapshotChunk
from protocol.state.commands import Batch, Command, Insert, OpenSession, Write
from protocol.storage.log_store import EVERYTHING, LogStore
from protocol.storage.outbox import StorageOutbox
from protocol.storage.state_tables import StateTables
from protocol.storage.writer import StorageWriter
from protocol.wire import encode
from tests.simulation.disk import Disk, DiskFailure

UNLIMITED = LogLimits(entries=1 << 40, bytes=1 << 40)
NODE, PEER, CLUSTER = (name.ljust(16, b"\0") for name in (b"node", b"peer", b"cluster"))
CHUNKS_MAX = 10_000
Rows = tuple[dict[bytes, bytes], ...]


class MortalDisk(Disk):
    """A disk that fails after a number of writes, and notes which ones were synced."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.writes_left: int | None = None
        self.syncs: list[bool] = []

    def write(self, *, sync: bool) -> None:
        """Write; this may have been the last time."""
        super().write(sync=sync)
        self.syncs.append(sync)
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left == 0:
                self.writes_left = None
                raise DiskFailure


class Kept(Random):
    """A fixed choice in place of chance: the number of unsynced writes that survive a crash."""

    def __init__(self, count: int) -> None:
        super().__init__(0)
        self._count = count

    def randint(self, a: int, b: int) -> int:
        """Return the chosen number, within the range."""
        return max(a, min(b, self._count))


class StoredNode:
    """A directory with the storage writer of its current incarnation."""

    def __init__(
        self,
        node: NodeId = NODE,
        limits: LogLimits = UNLIMITED,
        history: HistoryLimits | None = None,
    ) -> None:
        self.disk = MortalDisk()
        self.limits = limits
        self._history = history
        self._found(node)
        self._number = 0
        self.open()

    def _found(self, node: NodeId) -> None:
        """Make the node the only member of a cluster."""
        store = LogStore(self.disk, self.limits)
        store.begin(node)
        store.adopt_cluster(CLUSTER)
        membership = Membership((Member(node, "node.example:9400", voter=True),))
        first = LogEntry(1, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(membership)))
        store.append(Append(0, HardState(1), (first,), (MembershipAt(1, membership),)))

    def open(self) -> None:
        """Start an incarnation."""
        self.disk.write(sync=True)
        self.disk.finish_sync()
        self.writer = StorageWriter(self.disk, self.limits, history=self._history)
        self.disk.finish_sync()

    def crash(self, kept: int = 0) -> None:
        """Lose all unsynced writes except the first ``kept``, and restart."""
        self.disk.crash(Kept(kept))
        self.open()

    def recover(self) -> Recovered:
        """Return the state that the replicator recovers."""
        (recovered,) = self.writer.recover().replicator
        assert isinstance(recovered, Recovered)
        return recovered

    # --- turns

    def steps(self, *messages: StorageMessage) -> Iterator[StorageOutbox]:
        """Run one turn; the writes of a step are durable before the next."""
        for message in messages:
            self.writer.step(message)
        for outbox in self.writer.flush():
            if self.disk.syncing:
                self.disk.finish_sync()
            yield outbox

    def turn(self, *messages: StorageMessage) -> list[Any]:
        """Run one turn; return all messages that it sends, in order."""
        return [
            message
            for outbox in self.steps(*messages)
            for message in (*outbox.replicator, *outbox.gateway)
        ]

    def append(self, *entries: LogEntry, hard_state: HardState | None = None) -> Append:
        """Return the replicator's next append."""
        self._number += 1
        return Append(self._number, hard_state, entries, None)

    def apply(self, *entries: LogEntry) -> list[Any]:
        """Append entries and apply them, in a turn each."""
        self.turn(self.append(*entries))
        return self.turn(Commit(entries[-1].index))

    # --- snapshots

    def first_chunk(self, reader: bytes = PEER) -> SnapshotChunk:
        """Start to read a snapshot; return its first chunk."""
        return chunk_of(self.turn(FetchSnapshot(reader, None)))

    def chunks(self, reader: bytes = PEER) -> list[SnapshotChunk]:
        """Return a whole snapshot."""
        chunks = [self.first_chunk(reader)]
        while not chunks[-1].last:
            assert len(chunks) < CHUNKS_MAX
            chunks.append(chunk_of(self.turn(FetchSnapshot(reader, chunks[-1].end))))
        return chunks

    def stage(self, *chunks: SnapshotChunk) -> list[Any]:
        """Stage chunks, in a turn each."""
        return [answer for chunk in chunks for answer in self.turn(StageChunk(chunk))]

    # --- state

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """All written entries."""
        return self.store.slice(0, EVERYTHING)

    @property
    def store(self) -> LogStore:
        """The log store."""
        return self.writer._store

    @property
    def applied_index(self) -> int:
        """The applied index of the tables."""
        return self.writer._machine.applied_index

    @property
    def rows(self) -> Rows:
        """The rows of the active tables."""
        return self.rows_of(self.writer._table_sets.active)

    @property
    def spare_rows(self) -> Rows:
        """The rows of the spare tables."""
        return self.rows_of(self.writer._table_sets.spare)

    def rows_of(self, tables: StateTables) -> Rows:
        """Return all rows of a table set, pending ones included."""
        self.writer.write_tables()
        return tuple(dict(table.scan(b"")) for table in tables)


def chunk_of(answers: list[Any]) -> SnapshotChunk:
    """Return the chunk of the only reply."""
    (answer,) = answers
    assert isinstance(answer, SnapshotRead)
    assert answer.chunk is not None
    return answer.chunk


def entry(
    index: int, *commands: Command, term: int = 1, number: int = 0, origin: NodeId = NODE
) -> LogEntry:
    """Return an entry whose commands are of session 1, or open a session."""
    writes = tuple(
        Write(0, 0, 0, command)
        if isinstance(command, OpenSession)
        else Write(1, index * 100 + position, 0, command)
        for position, command in enumerate(commands)
    )
    return LogEntry(index, term, EntryKind.BATCH, encode(Batch(origin, 1, number, writes)))


def history(last: int, *, term: int = 1) -> list[LogEntry]:
    """Return entries 2 to the last one: the first opens session 1, the others write keys."""
    keys = (Insert(f"jobs/{index % 5}", b"%d" % index) for index in range(3, last + 1))
    return [
        entry(2, OpenSession(), term=term),
        *(entry(index, key, term=term) for index, key in enumerate(keys, start=3)),
    ]
