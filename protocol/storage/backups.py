"""Backups: the snapshots that backups read, one each; the log is not retained for them."""

from protocol.holdings import Holdings
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
        # By reader, the user and the backup: the applied index at its last read.
        self._read_at: Holdings[bytes, int] = Holdings(BACKUPS_MAX)

    def read(
        self, request: ReadSnapshot, user: bytes, here: SnapshotId, tables: StateTables
    ) -> SnapshotPart:
        """Return a chunk; repeating its first request does not restart a backup."""
        reader = user + request.backup
        is_known = self._read_at.drop(user, reader) is not None
        if request.position is None and not is_known:
            self._source.begin(reader, here, tables.view())
            is_known = True
        if is_known:
            self._read_at.add(user, reader, here.index)
            self._make_room()
        return SnapshotPart(self._source.read(reader, request.position), tables.rows_estimate())

    def end_idle(self, applied_index: int) -> None:
        """End idle backups, complete ones included: no message reports their end."""
        for user, reader, index in self._read_at:
            if applied_index > index + IDLE_ENTRIES_MAX:
                self._read_at.drop(user, reader)
                self._source.end(reader)

    def _make_room(self) -> None:
        """Beyond the limit, end the longest idle backup of the user that takes the most."""
        ended = self._read_at.make_room()
        if ended is not None:
            self._source.end(ended[0])
