"""Snapshots in storage: consistent reads, and staging chunk by chunk."""

from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace

from protocol.commands import Insert, OpenSession, Remove
from protocol.compaction import HELD_LOG_FACTOR, LogLimits
from protocol.messages.replicator import ChunkStaged, SnapshotRead
from protocol.messages.storage import Commit, EndSnapshot, FetchLog, FetchSnapshot
from protocol.snapshot import SnapshotChunk, SnapshotId, SnapshotPosition, decode_rows
from protocol.storage import snapshot_source
from tests.harness.stored_node import PEER, Rows, StoredNode, chunk_of, entry, history

OTHER = b"other".ljust(16, b"\0")
LAST = 12
NO_ROWS: Rows = ({}, {}, {})


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


def test_a_snapshot_has_all_rows_in_order_in_chunks_that_follow_each_other(
    leader: StoredNode,
) -> None:
    chunks = leader.chunks()
    assert len(chunks) > 3
    assert rows_in(chunks) == rows_of(leader)
    assert chunks[0].start == SnapshotPosition(SnapshotId(LAST, 1))
    for one, following in pairwise(chunks):
        assert (one.end, one.last) == (following.start, False)
    assert all(chunk.is_intact for chunk in chunks)


def test_a_row_larger_than_a_chunk_travels_alone(leader: StoredNode) -> None:
    leader.apply(entry(LAST + 1, Insert("large", b"x" * 1000)))
    chunks = leader.chunks()
    assert rows_in(chunks) == rows_of(leader)
    assert [len(decode_rows(each.rows)) for each in chunks if len(each.rows) > 1000] == [1]


def test_a_snapshot_is_of_one_moment_while_writes_go_on(leader: StoredNode) -> None:
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


def test_a_snapshot_can_be_read_on_from_any_position(leader: StoredNode) -> None:
    chunks = leader.chunks()
    leader.apply(entry(LAST + 1, Insert("k", b"v")))
    for chunk in reversed(chunks):
        assert leader.turn(FetchSnapshot(PEER, chunk.start)) == [SnapshotRead(PEER, chunk)]


def test_what_comes_after_the_last_row_is_an_empty_last_chunk(leader: StoredNode) -> None:
    end = leader.chunks()[-1].end
    (read,) = leader.turn(FetchSnapshot(PEER, end))
    assert read.chunk is not None
    assert (read.chunk.start, decode_rows(read.chunk.rows), read.chunk.last) == (end, (), True)
    assert read.chunk.is_intact


def test_a_snapshot_that_nobody_has_begun_cannot_be_read(leader: StoredNode) -> None:
    unknown = SnapshotPosition(SnapshotId(LAST, 1))
    assert leader.turn(FetchSnapshot(PEER, unknown)) == [SnapshotRead(PEER, None)]


def test_readers_of_one_moment_share_a_snapshot_until_the_last_ends_it(leader: StoredNode) -> None:
    position = leader.first_chunk().end
    assert leader.first_chunk(OTHER).end == position
    leader.apply(entry(LAST + 1))
    leader.turn(EndSnapshot(PEER))
    (read,) = leader.turn(FetchSnapshot(OTHER, position))
    assert read.chunk is not None
    leader.turn(EndSnapshot(OTHER))
    assert leader.turn(FetchSnapshot(OTHER, position)) == [SnapshotRead(OTHER, None)]


