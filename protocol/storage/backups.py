"""The snapshots that backups read: each has its own, and the log is not held for any of them."""

from protocol.messages.client import ReadSnapshot, SnapshotPart
from protocol.snapshot import SnapshotId
from protocol.storage.snapshot_source import SnapshotSource
from protocol.storage.state_tables import StateTables

BACKUPS_MAX = 4  # at once; each keeps old rows on disk
PATIENCE_ENTRIES = 20_000  # a backup that reads nothing while so many come is ended


class Backups:
    """The backups that are being taken from this node."""

    def __init__(self) -> None:
        self._source = SnapshotSource()
        self._read_at: dict[bytes, int] = {}  # what was applied at each one's latest read, in order

    def read(self, question: ReadSnapshot, here: SnapshotId, tables: StateTables) -> SnapshotPart:
        """Return a chunk; a backup that has begun is not begun again by the same first question."""
        backup = question.backup
        if question.position is None and backup not in self._read_at:
            self._begin(backup, here, tables)
        chunk = self._source.read(backup, question.position)
        if self._read_at.pop(backup, None) is not None:
            self._read_at[backup] = here.index
        return SnapshotPart(chunk, tables.rows_estimate())

    def end_idle(self, applied_index: int) -> None:
        """End those that have read nothing for long, or are whole: no message says that."""
        for backup, index in list(self._read_at.items()):
            if applied_index > index + PATIENCE_ENTRIES:
                self._end(backup)

    def _begin(self, backup: bytes, here: SnapshotId, tables: StateTables) -> None:
        """Give a backup the present state, in place of the one that has been idle for longest."""
        if len(self._read_at) == BACKUPS_MAX:
            self._end(next(iter(self._read_at)))
        self._read_at[backup] = here.index
        self._source.begin(backup, here, tables.view())

    def _end(self, backup: bytes) -> None:
        del self._read_at[backup]
        self._source.end(backup)
