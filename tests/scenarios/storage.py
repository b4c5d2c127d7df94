"""Storage of a scenario's node: the real storage writer, on a disk with crashes.

The payload ``x`` of a proposal stands for a write of the key ``x``, so that logs fill tables and
tables become snapshots.
"""

from random import Random

import pytest

from protocol.compaction import LogLimits, LogSize
from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.messages.client import ReadBatch
from protocol.messages.gateway import ReadsDone
from protocol.messages.replicator import Recovered
from protocol.messages.storage import Append, Commit, ReadAt
from protocol.state.commands import Batch, Insert, Write
from protocol.state.machine import APPLIED_KEY, MEMBERSHIP_KEY, Applied
from protocol.state.sessions import SessionRow
from protocol.storage import log_store
from protocol.storage.log_store import EVERYTHING, LogStart, LogStore
from protocol.storage.outbox import StorageOutbox
from protocol.storage.state_tables import state_tables
from protocol.storage.writer import StorageWriter
from protocol.wire import encode
from tests.harness.raft_cluster import Disk
from tests.simulation.disk import Disk as ForgetfulDisk

NO_LIMITS = LogLimits(entries=1 << 40, bytes=1 << 40)
SESSION = 1  # open from the beginning on, for all writes
NO_READS = encode(ReadBatch(()))


def batch_of(payload: bytes) -> Batch:
    """Return the write that a payload stands for; the same payload is a retry of it."""
    command = Insert(payload.decode(), payload)
    return Batch(b"", 0, 0, (Write(SESSION, int.from_bytes(payload, "big"), 0, command),))


class Choice(Random):
    """A choice in place of chance: the number of unsynced writes that survive a crash."""

    def __init__(self, kept: int) -> None:
        super().__init__(0)
        self._kept = kept

    def randint(self, a: int, b: int) -> int:
        """Return the choice, within the range."""
        return max(a, min(b, self._kept))


class StoredDisk(Disk):
    """A storage writer that handles one message a turn, on command."""

    def __init__(self, node: NodeId, cluster: bytes, membership: Membership) -> None:
        super().__init__(membership)
        self.start = LogStart()
        self.kept_by_crash = 0
        self._reads: dict[int, ReadAt] = {}
        self._tables = ForgetfulDisk(lambda _: None)
        self._writer: StorageWriter | None = None
        self._write_identity(node, cluster)
        self._write_state(membership)
        self._flush()

    @property
    def last_index(self) -> int:
        """The index of the last durable entry."""
        return self.start.index + len(self.entries)

    def term_at(self, index: int) -> int:
        """The term of the durable entry at an index; 0 where there is none."""
        if index == self.start.index:
            return self.start.term
        held = index - self.start.index - 1
        return self.entries[held].term if 0 <= held < len(self.entries) else 0

    def begin_with(
        self, hard_state: HardState, entries: tuple[LogEntry, ...], membership: Membership
    ) -> None:
        """Begin with a log, and with a membership that is in no entry."""
        store = LogStore(self._tables, NO_LIMITS)
        store.append(Append(0, hard_state, entries, (MembershipAt(0, membership),)))
        self._write_state(membership)
        self._flush()

    def recover(self, node: NodeId, cluster: bytes, window_entries: int | None) -> Recovered:
        """Lose what a crash loses; return what the next incarnation recovers."""
        self.unwritten.clear()
        self.untold.clear()
        self._reads.clear()
        self._tables.crash(Choice(self.kept_by_crash))
        self._writer = StorageWriter(self._tables, NO_LIMITS)
        self._flush()
        with pytest.MonkeyPatch.context() as patch:
            if window_entries is not None:
                patch.setattr(log_store, "RECOVERED_ENTRIES", window_entries)
            (recovered,) = self._writer.recover().replicator
        assert isinstance(recovered, Recovered)
        assert (recovered.node, recovered.cluster) == (node, cluster)
        self.incarnation = recovered.incarnation
        self._look()
        return recovered

    def write(self) -> None:
        """Handle the oldest message, in a turn of its own."""
        message = self.unwritten.popleft()
        if isinstance(message, Commit):
            assert message.index <= self.last_index, "what is applied was written before"
        if isinstance(message, ReadAt):
            self._reads[message.number] = message
        self._open.step(message)
        self._take_turns()

    def compact(self) -> bool:
        """Drop as much of the log as possible; return whether any was dropped."""
        before = self.start
        size: LogSize = self._open._store._size
        size._limits = LogLimits(0, 0)
        # With a kept length of 0, every snapshot reader would count as too slow.
        self._open._source.release_slow = lambda is_too_slow: []  # type: ignore[method-assign] # noqa: ARG005
        self._open._retention.compact(self._open._applied_durably)
        self._look()
        size._limits = NO_LIMITS
        return self.start != before

    @property
    def _open(self) -> StorageWriter:
        assert self._writer is not None, "a node lives"
        return self._writer

    def _take_turns(self) -> None:
        while True:
            for outbox in self._open.flush():
                if self._tables.syncing:
                    self._flush()
                self._tell(outbox)
            if not self._open.has_work:
                break
        self._look()

    def _tell(self, outbox: StorageOutbox) -> None:
        self.untold.extend(outbox.replicator)
        for done in outbox.gateway:
            if isinstance(done, ReadsDone):
                self.served.append(self._reads.pop(done.number))

    def _look(self) -> None:
        """Note the disk's content for the judge and the portrait."""
        store = self._open._store
        self.start, self.hard_state, self.memberships = (
            store.start,
            store.hard_state,
            store.memberships,
        )
        self.entries = list(store.slice(self.start.index + 1, EVERYTHING))
        self.applied_index = self._open._machine.applied_index

    def _write_identity(self, node: NodeId, cluster: bytes) -> None:
        store = LogStore(self._tables, NO_LIMITS)
        store.begin(node)
        store.adopt_cluster(cluster)

    def _write_state(self, membership: Membership) -> None:
        tables = state_tables(self._tables, 0)
        tables.values.put(APPLIED_KEY, encode(Applied(sessions_opened=SESSION)))
        tables.sessions.put(SESSION.to_bytes(8, "big"), encode(SessionRow(0, 0, {})))
        if membership.members:
            tables.values.put(MEMBERSHIP_KEY, encode(MembershipAt(0, membership)))

    def _flush(self) -> None:
        self._tables.write(sync=True)
        self._tables.finish_sync()
