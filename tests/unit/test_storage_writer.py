"""StorageWriter: the order of writes and replies, and the state after crashes."""

from typing import Any

import msgspec
import pytest

from protocol.compaction import LogLimits
from protocol.hard_state import HardState
from protocol.messages.client import Get, ListKeys, ListPrefixes, Names, ReadBatch, ReadSnapshot
from protocol.messages.gateway import BatchApplied, Changes, ReadsDone
from protocol.messages.replicator import LogCompacted, LogSlice, Persisted
from protocol.messages.storage import (
    Append,
    Commit,
    EndSnapshot,
    FetchLog,
    FetchSnapshot,
    FollowChanges,
    ReadAt,
)
from protocol.state.commands import (
    Found,
    Insert,
    Inserted,
    Lookup,
    Missing,
    OpenSession,
    RemovePrefix,
    Transact,
)
from protocol.storage import log_store, snapshot_source, writer
from protocol.storage.log_store import DamagedLog
from protocol.storage.writer import (
    APPLY_ENTRIES_MAX,
    APPLY_OPERATIONS_MAX,
    READ_BYTES_MAX,
    UNWRITTEN_ENTRIES_MAX,
)
from protocol.wire import encode
from tests.harness.stored_node import CLUSTER, NODE, PEER, StoredNode, entry, history
from tests.simulation.disk import DiskFailure

SHORT = LogLimits(entries=2, bytes=1 << 40)
READ_JOBS = encode(ReadBatch((Get("jobs/3"),)))


@pytest.fixture
def node() -> StoredNode:
    """A node with a log of ten entries, all applied."""
    node = StoredNode()
    node.apply(*history(10))
    return node


def kinds(messages: list[Any]) -> list[type]:
    return [type(message) for message in messages]


def read_outcome(messages: list[Any]) -> Found | Missing:
    (done,) = messages
    assert isinstance(done, ReadsDone)
    return msgspec.msgpack.decode(done.outcomes[0], type=Found | Missing)


# --- writing


def test_appends_of_one_turn_are_reported_durable_after_one_sync() -> None:
    node = StoredNode()
    node.disk.syncs.clear()
    first, second = node.append(*history(4)), node.append(entry(5, Insert("k", b"v")))
    told = []
    for outbox in node.steps(first, second):
        assert not outbox.replicator or node.disk.syncs == [True]
        told.extend(outbox.replicator)
    assert told == [Persisted(second.number, 1, 1, 5)]


def test_a_failed_write_is_not_reported_durable() -> None:
    node = StoredNode()
    node.disk.fails_next = True
    steps = node.steps(node.append(*history(4)))
    with pytest.raises(DiskFailure):
        next(steps)
    node.crash()
    assert node.recover().entries[-1].index == 1


def test_a_durable_write_survives_a_crash_completely() -> None:
    node = StoredNode()
    node.turn(node.append(*history(4), hard_state=HardState(3, PEER)))
    node.crash()
    recovered = node.recover()
    assert [each.index for each in recovered.entries] == [1, 2, 3, 4]
    assert (recovered.hard_state, recovered.cluster) == (HardState(3, PEER), CLUSTER)
    assert (recovered.node, recovered.incarnation) == (NODE, 2)


def test_appended_entries_replace_the_log_from_the_first_of_them_on(node: StoredNode) -> None:
    node.turn(node.append(entry(11), entry(12)))
    node.turn(node.append(entry(11, term=2)))
    assert [(each.index, each.term) for each in node.log[9:]] == [(10, 1), (11, 2)]
    node.crash()
    assert node.recover().entries[-1] == entry(11, term=2)


# --- applying


def test_an_entry_that_a_local_client_awaits_is_applied_before_the_turns_write(
    node: StoredNode,
) -> None:
    node.turn(node.append(entry(11, number=7)))
    before, written, _ = node.steps(Commit(11), node.append(entry(12)))
    assert before.gateway == [BatchApplied(7, 11, ())]
    assert kinds(written.replicator) == [Persisted]


def test_an_entry_that_a_subscriber_awaits_is_applied_before_the_turns_write(
    node: StoredNode,
) -> None:
    node.turn(FollowChanges(b"nonce"), node.append(entry(11, Insert("k", b"v"), origin=PEER)))
    before, written, _ = node.steps(Commit(11), node.append(entry(12)))
    assert kinds(before.gateway) == [Changes]
    assert kinds(written.replicator) == [Persisted]


