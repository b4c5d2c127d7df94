"""Storage writer: makes entries durable, applies what is committed, answers reads.

One turn takes in all messages that have arrived, and writes all appends as one synced batch.
Committed entries that are already durable are applied before the sync if a client or subscriber of
this node is waiting, so that it does not wait for the disk: should the tables be lost, replaying
the log gives the same result. Otherwise they are applied after the sync, so that the leader learns
sooner that its entries are durable.
"""

from collections.abc import Callable, Iterator
from typing import assert_never

from protocol.compaction import HistoryLimits, LogLimits
from protocol.entry import LogEntry
from protocol.messages.client import ReadSnapshot, SnapshotPart
from protocol.messages.gateway import (
    BatchApplied,
    Changes,
    ChangesLost,
    Following,
    Opened,
    ReadsDone,
    StatusReport,
)
from protocol.messages.replicator import ChunkStaged, Persisted, SnapshotInstalled, SnapshotRead
from protocol.messages.storage import (
    AdoptCluster,
    Append,
    Commit,
    EndSnapshot,
    FetchLog,
    FetchSnapshot,
    FollowChanges,
    IgnoreChanges,
    ReadAt,
    ReportStatus,
    StageChunk,
    StorageMessage,
)
from protocol.snapshot import SnapshotChunk, SnapshotId
from protocol.space import Shortage, SpaceLimits, SpaceWatch
from protocol.state.commands import Event
from protocol.state.machine import EntryOutcome, is_proposed_by
from protocol.state.tables import Database
from protocol.storage.backups import Backups
from protocol.storage.history import ChangeHistory
from protocol.storage.log_retention import LogRetention
from protocol.storage.log_store import LogStore
from protocol.storage.outbox import StorageOutbox
from protocol.storage.reader import Reader
from protocol.storage.snapshot_source import SnapshotSource
from protocol.storage.snapshot_staging import SnapshotStaging
from protocol.storage.state_tables import TableSets

APPLY_ENTRIES_MAX = 256  # in one turn, so that a backlog delays appends only briefly
APPLY_BYTES_MAX = 16 << 20  # likewise, of entries and the changes that they make
APPLY_OPERATIONS_MAX = 4_000  # likewise, as ``protocol.load`` counts them, or changes if more
READ_BYTES_MAX = 1 << 20  # likewise, of reads in one turn; a single read may exceed it
UNWRITTEN_ENTRIES_MAX = 16  # applied, but not yet in the tables on disk
UNWRITTEN_BYTES_MAX = 16 << 10  # likewise, with the results on their way to the clients

Fetch = FetchLog | FetchSnapshot | EndSnapshot | StageChunk  # processed in order, after writes


def _no_fail_point(_: str) -> None:
    """Ignore the steps of an installation; a test crashes the process at one."""


