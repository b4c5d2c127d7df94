"""Snapshots in storage: consistent reads, and staging chunk by chunk."""

from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace

from protocol.compaction import HELD_LOG_FACTOR, LogLimits
from protocol.messages.replicator import ChunkStaged, SnapshotRead
from protocol.messages.storage import Commit, EndSnapshot, FetchLog, FetchSnapshot
from protocol.snapshot import SnapshotChunk, SnapshotId, SnapshotPosition, decode_rows
from protocol.state.commands import Insert, OpenSession, Remove
from protocol.storage import snapshot_source
from tests.harness.stored_node import PEER, Rows, StoredNode, chunk_of, entry, history

OTHER = b"other".ljust(16, b"\0")
LAST = 12
NO_ROWS: Rows = ({}, {}, {}, {}, {}, {})


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_BYTES", 30)


@pytest.fixture
def leader() -> StoredNode:
    """A node whose state has keys, prefixes and a session."""
    leader = StoredNode()
    leader.apply(*history(LAST))
    return leader


def rows_in(chunks: list[SnapshotChunk]) -> list[tuple[bytes, bytes]]:
    return [row for chunk in chunks for row in decode_rows(chunk.rows)]


def rows_of(node: StoredNode) -> list[tuple[bytes, bytes]]:
    return [
        (bytes([number]) + key, value)
        for number, table in enumerate(node.rows)
        for key, value in sorted(table.items())
    ]


# --- reading


def test_a_snapshot_has_all_rows_in_order_in_consecutive_chunks(leader: StoredNode) -> None:
    chunks = leader.chunks()
    assert len(chunks) > 3
    assert rows_in(chunks) == rows_of(leader)
    assert chunks[0].start == SnapshotPosition(SnapshotId(LAST, 1))
    for one, following in pairwise(chunks):
        assert (one.end, one.last) == (following.start, False)
    assert all(chunk.is_intact for chunk in chunks)


def test_a_row_larger_than_a_chunk_has_its_own_chunk(leader: StoredNode) -> None:
    leader.apply(entry(LAST + 1, Insert("large", b"x" * 1000)))
    chunks = leader.chunks()
    assert rows_in(chunks) == rows_of(leader)
    assert [len(decode_rows(each.rows)) for each in chunks if len(each.rows) > 1000] == [1]


def test_a_snapshot_is_consistent_while_writes_continue(leader: StoredNode) -> None:
    before = rows_of(leader)
    chunks = [leader.first_chunk()]
    index = LAST
    while not chunks[-1].last:
        index += 1
        leader.apply(entry(index, Insert(f"jobs/{index}", b"new"), Remove("jobs/3")))
        (read,) = leader.turn(FetchSnapshot(PEER, chunks[-1].end))
        assert read.chunk is not None
        chunks.append(read.chunk)
    assert rows_in(chunks) == before
    assert rows_of(leader) != before


def test_a_snapshot_can_be_resumed_from_any_position(leader: StoredNode) -> None:
    chunks = leader.chunks()
    leader.apply(entry(LAST + 1, Insert("k", b"v")))
    for chunk in reversed(chunks):
        assert leader.turn(FetchSnapshot(PEER, chunk.start)) == [SnapshotRead(PEER, chunk)]


def test_a_read_after_the_last_row_returns_an_empty_last_chunk(leader: StoredNode) -> None:
    end = leader.chunks()[-1].end
    (read,) = leader.turn(FetchSnapshot(PEER, end))
    assert read.chunk is not None
    assert (read.chunk.start, decode_rows(read.chunk.rows), read.chunk.last) == (end, (), True)
    assert read.chunk.is_intact


def test_a_snapshot_that_was_never_begun_cannot_be_read(leader: StoredNode) -> None:
    unknown = SnapshotPosition(SnapshotId(LAST, 1))
    assert leader.turn(FetchSnapshot(PEER, unknown)) == [SnapshotRead(PEER, None)]


def test_readers_at_one_index_share_a_snapshot_until_the_last_one_ends(leader: StoredNode) -> None:
    position = leader.first_chunk().end
    assert leader.first_chunk(OTHER).end == position
    leader.apply(entry(LAST + 1))
    leader.turn(EndSnapshot(PEER))
    (read,) = leader.turn(FetchSnapshot(OTHER, position))
    assert read.chunk is not None
    leader.turn(EndSnapshot(OTHER))
    assert leader.turn(FetchSnapshot(OTHER, position)) == [SnapshotRead(OTHER, None)]


def test_a_reader_that_restarts_gets_a_new_snapshot_and_releases_the_old_one(
    leader: StoredNode,
) -> None:
    former = leader.first_chunk().end
    leader.apply(entry(LAST + 1))
    assert leader.first_chunk().start.snapshot == SnapshotId(LAST + 1, 1)
    assert leader.turn(FetchSnapshot(PEER, former)) == [SnapshotRead(PEER, None)]