def test_an_entry_without_a_local_waiter_is_applied_after_the_turns_write(node: StoredNode) -> None:
    node.turn(node.append(entry(11, Insert("k", b"v"), origin=PEER)))
    steps = node.steps(Commit(11), node.append(entry(12)))
    assert kinds(next(steps).replicator) == [Persisted]
    assert node.applied_index == 10
    assert [outbox.gateway for outbox in steps] == [[]]
    assert node.applied_index == 11


def test_entries_written_in_the_turn_are_applied_after_its_write(node: StoredNode) -> None:
    written, after = node.steps(Commit(11), node.append(entry(11, number=7)))
    assert kinds(written.replicator) == [Persisted]
    assert written.gateway == []
    assert after.gateway == [BatchApplied(7, 11, ())]


def test_entries_that_the_turn_replaces_are_not_applied(node: StoredNode) -> None:
    node.turn(node.append(*(entry(index, Insert("old", b"")) for index in (11, 12))))
    replacing = node.append(entry(11, Insert("new", b""), term=2, number=7))
    written, after = node.steps(Commit(11), replacing)
    assert written.gateway == []
    assert kinds(after.gateway) == [BatchApplied]
    values = node.rows[0]
    assert b"new" in values
    assert b"old" not in values


def test_entries_replaced_before_they_were_applied_leave_no_trace(node: StoredNode) -> None:
    node.turn(node.append(*(entry(index, Insert("old", b"")) for index in (11, 12, 13))))
    node.turn(node.append(entry(11, term=2)))
    node.turn(node.append(entry(12, Insert("new", b""), term=2)), Commit(12))
    assert node.applied_index == 12
    assert b"new" in node.rows[0]
    assert b"old" not in node.rows[0]


def test_nothing_beyond_the_log_is_applied(node: StoredNode) -> None:
    node.turn(Commit(20))
    assert node.applied_index == 10
    node.turn(node.append(entry(11)))
    assert node.applied_index == 11


def test_a_lower_commit_index_is_ignored(node: StoredNode) -> None:
    node.turn(Commit(12), Commit(11))
    node.turn(node.append(entry(11), entry(12)))
    assert node.applied_index == 12


def test_a_backlog_is_applied_over_several_turns() -> None:
    node = StoredNode()
    node.turn(node.append(*history(3 * APPLY_ENTRIES_MAX)))
    node.turn(Commit(3 * APPLY_ENTRIES_MAX))
    assert node.applied_index == 2 * APPLY_ENTRIES_MAX, "before and after what the turn writes"
    assert node.writer.has_work
    node.turn()
    assert node.applied_index == 3 * APPLY_ENTRIES_MAX
    assert not node.writer.has_work


