"""Bad snapshots: a snapshot with invalid rows never replaces the state."""

from collections.abc import Callable

import pytest

from protocol.messages.replicator import ChunkStaged
from protocol.snapshot import (
    Rows,
    SnapshotChunk,
    SnapshotId,
    SnapshotPosition,
    checksum,
    decode_rows,
    encode_rows,
)
from protocol.state.machine import APPLIED_KEY, MEMBERSHIP_KEY
from tests.harness.stored_node import PEER, StoredNode, history

LAST = 12
VALUES, PREFIXES, SESSIONS = b"\0", b"\1", b"\2"


@pytest.fixture
def leader() -> StoredNode:
    leader = StoredNode()
    leader.apply(*history(LAST))
    return leader


def forged(chunk: SnapshotChunk, rows: bytes, index: int = LAST) -> SnapshotChunk:
    """Return a chunk with other rows and a valid checksum."""
    snapshot = SnapshotId(index, 1)
    end = SnapshotPosition(snapshot, chunk.end.row, checksum(rows, 0))
    return SnapshotChunk(SnapshotPosition(snapshot), rows, end, last=True)


def replaced(place: bytes, value: bytes) -> Callable[[Rows], Rows]:
    return lambda rows: (*[row for row in rows if row[0] != place], (place, value))


def without(place: bytes) -> Callable[[Rows], Rows]:
    return lambda rows: tuple(row for row in rows if row[0] != place)


def refuse(follower: StoredNode, chunk: SnapshotChunk) -> None:
    before = follower.rows, follower.applied_index
    (answer,) = follower.stage(chunk)
    assert isinstance(answer, ChunkStaged)
    assert (follower.rows, follower.applied_index) == before
    follower.crash()
    assert (follower.rows, follower.applied_index) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda _: ((b"", b""),),
        lambda _: ((b"\7key", b""),),
        lambda _: ((VALUES, b""),),
        replaced(VALUES + b"jobs/1", b"garbage"),
        replaced(PREFIXES + b"jobs", b"garbage"),
        replaced(SESSIONS + bytes(8), b"garbage"),
        replaced(VALUES + APPLIED_KEY, b"garbage"),
        replaced(VALUES + MEMBERSHIP_KEY, b"garbage"),
        without(VALUES + APPLIED_KEY),
        without(VALUES + MEMBERSHIP_KEY),
    ],
)
def test_invalid_rows_are_not_installed(leader: StoredNode, change: Callable[[Rows], Rows]) -> None:
    (chunk,) = leader.chunks()
    follower = StoredNode(PEER)
    refuse(follower, forged(chunk, encode_rows(change(decode_rows(chunk.rows)))))
    while follower.applied_index < LAST:
        follower.stage(*leader.chunks())  # again, with the bad rows still on disk


@pytest.mark.parametrize("rows", [b"", b"garbage", b"\x91" * 5000])
def test_undecodable_bytes_are_not_installed(leader: StoredNode, rows: bytes) -> None:
    (chunk,) = leader.chunks()
    refuse(StoredNode(PEER), forged(chunk, rows))


def test_a_snapshot_with_a_mismatched_index_is_not_installed(leader: StoredNode) -> None:
    (chunk,) = leader.chunks()
    refuse(StoredNode(PEER), forged(chunk, chunk.rows, index=1 << 60))
