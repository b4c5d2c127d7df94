"""Bugs in durability, log compaction and snapshots."""

from protocol.raft import snapshots
from protocol.raft.progress import Progress
from protocol.raft.state import RaftState
from protocol.storage.log_retention import LogRetention
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
            LogRetention.compact,
            "self._store.compact(limit)",
            "self._store.compact(self._store.last_index)",
        ),
    ),
    Bug(
        "a snapshot begins without what is applied and not written",
        "Raft §7",
        Edit(StorageWriter._read_snapshot, "self.write_tables()\n", "pass\n"),
    ),
    Bug(
        "state and log are exchanged in two writes",
        "redisraft #43; hashicorp/raft 1.4.0",
        Edit(
            StorageWriter._install,
            "self._load_state()\n",
            "self._database.write(sync=False)\n        self._load_state()\n",
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
        "an older snapshot takes the place of newer state",
        "Raft figure 13; etcd #18055",
        Edit(
            StorageWriter._install,
            "if snapshot.index <= self._machine.applied_index:",
            "if False:",
        ),
        Edit(
            snapshots.on_install_snapshot,
            "if message.chunk.start.snapshot.index <= state.commit_index:",
            "if False:",
        ),
    ),
    Bug(
        "a snapshot leaves the members as they were",
        "Raft §7",
        Edit(RaftState.install, "self.memberships = MembershipHistory((membership,))", "pass"),
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
    Bug(
        "a snapshot ends because of a log that cannot be cut yet",
        "Raft §7; skiff had this bug until it was looked for",
        Edit(
            LogStore.is_held_too_long,
            "between(after, limit)",
            "between(after, self.last_index)",
        ),
    ),
    Bug(
        "a lost chunk is never sent again",
        "Raft figure 13",
        Edit(Progress.is_chunk_overdue, "return self.chunk_beats == 0", "return False"),
    ),
)
