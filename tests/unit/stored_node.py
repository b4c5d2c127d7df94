"""A storage writer on a disk that forgets, handed its messages by a test."""

from collections.abc import Iterator
from random import Random
from typing import Any

from protocol.commands import Batch, Command, Insert, OpenSession, Write
from protocol.compaction import LogLimits
from protocol.entry import Entry, EntryKind, MembershipChange
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.replicator import Recovered, SnapshotRead
from protocol.messages.storage import Append, Commit, FetchSnapshot, StageChunk, StorageMessage
from protocol.snapshot import SnapshotChunk
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
    """A disk that fails after so many writes, and remembers which ones were synced."""

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
    """Leaves so many unsynced writes, or all of them, where a crash leaves it to chance."""

    def __init__(self, count: int) -> None:
        super().__init__(0)
        self._count = count

    def randint(self, a: int, b: int) -> int:
        """Return the count that was asked for, as far as there are so many."""
        return max(a, min(b, self._count))


class StoredNode:
    """A directory with the storage writer of its present life."""

    def __init__(self, node: NodeId = NODE, limits: LogLimits = UNLIMITED) -> None:
        self.disk = MortalDisk()
        self.limits = limits
        self._found(node)
        self._number = 0
        self.open()

    def _found(self, node: NodeId) -> None:
        """Give the directory a cluster whose only member it is."""
        store = LogStore(self.disk, self.limits)
        store.begin(node)
        store.adopt_cluster(CLUSTER)
        membership = Membership((Member(node, "node.example:9400", voter=True),))
        first = Entry(1, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(membership)))
        store.append(Append(0, HardState(1), (first,), (MembershipAt(1, membership),)))

    def open(self) -> None:
        """Begin a life."""
        self.disk.write(sync=True)
        self.disk.finish_sync()
        self.writer = StorageWriter(self.disk, self.limits)
        self.disk.finish_sync()

    def crash(self, kept: int = 0) -> None:
        """Lose what was not synced, but the first few writes of it, and begin the next life."""
        self.disk.crash(Kept(kept))
        self.open()

    def recover(self) -> Recovered:
        """Return what the replicator of this life begins with."""
        (recovered,) = self.writer.recover().replicator
        assert isinstance(recovered, Recovered)
        return recovered

    # --- turns

    def steps(self, *messages: StorageMessage) -> Iterator[StorageOutbox]:
        """Go through one turn; what a step wrote is durable before the next one."""
        for message in messages:
            self.writer.take(message)
        for outbox in self.writer.turn():
            if self.disk.syncing:
                self.disk.finish_sync()
            yield outbox

    def turn(self, *messages: StorageMessage) -> list[Any]:
        """Return all that one turn wants sent, in order."""
        return [
            message
            for outbox in self.steps(*messages)
            for message in (*outbox.replicator, *outbox.gateway)
        ]

    def append(self, *entries: Entry, hard_state: HardState | None = None) -> Append:
        """Return the next write of the replicator."""
        self._number += 1
        return Append(self._number, hard_state, entries, None)

    def apply(self, *entries: Entry) -> list[Any]:
        """Write entries and apply them, a turn each."""
        self.turn(self.append(*entries))
        return self.turn(Commit(entries[-1].index))

    # --- snapshots

    def first_chunk(self, reader: bytes = PEER) -> SnapshotChunk:
        """Begin to read a snapshot."""
        return chunk_of(self.turn(FetchSnapshot(reader, None)))

    def chunks(self, reader: bytes = PEER) -> list[SnapshotChunk]:
        """Return a whole snapshot."""
        chunks = [self.first_chunk(reader)]
        while not chunks[-1].last:
            assert len(chunks) < CHUNKS_MAX
            chunks.append(chunk_of(self.turn(FetchSnapshot(reader, chunks[-1].end))))
        return chunks

    def stage(self, *chunks: SnapshotChunk) -> list[Any]:
        """Hand chunks over, a turn each."""
        return [answer for chunk in chunks for answer in self.turn(StageChunk(chunk))]

    # --- looking

    @property
    def log(self) -> tuple[Entry, ...]:
        """All entries that are written."""
        return self.store.slice(0, EVERYTHING)

    @property
    def store(self) -> LogStore:
        """The log and what belongs to it."""
        return self.writer._store

    @property
    def applied_index(self) -> int:
        """How far the tables are."""
        return self.writer._machine.applied_index

    @property
    def rows(self) -> Rows:
        """The rows of the tables that count."""
        return self.rows_of(self.writer._table_sets.active)

    @property
    def spare_rows(self) -> Rows:
        """The rows of the tables that do not count."""
        return self.rows_of(self.writer._table_sets.spare)

    def rows_of(self, tables: StateTables) -> Rows:
        """Return all rows of some tables, those that are still to be written among them."""
        self.writer.write_tables()
        return tuple(dict(table.scan(b"")) for table in tables)


def chunk_of(answers: list[Any]) -> SnapshotChunk:
    """Return the chunk that the only answer brings."""
    (answer,) = answers
    assert isinstance(answer, SnapshotRead)
    assert answer.chunk is not None
    return answer.chunk


def entry(
    index: int, *commands: Command, term: int = 1, number: int = 0, origin: NodeId = NODE
) -> Entry:
    """Return an entry whose commands are of session 1, or open a session."""
    writes = tuple(
        Write(0, 0, 0, command)
        if isinstance(command, OpenSession)
        else Write(1, index * 100 + position, 0, command)
        for position, command in enumerate(commands)
    )
    return Entry(index, term, EntryKind.BATCH, encode(Batch(origin, 1, number, writes)))


def history(last: int, *, term: int = 1) -> list[Entry]:
    """Return entries 2 to the last one: the first opens session 1, the others write keys."""
    keys = (Insert(f"jobs/{index % 5}", b"%d" % index) for index in range(3, last + 1))
    return [
        entry(2, OpenSession(), term=term),
        *(entry(index, key, term=term) for index, key in enumerate(keys, start=3)),
    ]
