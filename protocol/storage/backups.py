"""Backups: the snapshots that backups read, one each; the log is not retained for them."""

from protocol.messages.client import ReadSnapshot, SnapshotPart
from protocol.snapshot import SnapshotId
from protocol.storage.snapshot_source import SnapshotSource
from protocol.storage.state_tables import StateTables

BACKUPS_MAX = 4  # concurrent; each snapshot keeps old rows on disk
IDLE_ENTRIES_MAX = 20_000  # entries applied without a read, after which a backup is ended


class Backups:
    """The backups that are being taken from this node."""

    def __init__(self) -> None:
        self._source = SnapshotSource()
        self._read_at: dict[bytes, int] = {}  # applied index at each one's last read, in order

    def read(self, question: ReadSnapshot, here: SnapshotId, tables: StateTables) -> SnapshotPart:
        """Return a chunk; repeating its first request does not restart a backup."""
        backup = question.backup
        if question.position is None and backup not in self._read_at:
            self._begin(backup, here, tables)
        chunk = self._source.read(backup, question.position)
        if self._read_at.pop(backup, None) is not None:
            self._read_at[backup] = here.index
        return SnapshotPart(chunk, tables.rows_estimate())

    def end_idle(self, applied_index: int) -> None:
        """End idle backups, complete ones included: no message reports their end."""
        for backup, index in list(self._read_at.items()):
            if applied_index > index + IDLE_ENTRIES_MAX:
                self._end(backup)

    def _begin(self, backup: bytes, here: SnapshotId, tables: StateTables) -> None:
        """Take a snapshot for a backup; at the limit, end the backup that was idle for longest."""
        if len(self._read_at) == BACKUPS_MAX:
            self._end(next(iter(self._read_at)))
        self._read_at[backup] = here.index
        self._source.begin(backup, here, tables.view())

    def _end(self, backup: bytes) -> None:
        del self._read_at[backup]
        self._source.end(backup)
