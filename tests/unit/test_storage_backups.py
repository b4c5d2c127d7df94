"""Backups in storage: consistent snapshots, several at a time, none held for ever."""

import msgspec
import pytest

from protocol.messages.client import ReadBatch, ReadSnapshot, SnapshotPart
from protocol.messages.storage import ReadAt
from protocol.snapshot import SnapshotChunk, SnapshotPosition, decode_rows
from protocol.state.commands import Insert
from protocol.storage import backups, snapshot_source
from protocol.storage.backups import BACKUPS_MAX
from protocol.wire import encode
from tests.harness.stored_node import Rows, StoredNode, entry, history

LAST = 12
ONE, OTHER = b"one", b"other"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_BYTES", 30)


@pytest.fixture
def node() -> StoredNode:
    """A node whose state has keys, prefixes and a session."""
    node = StoredNode()
    node.apply(*history(LAST))
    return node


def read(node: StoredNode, backup: bytes, position: SnapshotPosition | None) -> SnapshotPart:
    payload = encode(ReadBatch((ReadSnapshot(backup, position),)))
    (done,) = node.turn(ReadAt(1, 0, payload, confirmed=True))
    part = msgspec.msgpack.decode(done.outcomes[0], type=SnapshotPart)
    assert isinstance(part, SnapshotPart)
    return part


def chunk(node: StoredNode, backup: bytes, position: SnapshotPosition | None) -> SnapshotChunk:
    chunk = read(node, backup, position).chunk
    assert chunk is not None
    return chunk


def is_kept(node: StoredNode, backup: bytes, position: SnapshotPosition) -> bool:
    return read(node, backup, position).chunk is not None


def go_on(node: StoredNode, count: int = 1) -> None:
    """Write ``count`` entries."""
    first = node.applied_index + 1
    for index in range(first, first + count):
        node.apply(entry(index, Insert("key", b"value")))


def rows_in(chunks: list[SnapshotChunk]) -> Rows:
    tables: Rows = ({}, {}, {}, {}, {}, {})
    for each in chunks:
        for row, value in decode_rows(each.rows):
            tables[row[0]][row[1:]] = value
    return tables


def test_the_last_chunk_can_be_read_again(node: StoredNode) -> None:
    part = chunk(node, ONE, None)
    while not part.last:
        part = chunk(node, ONE, part.end)
    assert chunk(node, ONE, part.start) == part


def test_a_repeated_first_request_begins_no_new_backup(node: StoredNode) -> None:
    first = chunk(node, ONE, None)
    second = chunk(node, ONE, first.end)
    go_on(node)
    assert chunk(node, ONE, None) == first
    assert chunk(node, ONE, second.end).start == second.end, "it goes on where it was"


def test_two_concurrent_backups_each_read_their_own_snapshot(node: StoredNode) -> None:
    wanted, chunks = {}, {}
    for backup in (ONE, OTHER):
        go_on(node)
        wanted[backup] = node.rows
        chunks[backup] = [chunk(node, backup, None)]
    assert wanted[ONE] != wanted[OTHER]
    while any(not each[-1].last for each in chunks.values()):
        for backup, parts in chunks.items():
            if not parts[-1].last:
                parts.append(chunk(node, backup, parts[-1].end))
    assert {backup: rows_in(parts) for backup, parts in chunks.items()} == wanted


def test_a_backup_cannot_read_the_snapshot_of_another(node: StoredNode) -> None:
    first = chunk(node, ONE, None)
    assert not is_kept(node, OTHER, first.end)


def test_a_backup_beyond_the_limit_evicts_the_longest_idle_one(node: StoredNode) -> None:
    names = [b"backup %d" % number for number in range(BACKUPS_MAX)]
    ends = {name: chunk(node, name, None).end for name in names}
    idle, *others = names[1:]
    assert is_kept(node, names[0], ends[names[0]])
    ends[OTHER] = chunk(node, OTHER, None).end
    assert not is_kept(node, idle, ends[idle])
    for name in (names[0], *others, OTHER):
        assert is_kept(node, name, ends[name])


def test_each_idle_backup_is_ended_independently(
    node: StoredNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "IDLE_ENTRIES_MAX", 10)
    ends = {name: chunk(node, name, None).end for name in (ONE, OTHER)}
    go_on(node, 10)
    assert is_kept(node, ONE, ends[ONE])
    go_on(node, 1)
    assert not is_kept(node, OTHER, ends[OTHER])
    assert is_kept(node, ONE, ends[ONE])
