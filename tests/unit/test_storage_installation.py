"""Installation of a snapshot: state, log and members change together, also in crashes."""

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import BatchApplied, ChangesLost, RightsUpdate
from protocol.messages.replicator import ChunkStaged, SnapshotInstalled
from protocol.messages.storage import Append, Commit, FetchSnapshot
from protocol.snapshot import SnapshotChunk
from protocol.state.commands import Batch, Command, Insert, Inserted, OpenSession, Remove
from protocol.storage import snapshot_source
from protocol.wire import encode
from tests.harness.stored_node import NODE, PEER, Rows, StoredNode, entry, history
from tests.simulation.disk import DiskFailure

OTHER = b"other".ljust(16, b"\0")
MEMBERS = Membership((Member(NODE, "node.example:9400", True), Member(PEER, "p:1", True)))
LAST = 12
NO_ROWS: Rows = ({}, {}, {}, {}, {}, {})


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_BYTES", 30)


@pytest.fixture
def leader() -> StoredNode:
    """A node whose state has keys, a session and a second membership."""
    leader = StoredNode()
    leader.apply(*history(LAST - 1), members_at(LAST))
    return leader


def members_at(index: int) -> LogEntry:
    return LogEntry(index, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(MEMBERS)))


# --- installing


def test_the_last_chunk_installs_state_log_and_members_of_the_snapshot(leader: StoredNode) -> None:
    follower = StoredNode(PEER)
    *_, installed, lost, told = follower.stage(*leader.chunks())
    assert follower.disk.syncs[-1], "it is told when it is durable"
    membership = MembershipAt(LAST, MEMBERS)
    assert installed == SnapshotInstalled(LAST, 1, membership)
    assert lost == ChangesLost(leader.writer.revision)
    assert told == RightsUpdate((), ())
    assert follower.rows == leader.rows
    assert follower.log == ()
    assert (follower.store.start.index, follower.store.start.term) == (LAST, 1)
    assert (follower.store.last_index, follower.store.last_term) == (LAST, 1)
    assert follower.store.memberships == (membership,)


def test_an_installed_node_applies_the_entries_after_the_snapshot(leader: StoredNode) -> None:
    follower = StoredNode(PEER)
    follower.stage(*leader.chunks())
    following = [entry(LAST + 1, Insert("k", b"v")), entry(LAST + 2, Remove("jobs/3"))]
    leader.apply(*following)
    follower.apply(*following)
    assert follower.rows == leader.rows
    follower.crash()
    follower.turn(Commit(LAST + 2))
    assert follower.rows == leader.rows


def test_entries_after_the_snapshots_last_one_are_kept(leader: StoredNode) -> None:
    follower = StoredNode(PEER)
    kept = members_at(LAST + 2)
    after = (entry(LAST + 1), kept)
    pending = (*follower.store.memberships, MembershipAt(LAST, MEMBERS), MembershipAt(14, MEMBERS))
    follower.turn(Append(1, None, (*history(LAST - 1), members_at(LAST), *after), pending))
    follower.stage(*leader.chunks())
    assert follower.log == after
    assert follower.store.start.index == LAST
    assert [each.index for each in follower.store.memberships] == [LAST, LAST + 2]
    follower.turn(Commit(LAST + 2))
    leader.apply(*after)
    assert follower.rows == leader.rows


@pytest.mark.parametrize("last", [LAST - 1, LAST, LAST + 5])
def test_a_log_without_the_snapshots_last_entry_is_dropped(leader: StoredNode, last: int) -> None:
    follower = StoredNode(PEER)
    follower.turn(follower.append(*history(last, term=0)))
    follower.stage(*leader.chunks())
    assert follower.log == ()
    assert follower.store.last_index == LAST
    follower.turn(follower.append(entry(LAST + 1)))
    assert follower.recover().entries == (entry(LAST + 1),)


def test_a_snapshot_older_than_the_state_is_not_installed(leader: StoredNode) -> None:
    chunks = leader.chunks()
    leader.apply(entry(LAST + 1, Insert("k", b"v")))
    before = leader.rows
    assert leader.stage(*chunks)[-1] == ChunkStaged(chunks[-1].end)
    assert leader.rows == before
    assert leader.store.start.index == 0


def test_earlier_log_entries_are_not_applied_to_an_installed_state(leader: StoredNode) -> None:
    follower = StoredNode(PEER)
    wrong = [entry(index, Insert("wrong", b"")) for index in range(2, LAST + 3)]
    follower.turn(follower.append(*wrong))
    leader.apply(entry(LAST + 1, term=2))
    follower.stage(*leader.chunks())
    follower.turn(follower.append(entry(LAST + 2, term=2)), Commit(LAST + 2))
    assert b"wrong" not in follower.rows[0]
    assert follower.applied_index == LAST + 2


def test_a_retry_after_an_installation_gets_its_first_result() -> None:
    leader, follower = StoredNode(), StoredNode(PEER)
    write = entry(3, Insert("k", b"v", if_revision=0), number=7)
    leader.apply(entry(2, OpenSession()), write)
    follower.stage(*leader.chunks())
    writes = msgspec.msgpack.decode(write.payload, type=Batch).writes
    retry = LogEntry(4, 1, EntryKind.BATCH, encode(Batch(PEER, 1, 8, writes)))
    answers = follower.apply(retry)
    assert answers == [BatchApplied(8, 4, (Inserted(1),))]
    assert follower.writer.revision == 1