class StorageWriter:
    """Persists the replicator's writes, applies committed entries and serves reads."""

    def __init__(
        self,
        database: Database,
        limits: LogLimits,
        fail_point: Callable[[str], None] = _no_fail_point,
        space: SpaceLimits | None = None,
        history: HistoryLimits | None = None,
    ) -> None:
        self._database = database
        self._history_limits = history or HistoryLimits()
        self._fail_point = fail_point
        self._space = SpaceWatch(space or SpaceLimits())
        self._table_sets = TableSets(database)
        self._store = LogStore(database, limits)
        self._store.begin_incarnation()
        database.write(sync=True)
        self._load_state()
        self._staging = SnapshotStaging(database.table("raft_meta"), self._table_sets)
        self._source = SnapshotSource()
        self._retention = LogRetention(self._store, self._source)
        self._backups = Backups()
        self.node, self._incarnation = self._store.node, self._store.incarnation
        self._commit_index = self._machine.applied_index
        self._applied_durably = self._commit_index
        self._note_written()
        self._unapplied: dict[int, LogEntry] = {}  # as appended, kept to be applied
        self._appends: list[Append] = []
        self._fetches: list[Fetch] = []
        self._reads: list[ReadAt] = []
        self._followed = False
        self._outbox = StorageOutbox()

    @property
    def has_work(self) -> bool:
        """Whether committed entries remain to be applied, or due reads to be answered."""
        applied = self._machine.applied_index
        if applied < self._applicable_index():
            return True
        return any(read.index <= applied for read in self._reads)

    @property
    def appends(self) -> list[Append]:
        """The writes that the next turn makes durable."""
        return self._appends

    @property
    def revision(self) -> int:
        """The number of changes to the state since the cluster was founded."""
        return self._machine.revision

    def recover(self) -> StorageOutbox:
        """Return the messages that tell the other actors the directory's contents.

        Raises:
            DamagedLog: the log is not what this node can have written.
        """
        leases = self._table_sets.active.lease_times()
        self._outbox.replicator.append(self._store.recover(self._machine.applied_index, leases))
        opened = Opened(self.node, self._store.cluster, self._incarnation)
        self._outbox.gateway.append(opened)
        self._outbox.send_rights(self._machine.users)
        return self._take_outbox()

    def step(self, message: StorageMessage) -> None:
        """Queue a message for the next turn."""
        match message:
            case Append():
                self._appends.append(message)
            case Commit(index=index):
                self._commit_index = max(self._commit_index, index)
            case ReadAt():
                self._reads.append(message)
            case FetchLog() | FetchSnapshot() | EndSnapshot() | StageChunk():
                self._fetches.append(message)
            case AdoptCluster(cluster=cluster):
                self._store.adopt_cluster(cluster)
            case _:
                self._answer_gateway(message)

    def flush(self) -> Iterator[StorageOutbox]:
        """Apply if awaited, write, fetch, apply the rest; yield the messages of each step.

        Large changes reach the tables after that, so that the next sync is shorter.
        """
        writes = bool(self._appends)
        if not writes or self._is_result_awaited():
            self._apply()
            self._answer_reads()
            yield self._take_outbox()
        if writes:
            self._write()
            yield self._take_outbox()
        fetches, self._fetches = self._fetches, []
        for fetch in fetches:
            self._fetch(fetch)
            yield self._take_outbox()
        self._apply()
        self._answer_reads()
        if writes or fetches:
            self._outbox.warnings.extend(self._retention.compact(self._applied_durably))
        yield self._take_outbox()
        unwritten = self._machine.applied_index - self._applied_in_tables
        if unwritten > UNWRITTEN_ENTRIES_MAX or self._unwritten_bytes > UNWRITTEN_BYTES_MAX:
            self.write_tables()

    def _answer_gateway(self, message: ReportStatus | FollowChanges | IgnoreChanges) -> None:
        """Answer a message that asks about the state as stored now."""
        match message:
            case ReportStatus(number=number, status=status):
                applied_index, revision = self._machine.applied_index, self._machine.revision
                room = self._space.room
                report = StatusReport(number, status, applied_index, revision, room)
                self._outbox.gateway.append(report)
            case FollowChanges(nonce=nonce):
                self._followed = True
                self._outbox.gateway.append(Following(nonce, self._machine.revision))
            case IgnoreChanges():
                self._followed = False
            case unknown:
                assert_never(unknown)

    def set_time(self, now: float) -> None:
        """Tell the time, in seconds of the wall clock, for the age of changes and of scans."""
        self._reader.set_time(now)

    def look_at_space(self, free_bytes: int) -> Shortage:
        """Evaluate the free bytes of the disk; the next turn reports a change of shortage."""
        changed = self._space.look(free_bytes, self._machine.state_bytes)
        if changed is not None:
            self._outbox.replicator.append(changed)
        return self._space.room.shortage

    # --- writing

    def _write(self) -> None:
        """Make all appends of this turn durable with one sync, unless all are empty."""
        appends, self._appends = self._appends, []
        for append in appends:
            self._store.append(append)
            for entry in append.entries:
                self._unapplied[entry.index] = entry
        if any(append.changes_something for append in appends):
            self._sync()
        end = (self._store.last_term, self._store.last_index)
        self._outbox.replicator.append(Persisted(appends[-1].number, self._incarnation, *end))

    def _sync(self) -> None:
        self._database.write(sync=True)
        self._applied_durably = self._machine.applied_index
        self._note_written()

    def write_tables(self) -> None:
        """Write applied changes before a scan, or when too many are buffered.

        Otherwise they are written with the next entries. No sync is needed: the log can be
        replayed.
        """
        if self._applied_in_tables < self._machine.applied_index:
            self._database.write(sync=False)
            self._note_written()

    def _note_written(self) -> None:
        self._applied_in_tables = self._machine.applied_index
        self._unwritten_bytes = 0

    # --- applying

    def _is_result_awaited(self) -> bool:
        """Whether a client or subscriber of this node waits for the entries that can be applied."""
        if self._reads or self._followed:
            return True
        for index in range(self._machine.applied_index + 1, self._apply_until() + 1):
            entry = self._unapplied.get(index)
            if entry is not None and is_proposed_by(entry, self.node):
                return True
        return False

    def _applicable_index(self) -> int:
        """Return the last index at which the log on disk is known to be committed.

        Queued appends may replace entries on disk that an earlier leader had sent.
        """
        if not self._appends:
            return min(self._commit_index, self._store.last_index)
        replaced = [append.entries[0].index for append in self._appends if append.entries]
        return min(self._commit_index, self._store.last_index, *[first - 1 for first in replaced])

    def _apply_until(self) -> int:
        return min(self._applicable_index(), self._machine.applied_index + APPLY_ENTRIES_MAX)

    def _apply(self) -> None:
        """Apply committed entries; report the results of this node's proposals, and changes."""
        last = self._apply_until()
        if self._machine.applied_index >= last:
            return
        events: list[Event] = []
        left = APPLY_OPERATIONS_MAX
        while left > 0 and self._machine.applied_index < last:
            entry = self._next_entry()
            outcome = self._machine.apply(entry)
            self._report(entry, outcome, events)
            left -= max(outcome.load, len(outcome.events))
            left = 0 if self._unwritten_bytes > APPLY_BYTES_MAX else left
        last = self._machine.applied_index
        self._machine.store_progress()
        self._outbox.note_leases(last, self._machine.take_lease_changes())
        self._outbox.send_rights(self._machine.users)
        self._backups.end_idle(last)
        self._reader.end_idle(self._machine.revision)
        if events and self._followed:
            self._outbox.gateway.append(Changes(tuple(events)))

    def _next_entry(self) -> LogEntry:
        index = self._machine.applied_index + 1
        entry = self._unapplied.pop(index, None) or self._store.entry_at(index)
        assert entry is not None, f"entry {index} is committed and not in the log"
        self._unwritten_bytes += len(entry.payload)
        return entry

    def _report(self, entry: LogEntry, outcome: EntryOutcome, events: list[Event]) -> None:
        if outcome.events:
            self._unwritten_bytes += self._history.add(outcome.events)
            events.extend(outcome.events)
        if outcome.fault:
            self._outbox.report_fault(entry, outcome.fault)
        if outcome.origin == self.node and outcome.incarnation == self._incarnation:
            index = self._machine.applied_index
            self._outbox.gateway.append(BatchApplied(outcome.number, index, outcome.results))

    def _answer_reads(self) -> None:
        """Answer due reads, up to the limit of one turn.

        The gateway asks again for the rest of a batch, so that appends are not delayed.
        """
        waiting: list[ReadAt] = []
        left = READ_BYTES_MAX
        for read in self._reads:
            if read.index > self._machine.applied_index or left <= 0:
                waiting.append(read)
                continue
            served = self._reader.serve(read.payload, self._machine.revision, left)
            left -= served.weight
            done = ReadsDone(read.number, served.outcomes, read.confirmed, served.behind)
            self._outbox.gateway.append(done)
        self._reads = waiting

    # --- log and snapshots

    def _fetch(self, message: Fetch) -> None:
        """Read for a follower that is far behind, or stage a chunk as such a follower."""
        match message:
            case FetchLog():
                self._read_log(message)
            case FetchSnapshot():
                self._read_snapshot(message)
            case EndSnapshot(reader=reader):
                self._source.end(reader)
            case StageChunk(chunk=chunk):
                self._stage(chunk)
            case unknown:
                assert_never(unknown)

    def _read_log(self, message: FetchLog) -> None:
        self._source.needs_log_after(message.peer, message.match_index)
        read = self._store.slice_for(message.peer, message.from_index, message.bytes_max)
        self._outbox.replicator.append(read)

    def _read_snapshot(self, message: FetchSnapshot) -> None:
        if message.position is None:
            self.write_tables()
            self._source.begin(message.reader, self._here(), self._table_sets.active.view())
        chunk = self._source.read(message.reader, message.position)
        self._outbox.replicator.append(SnapshotRead(message.reader, chunk))

    def _read_for_backup(self, request: ReadSnapshot, user: bytes) -> SnapshotPart:
        return self._backups.read(request, user, self._here(), self._table_sets.active)

    def _here(self) -> SnapshotId:
        return SnapshotId(self._machine.applied_index, self._machine.applied_term)

    def _stage(self, chunk: SnapshotChunk) -> None:
        staged = self._staging.take(chunk)
        self._fail_point("staged")
        position = self._staging.position
        if staged and chunk.last and self._install(chunk.end.snapshot):
            return
        self._database.write(sync=False)
        self._outbox.replicator.append(ChunkStaged(position))

    def _install(self, snapshot: SnapshotId) -> bool:
        """Replace state and log by the snapshot, in one write, unless it is older."""
        self._sync()
        self._fail_point("whole")
        self._staging.end()
        if snapshot.index <= self._machine.applied_index:
            return False
        if flaw := self._staging.flaw(snapshot):
            self._outbox.errors.append(flaw)
            return False
        self._table_sets.active.clear()
        self._table_sets.switch()
        self._load_state()
        membership = self._machine.membership
        self._store.begin_after_snapshot(snapshot.index, snapshot.term, membership)
        self._unapplied.clear()
        self._fail_point("switching")
        self._sync()
        self._fail_point("installed")
        self._outbox.gateway.append(ChangesLost(self._machine.revision))
        self._machine.users.has_changed = True
        self._outbox.send_rights(self._machine.users)
        leases = self._table_sets.active.lease_times()
        installed = SnapshotInstalled(snapshot.index, snapshot.term, membership, leases)
        self._outbox.replicator.append(installed)
        return True

    def _load_state(self) -> None:
        tables = self._table_sets.active
        self._machine = tables.machine()
        changes, meta = self._database.table("changes"), self._database.table("raft_meta")
        self._history = ChangeHistory(changes, meta, self._history_limits, self._machine.revision)
        self._reader = Reader(
            tables, self._machine, self.write_tables, self._read_for_backup, self._history
        )

    def _take_outbox(self) -> StorageOutbox:
        outbox, self._outbox = self._outbox, StorageOutbox()
        return outbox
