"""Bugs in what is on disk, when it is there, and how long the log is kept; and in snapshots."""

from protocol.storage.log_store import LogStore
from protocol.storage.snapshot_staging import SnapshotStaging
from protocol.storage.state_tables import StateView
from protocol.storage.writer import StorageWriter
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "storage calls durable what it has not synced",
        "Raft figure 2; tikv #1610",
        Edit(StorageWriter._write, "self._sync()", "self._database.write(sync=False)"),
    ),
    Bug(
        "a vote without entries is not synced",
        "Raft figure 2",
        Edit(
            StorageWriter._write,
            "self._sync()",
            "self._database.write(sync=any(append.entries for append in appends))",
        ),
    ),
    Bug(
        "all that is in the log is applied, committed or not",
        "Raft §5.3; skiff-rs",
        Edit(
            StorageWriter._applicable_index,
            "min(self._commit_index, self._store.last_index,",
            "min(1 << 62, self._store.last_index,",
        ),
    ),
    Bug(
        "entries that this turn replaces are applied",
        "etcd/raft, asynchronous storage writes",
        Edit(
            StorageWriter._applicable_index,
            "*[first - 1 for first in replaced]",
            "",
        ),
    ),
    Bug(
        "what was applied and how far are two writes",
        "redisraft #52; skiff-rs",
        Edit(
            StorageWriter._apply,
            "self._machine.store_progress()\n",
            "self._database.write(sync=False)\n        self._machine.store_progress()\n",
        ),
    ),
    Bug(
        "entries that were replaced come back after a restart",
        "Raft §5.3",
        Edit(LogStore.append, "if first.index <= self.last_index:", "if False:"),
    ),
    Bug(
        "the log is cut before it is applied",
        "Raft §7",
        Edit(
            StorageWriter._compact,
            "self._store.compact(limit)",
            "self._store.compact(self._store.last_index)",
        ),
    ),
    Bug(
        "the log begins with a gap after the snapshot",
        "redisraft #43",
        Edit(
            LogStore.begin_after_snapshot,
            "self._start_after(LogStart(index, term))",
            "self._start_after(LogStart(index - 1, term))",
        ),
    ),
    Bug(
        "a snapshot has no sessions",
        "dissertation §6.3",
        Edit(StateView.rows_after, "range(first_table, len(self))", "range(first_table, 2)"),
    ),
    Bug(
        "a chunk is taken wherever it begins",
        "Raft figure 13",
        Edit(
            SnapshotStaging.take,
            "if chunk.start != self._position or not chunk.is_intact:",
            "if not chunk.is_intact:",
        ),
    ),
)
