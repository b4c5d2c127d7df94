"""Past: writes many entries to the directories of stopped nodes, the same to each.

Over the network, a million entries take most of an hour, because each waits for the previous
one's sync. Here the storage core writes the same, with many entries to a sync.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec

from actors.data_directory import DataDirectory
from actors.database import RocksDatabase
from protocol.compaction import LogLimits
from protocol.entry import EntryKind, LogEntry
from protocol.messages.replicator import Recovered
from protocol.messages.storage import Append, Commit
from protocol.state.commands import Batch, Insert, Write
from protocol.storage.writer import StorageWriter
from protocol.wire import encode

TURN_ENTRIES = 500


class Past(msgspec.Struct, frozen=True):
    """A past: one insert in each entry, in an open session."""

    entries: int
    keys: int
    value_bytes: int
    session: int
    limits: LogLimits

    def key(self, number: int) -> str:
        """Return the key that the entry of this number writes."""
        return f"past/{number % self.keys:08}"

    def value(self, number: int) -> bytes:
        """Return the value that the entry of this number writes."""
        return number.to_bytes(8, "big").rjust(self.value_bytes, b".")

    def newest(self, key_number: int) -> bytes:
        """Return the final value of a key."""
        return self.value(range(key_number, self.entries, self.keys)[-1])


def live_through(directories: list[Path], past: Past) -> int:
    """Write a past into directories with equal logs; return the index of its last entry."""
    with ProcessPoolExecutor(len(directories), get_context("spawn")) as processes:
        ends = set(processes.map(_live_through, directories, itertools.repeat(past)))
    assert len(ends) == 1, f"the logs did not end alike: now they end at {ends}"
    return ends.pop()


def _live_through(path: Path, past: Past) -> int:
    directory = DataDirectory(str(path))
    database = RocksDatabase(directory.database, create=False)
    try:
        return _write(StorageWriter(database, past.limits), past)
    finally:
        database.close()
        directory.close()


def _write(writer: StorageWriter, past: Past) -> int:
    (recovered,) = writer.recover().replicator
    assert isinstance(recovered, Recovered)
    start = (recovered.prev_index, recovered.prev_term)
    end, term = max([(entry.index, entry.term) for entry in recovered.entries], default=start)
    entries = _entries(past, end, term)
    for number in itertools.count(1):
        part = tuple(itertools.islice(entries, TURN_ENTRIES))
        if not part and not writer.has_work:
            return end
        if part:
            end = part[-1].index
            writer.step(Append(number, None, part, None))
            writer.step(Commit(end))
        for _ in writer.flush():
            pass
    raise AssertionError("the numbers have ended")


def _entries(past: Past, after: int, term: int) -> Iterator[LogEntry]:
    for number in range(past.entries):
        insert = Insert(past.key(number), encode(past.value(number)))
        batch = Batch(bytes(16), 0, 0, (Write(past.session, number + 1, number + 1, insert),))
        yield LogEntry(after + 1 + number, term, EntryKind.BATCH, encode(batch))
