"""Log retention: the compaction of the log, except for entries that a snapshot reader needs."""

from protocol.storage.log_store import LogStore
from protocol.storage.snapshot_source import SnapshotReading, SnapshotSource


class LogRetention:
    """Compacts one node's log."""

    def __init__(self, store: LogStore, source: SnapshotSource) -> None:
        self._store = store
        self._source = source
        self._applied_durably = 0

    def compact(self, applied_durably: int) -> list[str]:
        """Drop old entries that are durably applied, and that no snapshot reader needs.

        A follower that reads too slowly restarts with a newer snapshot; returns a warning for each.
        """
        limit = self._applied_durably = applied_durably
        warnings: list[str] = []
        if self._source.is_read:
            for reader, reading in self._source.release_slow(self._is_too_slow):
                held = applied_durably - reading.log_after
                warnings.append(reading.end_in_words(reader, held))
            limit = min(limit, self._source.oldest_index(limit))
        self._store.compact(limit)
        return warnings

    def _is_too_slow(self, reading: SnapshotReading) -> bool:
        """Whether too much log would be retained for a reader.

        Unapplied entries do not count: this follower may be needed to commit them, and a newer
        snapshot would not include them.
        """
        return self._store.is_held_too_long(reading.log_after, self._applied_durably, reading.read)