def test_a_restart_ends_all_snapshots(leader: StoredNode) -> None:
    position = leader.first_chunk().end
    leader.crash(kept=9)
    assert leader.turn(FetchSnapshot(PEER, position)) == [SnapshotRead(PEER, None)]


# --- staging


def test_chunks_are_staged_in_order_and_each_reply_names_the_next_position(
    leader: StoredNode,
) -> None:
    chunks = leader.chunks()
    follower = StoredNode(PEER)
    answers = follower.stage(*chunks[:-1])
    assert answers == [ChunkStaged(chunk.end) for chunk in chunks[:-1]]
    assert follower.applied_index == 0


def test_a_chunk_out_of_order_changes_nothing(leader: StoredNode) -> None:
    chunks = leader.chunks()
    follower = StoredNode(PEER)
    assert follower.stage(chunks[1]) == [ChunkStaged(chunks[0].start)]
    assert follower.spare_rows == NO_ROWS
    follower.stage(chunks[0], chunks[1])
    before: Rows = follower.spare_rows
    again = follower.stage(chunks[0], chunks[1], chunks[3])
    assert again == 3 * [ChunkStaged(chunks[1].end)]
    assert follower.spare_rows == before


def test_a_damaged_chunk_changes_nothing(leader: StoredNode) -> None:
    first, second, *_ = leader.chunks()
    follower = StoredNode(PEER)
    follower.stage(first)
    before = follower.spare_rows
    flipped = bytes([second.rows[0] ^ 1]) + second.rows[1:]
    damaged = msgspec.structs.replace(second, rows=flipped)
    assert follower.stage(damaged) == [ChunkStaged(first.end)]
    assert follower.spare_rows == before
    assert follower.stage(second) == [ChunkStaged(second.end)]


def test_a_chunk_with_another_predecessor_is_refused(leader: StoredNode) -> None:
    first, second, *_ = leader.chunks()
    elsewhere = msgspec.structs.replace(first.end, checksum=first.end.checksum ^ 1)
    follower = StoredNode(PEER)
    follower.stage(first)
    assert follower.stage(msgspec.structs.replace(second, start=elsewhere)) == [
        ChunkStaged(first.end)
    ]


def test_the_first_chunk_of_another_snapshot_replaces_the_staged_one(leader: StoredNode) -> None:
    former = leader.chunks()
    leader.apply(entry(LAST + 1, Insert("k", b"v"), Remove("jobs/3")))
    chunks = leader.chunks()
    follower = StoredNode(PEER)
    follower.stage(*former[:-1])
    assert follower.stage(chunks[0]) == [ChunkStaged(chunks[0].end)]
    assert follower.stage(former[-1]) == [ChunkStaged(former[0].start)], "begun anew"
    follower.stage(*chunks)
    assert follower.rows == leader.rows


@pytest.mark.parametrize("kept", range(5))
def test_chunks_that_survive_a_crash_need_not_be_sent_again(leader: StoredNode, kept: int) -> None:
    chunks = leader.chunks()
    follower = StoredNode(PEER)
    follower.stage(*chunks[:5])
    follower.crash(kept)
    staged = chunks[kept].start
    assert follower.stage(chunks[-1] if kept == 0 else chunks[0]) == [ChunkStaged(staged)]
    follower.stage(*chunks[kept:])
    assert follower.rows == leader.rows


# --- entries held for readers


def cut(node: StoredNode, first: int, count: int = 400) -> int:
    """Write ``count`` entries; return the index after which the log then begins."""
    for index in range(first, first + count):
        node.apply(entry(index, Insert("key", b"value")))
    return node.writer._store.start.index


@pytest.fixture
def short_log() -> StoredNode:
    node = StoredNode(limits=LogLimits(10, 1 << 20))
    node.apply(*history(LAST))
    return node


def test_a_snapshot_ended_in_the_turn_of_its_request_retains_no_log(short_log: StoredNode) -> None:
    short_log.turn(FetchSnapshot(PEER, None), EndSnapshot(PEER))
    assert cut(short_log, LAST + 1) > LAST


def test_the_log_is_not_retained_forever_for_a_follower_that_never_finishes(
    short_log: StoredNode,
) -> None:
    chunk = short_log.first_chunk()
    assert cut(short_log, LAST + 1, 100) == LAST
    assert cut(short_log, LAST + 101, 300) > LAST
    (read,) = short_log.turn(FetchSnapshot(PEER, chunk.end))
    assert read == SnapshotRead(PEER, None), "it begins anew"


@pytest.fixture
def large_state() -> StoredNode:
    """Return a node with more rows than entries are held for an idle reader."""
    node = StoredNode(limits=LogLimits(1, 1 << 20))
    node.apply(entry(2, OpenSession()))
    node.apply(entry(3, *(Insert(f"key/{number:02}", b"value") for number in range(60))))
    return node


def read_on(node: StoredNode, chunk: SnapshotChunk, reader: bytes = PEER) -> SnapshotChunk:
    return chunk_of(node.turn(FetchSnapshot(reader, chunk.end)))