def test_a_backlog_of_large_changes_is_applied_over_several_turns(
    node: StoredNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = bytes(writer.UNWRITTEN_BYTES_MAX)
    monkeypatch.setattr(writer, "APPLY_BYTES_MAX", 2 * len(large))
    node.turn(node.append(*[entry(number, Insert("large", large)) for number in range(11, 16)]))
    node.turn(Commit(15))
    assert node.applied_index == 12, "each has the value in the entry and in the change"
    node.turn()
    assert node.applied_index == 14
    node.turn()
    assert node.applied_index == 15
    assert not node.writer.has_work


def test_a_backlog_of_transactions_is_applied_over_several_turns(node: StoredNode) -> None:
    lookups = Transact((), (Lookup("k"),) * (APPLY_OPERATIONS_MAX // 4))
    node.turn(node.append(*[entry(number, lookups) for number in range(11, 21)]))
    node.turn(Commit(20))
    assert node.applied_index == 18, "before and after what the turn writes"
    node.turn()
    assert node.applied_index == 20


def test_a_backlog_of_removals_is_applied_over_several_turns(
    node: StoredNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "APPLY_OPERATIONS_MAX", 20)
    inserts = Transact(
        (), tuple(Insert(f"a/{n}/{key}", b"") for n in range(8) for key in range(10))
    )
    node.turn(node.append(entry(11, inserts)))
    node.turn(Commit(11))
    node.turn(node.append(*[entry(12 + n, RemovePrefix(f"a/{n}/")) for n in range(8)]))
    node.turn(Commit(19))
    assert node.applied_index == 15, "before and after what the turn writes, each ten keys"
    node.turn()
    assert node.applied_index == 19


def test_large_reads_are_spread_over_turns_with_appends_in_between(node: StoredNode) -> None:
    large = b"x" * READ_BYTES_MAX
    node.turn(node.append(entry(11, Insert("large", large))), Commit(11))
    reads = [
        ReadAt(number, 11, encode(ReadBatch((Get("large"), Get("large")))), confirmed=True)
        for number in (1, 2, 3)
    ]
    answers = node.turn(*reads, node.append(entry(12)))
    assert kinds(answers) == [ReadsDone, Persisted, ReadsDone], "one before the sync, one after it"
    assert node.writer.has_work
    answers += node.turn()
    done = [each for each in answers if isinstance(each, ReadsDone)]
    assert [(each.number, len(each.outcomes)) for each in done] == [(1, 1), (2, 1), (3, 1)]
    assert node.turn() == []


def test_entries_applied_without_a_sync_are_applied_again_after_a_crash(node: StoredNode) -> None:
    assert node.applied_index == 10
    before = node.rows
    node.crash()
    assert node.recover().applied_index == 0
    node.turn(Commit(10))
    assert node.rows == before


def test_results_go_only_to_the_incarnation_that_proposed(node: StoredNode) -> None:
    node.crash()
    answers = node.turn(Commit(10), node.append(entry(11, number=7)))
    assert kinds(answers) == [Persisted]


# --- when the tables are written


def test_applied_state_is_written_with_the_next_entries(node: StoredNode) -> None:
    node.turn(node.append(entry(11, Insert("k", b"v"), number=7)))
    written = len(node.disk.syncs)
    assert kinds(node.turn(Commit(11))) == [BatchApplied]
    assert len(node.disk.syncs) == written
    node.turn(node.append(entry(12)))
    assert node.disk.syncs[written:] == [True]
    node.crash()
    assert node.applied_index == 11
    assert b"k" in node.rows[0]


def test_an_entry_whose_result_was_not_written_is_applied_again_after_a_crash(
    node: StoredNode,
) -> None:
    node.turn(node.append(entry(11, Insert("k", b"v"), number=7)))
    (told,) = node.turn(Commit(11))
    node.crash()
    assert node.applied_index == 10
    assert node.turn(Commit(11)) == [], "it was answered in the life before"
    assert (told.number, node.applied_index) == (7, 11)
    assert b"k" in node.rows[0]


def test_the_applied_but_unwritten_entries_are_limited(node: StoredNode) -> None:
    entries = [entry(index) for index in range(11, 12 + UNWRITTEN_ENTRIES_MAX)]
    node.turn(node.append(*entries))
    for each in entries[:-1]:
        node.turn(Commit(each.index))
    node.disk.finish_sync()
    node.crash()
    assert node.applied_index == 10
    for each in entries:
        node.turn(Commit(each.index))
    node.disk.finish_sync()
    node.crash()
    assert node.applied_index == entries[-1].index


def test_large_changes_are_written_once_their_results_are_sent(node: StoredNode) -> None:
    large = Insert("k", bytes(writer.UNWRITTEN_BYTES_MAX))
    node.turn(node.append(entry(11, large, number=7)))
    writes = len(node.disk.syncs)
    *results, _ = [(len(node.disk.syncs), step.gateway) for step in node.steps(Commit(11))]
    assert [(written, len(told)) for written, told in results if told] == [(writes, 1)]
    assert node.disk.syncs[writes:] == [False], "with no further sync"


def test_a_list_shows_applied_but_unwritten_keys(node: StoredNode) -> None:
    node.turn(node.append(entry(11, Insert("new/key", b"v"), number=7)))
    payload = encode(ReadBatch((ListKeys("new", 10), ListPrefixes("new", 10))))
    *_, done = node.turn(Commit(11), ReadAt(1, 11, payload, confirmed=True))
    keys, prefixes = (msgspec.msgpack.decode(each, type=Names) for each in done.outcomes)
    assert (keys.names, prefixes.names) == (("new/key",), ("new",))


# --- reads


def test_a_read_waits_until_its_index_is_applied(node: StoredNode) -> None:
    assert node.turn(ReadAt(1, 11, READ_JOBS, confirmed=True)) == []
    assert kinds(node.turn(node.append(entry(11, Insert("jobs/3", b"new"))))) == [Persisted]
    outcome = read_outcome(node.turn(Commit(11))[-1:])
    assert isinstance(outcome, Found)
    assert outcome.value == b"new"


def test_a_read_at_an_applied_index_is_served_in_its_turn(node: StoredNode) -> None:
    assert isinstance(read_outcome(node.turn(ReadAt(1, 10, READ_JOBS, confirmed=True))), Found)


def test_a_read_at_an_applied_index_does_not_wait_for_the_disk(node: StoredNode) -> None:
    read = ReadAt(1, 10, READ_JOBS, confirmed=True)
    before, written, _ = node.steps(node.append(entry(11)), read)
    assert isinstance(read_outcome(before.gateway), Found)
    assert kinds(written.replicator) == [Persisted]


def test_the_result_of_a_read_ahead_is_marked_unconfirmed(node: StoredNode) -> None:
    for confirmed in (False, True):
        (done,) = node.turn(ReadAt(1, 10, READ_JOBS, confirmed))
        assert isinstance(done, ReadsDone)
        assert done.confirmed == confirmed


# --- the log for followers


def test_entries_can_be_fetched_in_the_turn_that_writes_them(node: StoredNode) -> None:
    new = entry(11)
    _, slice_ = node.turn(FetchLog(PEER, 10, 1 << 20, 0), node.append(new))
    assert slice_ == LogSlice(PEER, 9, 1, (node.log[9], new))


def test_a_slice_has_at_least_one_entry_and_then_stays_within_its_size(node: StoredNode) -> None:
    (one,) = node.turn(FetchLog(PEER, 3, 1, 0))
    assert one == LogSlice(PEER, 2, 1, (node.log[2],))
    size = len(encode(node.log[2])) + len(encode(node.log[3]))
    (two,) = node.turn(FetchLog(PEER, 3, size, 0))
    assert len(two.entries) == 2


def test_compacted_entries_cannot_be_fetched() -> None:
    node = compacted()
    start = node.store.start.index
    assert start > 1
    assert node.turn(FetchLog(PEER, start, 1 << 20, 0)) == [LogCompacted(PEER, start)]
    (slice_,) = node.turn(FetchLog(PEER, start + 1, 1 << 20, 0))
    assert slice_.prev_index == start
    assert slice_.prev_term == node.store.start.term == 1


def compacted(*, last: int = 20) -> StoredNode:
    """Return a node that has compacted its log as far as possible."""
    node = StoredNode(limits=SHORT)
    for each in history(last):
        node.turn(node.append(each), Commit(each.index))
    return node


# --- the log's length


def test_the_log_is_compacted_once_it_exceeds_twice_the_kept_length() -> None:
    node = compacted(last=5)
    assert (node.store.start.index, node.store.last_index) == (3, 5)
    node.turn(node.append(entry(6)), Commit(6))
    node.turn(node.append(entry(7)), Commit(7))
    assert node.store.start.index == 3, "four entries are not more than twice two"
    node.turn(node.append(entry(8)), Commit(8))
    assert (node.store.start.index, node.store.last_index) == (6, 8)


def test_entries_not_durably_applied_are_not_compacted() -> None:
    node = StoredNode(limits=SHORT)
    node.turn(node.append(*history(10)))
    assert node.store.start.index == 0, "nothing is committed"
    node.turn(Commit(10))
    assert node.applied_index == 10
    assert node.store.start.index == 0, "a crash may take back what is applied"
    node.turn(node.append(entry(11)))
    assert node.store.start.index == 9


def test_a_snapshot_being_read_retains_the_log_after_it() -> None:
    node = compacted(last=10)
    held = node.first_chunk().start.snapshot.index
    let_the_log_grow(node)
    assert node.store.start.index == held == 10
    node.turn(EndSnapshot(PEER))
    assert node.store.start.index == 28


@pytest.mark.parametrize("first_gone", [PEER, b"other"])
def test_the_oldest_snapshot_being_read_determines_the_retained_log(first_gone: bytes) -> None:
    node = compacted(last=10)
    node.first_chunk()
    node.turn(node.append(entry(11)), Commit(11))
    node.first_chunk(b"other")
    for index in range(12, 31):
        node.turn(node.append(entry(index)), Commit(index))
    assert node.store.start.index == 10
    node.turn(EndSnapshot(first_gone))
    assert node.store.start.index == (11 if first_gone == PEER else 10)


def test_a_backup_retains_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_BYTES", 1)
    node = compacted(last=10)
    ask_for_backup(node)
    let_the_log_grow(node)
    assert node.store.start.index > 10


def test_a_backup_of_a_followers_snapshot_does_not_extend_its_log_retention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_BYTES", 1)
    node = compacted(last=10)
    node.turn(FetchSnapshot(PEER, None))
    ask_for_backup(node)
    let_the_log_grow(node)
    assert node.store.start.index == 10
    node.turn(EndSnapshot(PEER))
    assert node.store.start.index > 10


def ask_for_backup(node: StoredNode) -> None:
    payload = encode(ReadBatch((ReadSnapshot(b"backup", None),)))
    node.turn(ReadAt(1, 0, payload, confirmed=True))


def let_the_log_grow(node: StoredNode) -> None:
    for index in range(11, 31):
        node.turn(node.append(entry(index)), Commit(index))


# --- crashes


def script(node: StoredNode) -> list[list[Append | Commit]]:
    """Return turns that append, replace, commit and so drop the log behind them."""
    turns: list[list[Append | Commit]] = []
    for each in history(16):
        wrong = entry(each.index, Insert("wrong", b""), term=1)
        right = msgspec.structs.replace(each, term=2)
        turns += [[node.append(wrong)], [node.append(right)]] if each.index % 3 == 0 else []
        turns += [] if each.index % 3 == 0 else [[node.append(right)]]
        turns += [[Commit(each.index - 1)]]
    return [*turns, [Commit(16)]]


def test_after_any_crash_the_log_reaches_back_to_the_applied_index() -> None:
    whole = StoredNode(limits=SHORT)
    for turn in script(whole):
        whole.turn(*turn)
    writes = len(whole.disk.syncs)
    assert whole.store.start.index > 10
    for last_write in range(3, writes):
        for kept in range(4):
            node = StoredNode(limits=SHORT)
            durable, committed = run_until_write(node, last_write)
            node.crash(kept)
            recovered = node.recover()
            assert recovered.prev_index <= recovered.applied_index
            assert durable <= node.store.last_index
            node.turn(Commit(min(committed, node.store.last_index)))
            assert b"wrong" not in node.rows[0]


def run_until_write(node: StoredNode, last_write: int) -> tuple[int, int]:
    """Run the script until the disk fails; return the durable and the committed index reported."""
    durable = committed = 1
    node.disk.writes_left = max(1, last_write - len(node.disk.syncs))
    for turn in script(node):
        try:
            for outbox in node.steps(*turn):
                for told in outbox.replicator:
                    assert isinstance(told, Persisted)
                    durable = told.index
            committed = max([committed, *(each.index for each in turn if isinstance(each, Commit))])
        except DiskFailure:
            break
    return durable, committed


def test_a_gap_in_the_log_is_damage(node: StoredNode) -> None:
    node.disk.table("raft_log").delete((5).to_bytes(8, "big"))
    node.open()
    with pytest.raises(DamagedLog, match="with a gap"):
        node.recover()


def test_a_log_that_ends_before_the_applied_index_is_damage(node: StoredNode) -> None:
    node.disk.table("raft_log").delete_range((9).to_bytes(8, "big"), (11).to_bytes(8, "big"))
    node.open()
    with pytest.raises(DamagedLog, match="ends at 8, and 10 are applied"):
        node.recover()


def test_a_log_that_begins_after_the_applied_index_is_damage() -> None:
    node = compacted()
    for table in node.writer._table_sets.active:
        table.delete_range(b"", b"\xff" * 16)
    node.open()
    with pytest.raises(DamagedLog, match=r"begins after 18 .*and 0 are applied"):
        node.recover()


def test_a_start_recovers_all_unapplied_entries_and_only_some_before_them(
    node: StoredNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "RECOVERED_ENTRIES", 3)
    node.turn(node.append(*(entry(index) for index in range(11, 14))))
    node.crash(kept=9)
    recovered = node.recover()
    assert (recovered.applied_index, recovered.prev_index, recovered.prev_term) == (10, 10, 1)
    assert [each.index for each in recovered.entries] == [11, 12, 13]
    monkeypatch.setattr(log_store, "RECOVERED_ENTRIES", 5)
    assert node.recover().prev_index == 8


def test_a_retry_after_a_crash_gets_its_first_result() -> None:
    node = StoredNode()
    write = entry(3, Insert("k", b"v", if_revision=0), number=7)
    node.apply(entry(2, OpenSession()), write)
    node.crash()
    retry = msgspec.structs.replace(write, index=4)
    answers = node.turn(Commit(4), node.append(retry))
    assert kinds(answers) == [Persisted], "the proposal was of an earlier incarnation"
    session = node.writer._machine._sessions.find(1, 99)
    assert session is not None
    assert session.blocks == {18: {300: Inserted(1)}}
    assert node.writer.revision == 1
