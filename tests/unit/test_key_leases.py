"""KeyLeases: keys go with their lease, in one change, and only with their last one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.entry import EntryKind, LogEntry
from protocol.state import key_leases
from protocol.state.batches import InvalidOperation, check_command
from protocol.state.commands import (
    Batch,
    CheckpointLeases,
    Command,
    Event,
    ExpireLeases,
    Found,
    GrantLease,
    Inapplicable,
    Increment,
    Insert,
    Inserted,
    LeaseEnded,
    LeaseGranted,
    Lookup,
    NoLease,
    Obstacle,
    OpenSession,
    Remove,
    RemovePrefix,
    Result,
    RevisionMismatch,
    RevokeLease,
    Transact,
    Transacted,
    Write,
)
from protocol.state.key_leases import LeaseChanges, LeaseRow, find_lease
from protocol.state.key_value import FIRST_USER_KEY
from protocol.state.limits import LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN
from protocol.state.machine import EntryOutcome, StateMachine
from protocol.storage.state_tables import TableSets, is_row
from protocol.wire import encode
from tests.simulation.disk import Disk

TTL = 5000
VALUE = msgspec.msgpack.encode(1)


class Replica:
    """A state machine on the tables of a disk, with session 1 open."""

    def __init__(self) -> None:
        self.disk = Disk(lambda _: None)
        self.sequence = 0
        self.reload()
        self.apply(Write(0, 0, 0, OpenSession()))

    def reload(self) -> None:
        self.disk.write(sync=False)
        self.machine: StateMachine = TableSets(self.disk).active.machine()

    def apply(self, *writes: Write) -> EntryOutcome:
        payload = encode(Batch(b"o" * 16, 1, 1, writes))
        entry = LogEntry(self.machine.applied_index + 1, 1, EntryKind.BATCH, payload)
        outcome = self.machine.apply(entry)
        self.machine.store_progress()
        assert not outcome.fault
        return outcome

    def outcome(self, command: Command) -> EntryOutcome:
        self.sequence += 1
        return self.apply(Write(1, self.sequence, self.sequence, command))

    def do(self, command: Command) -> Result:
        (result,) = self.outcome(command).results
        return result

    def grant(self, ttl_ms: int = TTL) -> int:
        granted = self.do(GrantLease(ttl_ms))
        assert isinstance(granted, LeaseGranted)
        return granted.lease

    def expire(self, *leases: int) -> EntryOutcome:
        return self.apply(Write(0, 0, 0, ExpireLeases(leases)))

    @property
    def keys(self) -> list[str]:
        rows = TableSets(self.disk).active.values.keys_under(b"", FIRST_USER_KEY, 1 << 20)
        return [key.decode() for key in rows]

    @property
    def leases(self) -> dict[int, list[str]]:
        """The keys of each lease, by both tables."""
        tables = TableSets(self.disk).active
        found: dict[int, list[str]] = {}
        for row in tables.leases.keys_under(b"", b"", 1 << 20):
            lease = int.from_bytes(row, "big")
            keys = [key[8:].decode() for key in tables.lease_keys.keys_under(row, row, 1 << 20)]
            held = find_lease(tables.leases, lease)
            assert held is not None
            assert held.keys == len(keys)
            found[lease] = keys
        assert len(tables.lease_keys.keys_under(b"", b"", 1 << 20)) == sum(map(len, found.values()))
        return found


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_the_ids_of_leases_count_up_and_are_not_reused(replica: Replica) -> None:
    assert [replica.grant(), replica.grant()] == [1, 2]
    assert replica.do(RevokeLease(2)) == LeaseEnded(0, 0)
    replica.reload()
    assert replica.grant() == 3
    assert replica.leases == {1: [], 3: []}


def test_an_expired_lease_takes_its_keys_at_one_revision(replica: Replica) -> None:
    lease = replica.grant()
    for key in ("b", "a", "other"):
        replica.do(Insert(key, VALUE, None, 0 if key == "other" else lease))
    outcome = replica.expire(lease)
    assert outcome.results == (LeaseEnded(2, 4),)
    assert outcome.events == (
        Event(4, "a", None, 2, 0, VALUE, expired=True),
        Event(4, "b", None, 1, 1, VALUE, expired=True),
    )
    assert (replica.keys, replica.leases) == (["other"], {})


def test_a_revoked_lease_removes_its_keys(replica: Replica) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, None, lease))
    outcome = replica.outcome(RevokeLease(lease))
    assert outcome.results == (LeaseEnded(1, 2),)
    assert outcome.events == (Event(2, "a", None, 1, 0, VALUE),)
    assert replica.do(RevokeLease(lease)) == NoLease(lease, has_ended=True)


def test_each_expired_lease_with_keys_has_its_own_revision(replica: Replica) -> None:
    first, empty, last = (replica.grant() for _ in range(3))
    replica.do(Insert("a", VALUE, None, last))
    replica.do(Insert("b", VALUE, None, first))
    outcome = replica.expire(first, empty, last, 99, first)
    assert outcome.results == (LeaseEnded(2, 4),)
    assert [(event.revision, event.key) for event in outcome.events] == [(3, "b"), (4, "a")]


def test_a_key_that_was_attached_to_another_lease_stays_with_that_one(replica: Replica) -> None:
    first, second = replica.grant(), replica.grant()
    replica.do(Insert("a", VALUE, None, first))
    replica.do(Insert("a", VALUE, None, second))
    assert replica.leases == {first: [], second: ["a"]}
    replica.expire(first)
    assert replica.keys == ["a"]
    replica.expire(second)
    assert replica.keys == []


@pytest.mark.parametrize(
    "detach", [Insert("a", VALUE), Transact((), (Insert("a", VALUE),)), Insert("a", VALUE, 1)]
)
def test_an_insert_without_a_lease_takes_the_key_out(replica: Replica, detach: Command) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, None, lease))
    replica.do(detach)
    replica.expire(lease)
    assert (replica.keys, replica.leases) == (["a"], {})


@pytest.mark.parametrize(
    "remove", [Remove("a"), RemovePrefix(""), Transact((), (RemovePrefix("a"),))]
)
def test_a_removed_key_does_not_come_back_with_its_lease(replica: Replica, remove: Command) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, None, lease))
    replica.do(remove)
    replica.do(Insert("a", VALUE))
    replica.expire(lease)
    assert replica.keys == ["a"]


def test_an_increment_leaves_the_key_with_its_lease(replica: Replica) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, None, lease))
    replica.do(Increment("a"))
    replica.expire(lease)
    assert replica.keys == []


def test_a_repeated_insert_keeps_the_lease(replica: Replica) -> None:
    lease = replica.grant()
    for _ in range(3):
        replica.do(Insert("a", VALUE, None, lease))
    assert replica.leases == {lease: ["a"]}


# --- leases of keys' own


def test_a_key_with_a_ttl_has_a_lease_of_its_own(replica: Replica) -> None:
    assert replica.do(Insert("a", VALUE, ttl_ms=TTL)) == Inserted(1)
    assert replica.machine.take_lease_changes() == LeaseChanges([(1, TTL)], [])
    replica.expire(1)
    assert (replica.keys, replica.leases) == ([], {})
    assert replica.machine.take_lease_changes() == LeaseChanges([], [1])


@pytest.mark.parametrize("end", [Remove("a"), Insert("a", VALUE), RemovePrefix("")])
def test_a_lease_of_a_keys_own_ends_with_its_key(replica: Replica, end: Command) -> None:
    replica.do(Insert("a", VALUE, ttl_ms=TTL))
    replica.do(end)
    assert replica.leases == {}


def test_a_new_ttl_is_a_new_lease(replica: Replica) -> None:
    replica.do(Insert("a", VALUE, ttl_ms=TTL))
    replica.do(Insert("a", VALUE, ttl_ms=2 * TTL))
    assert replica.leases == {2: ["a"]}
    replica.expire(1)
    assert replica.keys == ["a"]


@pytest.mark.parametrize("command", [Insert("b", VALUE, None, 1), RevokeLease(1)])
def test_no_client_uses_a_lease_of_a_keys_own(replica: Replica, command: Command) -> None:
    replica.do(Insert("a", VALUE, ttl_ms=TTL))
    assert replica.do(command) == NoLease(1, has_ended=True)


# --- transactions


def test_a_transaction_reads_the_leases_of_its_own_writes(replica: Replica) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, ttl_ms=TTL))
    lookups = (Lookup("a"), Lookup("b"), Lookup("c"))
    then = (Increment("a"), Insert("b", VALUE, None, lease), Insert("c", VALUE, ttl_ms=TTL))
    result = replica.do(Transact((), (*then, *lookups)))
    assert isinstance(result, Transacted)
    found = [each for each in result.results if isinstance(each, Found)]
    assert [(each.lease, each.ttl_ms) for each in found] == [(0, TTL), (lease, 0), (0, TTL)]


def test_a_transaction_attaches_grants_and_detaches_as_one_change(replica: Replica) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, None, lease))
    then = (
        Insert("c", VALUE, ttl_ms=TTL),
        Insert("b", VALUE, None, lease),
        Insert("d", VALUE, ttl_ms=TTL),
        Remove("a"),
    )
    result = replica.do(Transact((), then))
    assert isinstance(result, Transacted)
    assert replica.leases == {lease: ["b"], 2: ["c"], 3: ["d"]}
    replica.expire(2)
    assert replica.keys == ["b", "d"]


@pytest.mark.parametrize(("lease", "has_ended"), [(1, True), (7, False)])
def test_a_missing_lease_changes_nothing(replica: Replica, lease: int, has_ended: bool) -> None:
    replica.grant()
    replica.do(RevokeLease(1))
    insert = Insert("a", VALUE, None, lease)
    assert replica.do(insert) == NoLease(lease, has_ended)
    ttl = Insert("b", VALUE, ttl_ms=TTL)
    assert replica.do(Transact((), (ttl, insert))) == NoLease(lease, has_ended)
    assert (replica.keys, replica.leases, replica.machine.revision) == ([], {}, 0)


def test_the_revision_is_checked_before_the_lease(replica: Replica) -> None:
    assert replica.do(Insert("a", VALUE, 3, 7)) == RevisionMismatch(0)


# --- bounds


def test_a_lease_has_no_more_keys_than_one_change_removes(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_leases, "LEASE_KEYS_MAX", 2)
    lease = replica.grant()
    full = Inapplicable(Obstacle.LEASE_FULL, str(lease))
    inserts = [Insert(key, VALUE, None, lease) for key in "abc"]
    assert replica.do(Transact((), tuple(inserts))) == full
    assert [type(replica.do(insert)) for insert in inserts] == [Inserted, Inserted, Inapplicable]
    assert replica.do(inserts[0]) == Inserted(3), "it has this key already"
    assert replica.keys == ["a", "b"]


def test_there_are_no_more_leases_than_allowed(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_leases, "LEASES_MAX", 2)
    full = Inapplicable(Obstacle.TOO_MANY_LEASES)
    inserts = [Insert(key, VALUE, ttl_ms=TTL) for key in "abc"]
    assert replica.do(Transact((), tuple(inserts))) == full
    assert [replica.do(insert) for insert in inserts] == [Inserted(1), Inserted(2), full]
    assert replica.do(GrantLease(TTL)) == full
    replica.reload()
    assert replica.do(GrantLease(TTL)) == full
    replica.expire(1)
    assert replica.grant() == 3


def test_an_entry_ends_no_more_leases_than_one_change_removes_keys(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_leases, "ENDED_KEYS_MAX", 3)
    leases = [replica.grant() for _ in range(3)]
    for lease in leases:
        for number in range(2):
            replica.do(Insert(f"{lease}/{number}", VALUE, None, lease))
    replica.expire(*leases)
    assert set(replica.leases) == {2, 3}
    replica.expire(*leases)
    replica.expire(*leases)
    assert replica.leases == {}


@pytest.mark.parametrize("ttl_ms", [0, LEASE_TTL_MS_MIN - 1, LEASE_TTL_MS_MAX + 1])
def test_a_ttl_beyond_its_bounds_is_refused(ttl_ms: int) -> None:
    refused: list[Command] = [GrantLease(ttl_ms)]
    if ttl_ms:
        insert = Insert("a", VALUE, ttl_ms=ttl_ms)
        refused += [insert, Transact((), (insert,))]
    for command in refused:
        with pytest.raises(InvalidOperation, match="a lease lasts from 1000 ms"):
            check_command(command, 100)
    check_command(GrantLease(LEASE_TTL_MS_MIN), 100)
    check_command(GrantLease(LEASE_TTL_MS_MAX), 100)


def test_a_key_has_a_lease_or_a_ttl() -> None:
    both = Insert("a", VALUE, None, 1, TTL)
    for command in (both, Transact((), (), (both,))):
        with pytest.raises(InvalidOperation, match="has a lease and a TTL of its own"):
            check_command(command, 100)


def test_no_client_and_no_other_node_lets_leases_expire() -> None:
    with pytest.raises(InvalidOperation, match="only a leader"):
        check_command(ExpireLeases((1,)), 100)
    with pytest.raises(InvalidOperation, match="only a leader"):
        check_command(CheckpointLeases(((1, 0),)), 100)


def test_a_checkpoint_is_recorded_until_it_is_undone(replica: Replica) -> None:
    lease = replica.grant()
    replica.machine.take_lease_changes()
    replica.apply(Write(0, 0, 0, CheckpointLeases(((lease, 3000), (99, 3000)))))
    replica.reload()
    assert TableSets(replica.disk).active.lease_times() == ((lease, TTL, 3000),)
    replica.do(Insert("a", VALUE, None, lease))
    replica.apply(Write(0, 0, 0, CheckpointLeases(((lease, 0),))))
    replica.reload()
    assert TableSets(replica.disk).active.lease_times() == ((lease, TTL, 0),)
    assert replica.leases == {lease: ["a"]}


# --- exactly once, restarts and snapshots


def test_retries_return_the_first_result(replica: Replica) -> None:
    grant = Write(1, 1, 1, GrantLease(TTL))
    insert = Write(1, 2, 1, Insert("a", VALUE, None, 1))
    revoke = Write(1, 3, 1, RevokeLease(1))
    first = [replica.apply(write).results for write in (grant, insert, revoke)]
    again = [replica.apply(write) for write in (grant, insert, revoke)]
    assert [each.results for each in again] == first
    assert not any(each.events for each in again)
    assert (replica.keys, replica.leases) == ([], {})


def test_a_snapshot_has_the_leases(replica: Replica) -> None:
    lease = replica.grant()
    replica.do(Insert("a", VALUE, None, lease))
    replica.do(Insert("b", VALUE, ttl_ms=2 * TTL))
    replica.reload()
    other = Replica()
    tables = TableSets(other.disk).active
    tables.clear()
    for row, value in TableSets(replica.disk).active.view().rows_after(b""):
        assert is_row(row, value)
        tables[row[0]].put(row[1:], value)
    other.reload()
    assert TableSets(other.disk).active.lease_times() == ((1, TTL, 0), (2, 2 * TTL, 0))
    assert other.expire(lease) == replica.expire(lease)
    assert (other.keys, other.leases) == (["b"], {2: ["b"]})


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (b"\x03" + bytes(7), encode(LeaseRow(1, False, 0))),
        (b"\x03" + bytes(8), encode([1])),
        (b"\x04" + bytes(8), b""),
        (b"\x04" + bytes(9), b"x"),
        (b"\x05" + bytes(9), b""),
    ],
)
def test_rows_that_are_none_of_leases_are_recognized(row: bytes, value: bytes) -> None:
    assert not is_row(row, value)


KEYS = st.sampled_from("abc")
LEASES = st.integers(0, 4)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.just(GrantLease(TTL)),
    st.builds(RevokeLease, LEASES),
    st.builds(ExpireLeases, st.tuples(LEASES, LEASES)),
    st.builds(Insert, KEYS, st.just(VALUE), st.none(), LEASES),
    st.builds(Insert, KEYS, st.just(VALUE), ttl_ms=st.just(TTL)),
    st.builds(Remove, KEYS),
    st.just(RemovePrefix("a")),
    st.builds(
        lambda *then: Transact((), then),
        st.builds(Insert, st.just("a"), st.just(VALUE), st.none(), LEASES),
        st.builds(Insert, st.just("b"), st.just(VALUE), ttl_ms=st.sampled_from([0, TTL])),
        st.builds(Remove, st.just("c")),
    ),
)


@given(st.lists(COMMANDS, max_size=25))
def test_keys_have_the_lease_of_their_last_insert(commands: list[Command]) -> None:
    replica = Replica()
    for command in commands:
        if isinstance(command, ExpireLeases):
            replica.expire(*command.leases)
        else:
            replica.do(command)
        held = {key: lease for lease, keys in replica.leases.items() for key in keys}
        assert len(held) == sum(map(len, replica.leases.values())), "a key with two leases"
        for key in "abc":
            stored = replica.machine._key_value.read(key.encode())
            assert (stored.lease if stored else 0) == held.get(key, 0)
        assert replica.machine._leases.count == len(replica.leases)