def test_a_reader_as_fast_as_the_writes_completes_its_snapshot(large_state: StoredNode) -> None:
    before = rows_of(large_state)
    chunks = [large_state.first_chunk()]
    while not chunks[-1].last:
        assert cut(large_state, 3 + len(chunks), 1) <= 3
        chunks.append(read_on(large_state, chunks[-1]))
    assert rows_in(chunks) == before
    assert len(chunks) > 2 * slack(large_state), "so much that a reader of nothing is ended"


def slack(node: StoredNode) -> int:
    return HELD_LOG_FACTOR * node.limits.entries


def test_a_reader_that_stops_retains_log_only_for_the_rows_it_has_read(
    large_state: StoredNode,
) -> None:
    chunks = [large_state.first_chunk()]
    for _ in range(9):
        chunk = read_on(large_state, chunks[-1])
        assert read_on(large_state, replace(chunk, end=chunk.start)) == chunk, "this earns nothing"
        chunks.append(chunk)
    earned = len(rows_in(chunks)) + slack(large_state)
    assert cut(large_state, 4, earned + 1) <= 3, "the last entry is not applied durably"
    assert cut(large_state, 5 + earned, 1) > 3
    (read,) = large_state.turn(FetchSnapshot(PEER, chunks[-1].end))
    assert read == SnapshotRead(PEER, None)


def test_reading_large_rows_retains_many_small_entries(large_state: StoredNode) -> None:
    large_state.apply(entry(4, Insert("a", b"x" * 5000)))
    chunk = large_state.first_chunk()
    while decode_rows(chunk.rows)[0][0] != b"\0a":
        chunk = read_on(large_state, chunk)
    assert cut(large_state, 5, 3 * slack(large_state)) <= 4


def test_reading_small_rows_retains_few_large_entries() -> None:
    node = StoredNode(limits=LogLimits(1 << 20, 100))
    node.apply(*history(LAST))
    node.chunks()
    for index in range(LAST + 1, LAST + 6):
        node.apply(entry(index, Insert("key", b"x" * 1000)))
    assert node.store.start.index > LAST


def test_each_reader_is_judged_independently(large_state: StoredNode) -> None:
    hung = large_state.first_chunk()
    cut(large_state, 4, 1)
    chunk = large_state.first_chunk(OTHER)
    for index in range(5, 35):
        cut(large_state, index, 1)
        chunk = read_on(large_state, chunk, OTHER)
    assert large_state.store.start.index == 4, "the log that only the other one needs"
    assert large_state.turn(FetchSnapshot(PEER, hung.end)) == [SnapshotRead(PEER, None)]


def test_no_reader_is_ended_while_another_one_needs_the_same_log(large_state: StoredNode) -> None:
    slow = large_state.first_chunk()
    chunk = large_state.first_chunk(OTHER)
    for index in range(4, 34):
        cut(large_state, index, 1)
        chunk = read_on(large_state, chunk, OTHER)
    assert read_on(large_state, slow).start == slow.end
    large_state.turn(EndSnapshot(OTHER))
    cut(large_state, 34, 1)
    assert large_state.turn(FetchSnapshot(PEER, slow.end)) == [SnapshotRead(PEER, None)]


def test_a_reader_past_its_snapshot_retains_only_the_log_that_it_lacks(
    large_state: StoredNode,
) -> None:
    large_state.chunks()
    assert cut(large_state, 4, 50) <= 3
    large_state.turn(FetchLog(PEER, 30, 1, 20))
    assert large_state.store.start.index == 20
    assert cut(large_state, 54, 40) == 20, "what it has read counts on"
    assert cut(large_state, 94, 40) > 90, "but for no more than that"


def test_an_old_log_request_does_not_move_a_reader_back_before_its_snapshot(
    large_state: StoredNode,
) -> None:
    large_state.first_chunk()
    large_state.turn(FetchLog(PEER, 1, 1, 0))
    assert cut(large_state, 4, 5) == 3


def test_an_ended_snapshot_is_logged_with_its_node_and_reason(short_log: StoredNode) -> None:
    short_log.first_chunk(b"\xabcde")
    said: list[str] = []
    for index in range(LAST + 1, LAST + 170):
        for turn in (short_log.append(entry(index)), Commit(index)):
            said += [each for step in short_log.steps(turn) for each in step.warnings]
    (sentence,) = said
    assert f"index {LAST} for node ab636465 " in sentence
    assert "1 rows (" in sentence
    assert "and 162 entries" in sentence


def test_a_snapshot_is_kept_while_the_entries_after_it_are_uncommitted(
    short_log: StoredNode,
) -> None:
    chunk = short_log.first_chunk()
    uncommitted = [entry(index, Insert("key", b"value")) for index in range(LAST + 1, LAST + 301)]
    short_log.turn(short_log.append(*uncommitted))
    (read,) = short_log.turn(FetchSnapshot(PEER, chunk.end))
    assert isinstance(read, SnapshotRead)
    assert read.chunk is not None