def test_a_reader_that_begins_anew_gets_the_present_and_leaves_the_former_one(
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


def test_chunks_are_taken_in_order_and_each_answer_says_which_is_next(leader: StoredNode) -> None:
    chunks = leader.chunks()
    follower = StoredNode(PEER)
    answers = follower.stage(*chunks[:-1])
    assert answers == [ChunkStaged(chunk.end) for chunk in chunks[:-1]]
    assert follower.applied_index == 0


def test_a_chunk_that_is_not_the_next_one_changes_nothing(leader: StoredNode) -> None:
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


def test_a_chunk_after_one_that_was_not_this_is_damaged(leader: StoredNode) -> None:
    first, second, *_ = leader.chunks()
    elsewhere = msgspec.structs.replace(first.end, checksum=first.end.checksum ^ 1)
    follower = StoredNode(PEER)
    follower.stage(first)
    assert follower.stage(msgspec.structs.replace(second, start=elsewhere)) == [
        ChunkStaged(first.end)
    ]


def test_the_first_chunk_of_another_snapshot_takes_the_place_of_what_was_staged(
    leader: StoredNode,
) -> None:
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
def test_what_a_crash_leaves_of_the_chunks_need_not_come_again(
    leader: StoredNode, kept: int
) -> None:
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


def test_a_snapshot_that_is_ended_in_the_turn_in_which_it_is_asked_for_holds_nothing(
    short_log: StoredNode,
) -> None:
    short_log.turn(FetchSnapshot(PEER, None), EndSnapshot(PEER))
    assert cut(short_log, LAST + 1) > LAST


def test_the_log_is_not_held_for_ever_for_a_follower_that_never_ends(
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


def test_who_reads_as_fast_as_entries_are_written_gets_through(large_state: StoredNode) -> None:
    before = rows_of(large_state)
    chunks = [large_state.first_chunk()]
    while not chunks[-1].last:
        assert cut(large_state, 3 + len(chunks), 1) <= 3
        chunks.append(read_on(large_state, chunks[-1]))
    assert rows_in(chunks) == before
    assert len(chunks) > 2 * slack(large_state), "so much that a reader of nothing is ended"


def slack(node: StoredNode) -> int:
    return HELD_LOG_FACTOR * node.limits.entries


def test_who_reads_nothing_more_has_earned_only_what_it_has_read(large_state: StoredNode) -> None:
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


def test_large_rows_earn_many_small_entries(large_state: StoredNode) -> None:
    large_state.apply(entry(4, Insert("a", b"x" * 5000)))
    chunk = large_state.first_chunk()
    while decode_rows(chunk.rows)[0][0] != b"\0a":
        chunk = read_on(large_state, chunk)
    assert cut(large_state, 5, 3 * slack(large_state)) <= 4


def test_small_rows_earn_few_large_entries() -> None:
    node = StoredNode(limits=LogLimits(1 << 20, 100))
    node.apply(*history(LAST))
    node.chunks()
    for index in range(LAST + 1, LAST + 4):
        node.apply(entry(index, Insert("key", b"x" * 1000)))
    assert node.store.start.index > LAST


def test_each_reader_is_judged_by_itself(large_state: StoredNode) -> None:
    hung = large_state.first_chunk()
    cut(large_state, 4, 1)
    chunk = large_state.first_chunk(OTHER)
    for index in range(5, 35):
        cut(large_state, index, 1)
        chunk = read_on(large_state, chunk, OTHER)
    assert large_state.store.start.index == 4, "the log that only the other one needs"
    assert large_state.turn(FetchSnapshot(PEER, hung.end)) == [SnapshotRead(PEER, None)]


def test_nobody_is_ended_whose_log_another_one_needs_anyway(large_state: StoredNode) -> None:
    slow = large_state.first_chunk()
    chunk = large_state.first_chunk(OTHER)
    for index in range(4, 34):
        cut(large_state, index, 1)
        chunk = read_on(large_state, chunk, OTHER)
    assert read_on(large_state, slow).start == slow.end
    large_state.turn(EndSnapshot(OTHER))
    cut(large_state, 34, 1)
    assert large_state.turn(FetchSnapshot(PEER, slow.end)) == [SnapshotRead(PEER, None)]


def test_who_is_past_its_snapshot_needs_only_the_log_that_it_lacks(
    large_state: StoredNode,
) -> None:
    large_state.chunks()
    assert cut(large_state, 4, 50) <= 3
    large_state.turn(FetchLog(PEER, 30, 1, 20))
    assert large_state.store.start.index == 20
    assert cut(large_state, 54, 40) == 20, "what it has read counts on"
    assert cut(large_state, 94, 40) > 90, "but for no more than that"


def test_an_old_question_for_the_log_brings_no_one_back_before_its_snapshot(
    large_state: StoredNode,
) -> None:
    large_state.first_chunk()
    large_state.turn(FetchLog(PEER, 1, 1, 0))
    assert cut(large_state, 4, 5) == 3


def test_the_operator_is_told_whose_snapshot_was_given_up_and_why(
    short_log: StoredNode,
) -> None:
    short_log.first_chunk(b"\xabcde")
    said: list[str] = []
    for index in range(LAST + 1, LAST + 170):
        for turn in (short_log.append(entry(index)), Commit(index)):
            said += [each for step in short_log.steps(turn) for each in step.warnings]
    (sentence,) = said
    assert f"index {LAST} for node ab636465 " in sentence
    assert "1 rows (" in sentence
    assert "and 162 entries" in sentence


def test_a_snapshot_is_kept_while_what_follows_it_is_not_committed(short_log: StoredNode) -> None:
    chunk = short_log.first_chunk()
    uncommitted = [entry(index, Insert("key", b"value")) for index in range(LAST + 1, LAST + 301)]
    short_log.turn(short_log.append(*uncommitted))
    (read,) = short_log.turn(FetchSnapshot(PEER, chunk.end))
    assert isinstance(read, SnapshotRead)
    assert read.chunk is not None