def test_each_snapshot_is_installed_into_the_other_tables(leader: StoredNode) -> None:
    follower = StoredNode(PEER)
    for index in range(LAST + 1, LAST + 5):
        leader.apply(entry(index, Insert(f"k{index}", b"v"), Remove(f"k{index - 2}")))
        follower.stage(*leader.chunks())
        assert follower.rows == leader.rows
        assert follower.spare_rows == NO_ROWS
        follower.crash()
        assert follower.rows == leader.rows


def test_an_installed_node_serves_the_same_snapshot_to_others(leader: StoredNode) -> None:
    second, third = StoredNode(PEER), StoredNode(OTHER)
    chunks = leader.chunks()
    second.stage(*chunks)
    assert second.chunks() == chunks, "snapshots of the same entry are alike on all nodes"
    third.stage(*chunks[:2])
    third.stage(*second.chunks()[2:])
    assert third.rows == leader.rows


# --- crashes


class Whole(NamedTuple):
    """The parts of a node's state that must be consistent."""

    rows: Rows
    log: tuple[LogEntry, ...]
    start: tuple[int, int]
    memberships: tuple[MembershipAt, ...]

    @classmethod
    def of(cls, node: StoredNode) -> "Whole":
        start = node.store.start
        return cls(node.rows, node.log, (start.index, start.term), node.store.memberships)


def behind(kept_log: int) -> StoredNode:
    """Return a follower with part of the leader's log, half of it applied."""
    follower = StoredNode(PEER)
    if kept_log:
        entries = [*history(LAST - 1), members_at(LAST), entry(LAST + 1)][: kept_log - 1]
        follower.turn(Append(1, HardState(1, NODE), tuple(entries), None))
        follower.turn(Commit(kept_log // 2))
        follower.turn(Append(2, HardState(2), (), None))
    return follower


@pytest.mark.parametrize("kept_log", [0, 4, LAST - 1, LAST, LAST + 1])
def test_a_crash_at_any_write_leaves_either_the_old_or_the_new_state_intact(
    leader: StoredNode, kept_log: int
) -> None:
    chunks = leader.chunks()
    old, new = Whole.of(behind(kept_log)), installed_on(behind(kept_log), chunks)
    assert old != new
    seen = set()
    for last_write in range(1, len(chunks) + 2):
        for kept in range(last_write + 1):
            follower = behind(kept_log)
            follower.disk.writes_left = last_write
            with pytest.raises(DiskFailure):
                follower.stage(*chunks)
            follower.crash(kept)
            present = Whole.of(follower)
            assert present in (old, new)
            assert follower.recover().hard_state == HardState(2 if kept_log else 1)
            seen.add(present == new)
            go_on(leader, follower)
            assert Whole.of(follower) == new
    assert seen == {False, True}


def installed_on(follower: StoredNode, chunks: list[SnapshotChunk]) -> Whole:
    follower.stage(*chunks)
    return Whole.of(follower)


def go_on(leader: StoredNode, follower: StoredNode) -> None:
    """Send the snapshot from the follower's position on, as a leader does."""
    chunk = leader.first_chunk()
    while follower.applied_index < LAST:
        staged = [each for each in follower.stage(chunk) if isinstance(each, ChunkStaged)]
        if not staged:
            return
        (read,) = leader.turn(FetchSnapshot(PEER, staged[0].position))
        assert read.chunk is not None
        chunk = read.chunk


# --- equal tables

COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.just(OpenSession()),
    st.builds(
        Insert,
        st.sampled_from(["a", "b", "jobs/1", "jobs/2", "jobs/x/1"]),
        st.binary(max_size=30),
        st.sampled_from([None, 0, 1, 2]),
    ),
    st.builds(Remove, st.sampled_from(["a", "jobs/1", "jobs/x/1"]), st.sampled_from([None, 1])),
)
ENTRIES = st.lists(st.lists(COMMANDS, max_size=3), min_size=3, max_size=20)


@settings(max_examples=60, deadline=None)
@given(commands=ENTRIES, data=st.data())
def test_entries_alone_and_a_snapshot_with_entries_lead_to_equal_tables(
    commands: list[list[Command]], data: st.DataObject
) -> None:
    entries = [entry(2, OpenSession())]
    entries += [entry(index, *each) for index, each in enumerate(commands, start=3)]
    cut = data.draw(st.integers(1, len(entries)), label="entries in the snapshot")
    held = data.draw(st.integers(0, len(entries)), label="entries that the follower has")
    applied = data.draw(st.integers(0, min(held, cut - 1)), label="of which are applied")
    leader, follower = StoredNode(), StoredNode(PEER)
    leader.apply(*entries[:cut])
    prepare(follower, entries[:held], applied)
    follower.stage(*leader.chunks())
    assert follower.rows == leader.rows
    missing = [each for each in entries[cut:] if each.index > follower.store.last_index]
    leader.turn(leader.append(*entries[cut:]), Commit(len(entries) + 1))
    follower.turn(follower.append(*missing), Commit(len(entries) + 1))
    if data.draw(st.booleans(), label="a crash"):
        follower.crash()
        follower.turn(Commit(len(entries) + 1))
    assert follower.rows == leader.rows
    assert follower.writer.revision == leader.writer.revision


def prepare(follower: StoredNode, entries: list[LogEntry], applied: int) -> None:
    if entries:
        follower.turn(follower.append(*entries))
    if applied:
        follower.turn(Commit(applied + 1))
