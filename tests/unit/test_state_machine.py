"""StateMachine: entries apply exactly once, with equal results on every node and after restarts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.membership import Member, Membership
from protocol.state.commands import (
    Batch,
    Event,
    Insert,
    Inserted,
    OpenSession,
    Remove,
    Removed,
    Result,
    RevisionMismatch,
    SessionExpired,
    SessionOpened,
    Write,
)
from protocol.state.machine import SESSION_MAX, EntryOutcome, StateMachine
from protocol.state.sessions import SESSIONS_MAX
from protocol.wire import encode
from tests.harness.memory_table import MemoryTable

ORIGIN, ASKER = b"o" * 16, b"a" * 16
OPEN = Write(0, 0, 0, OpenSession())


class Replica:
    """A state machine with its tables, which outlive it."""

    def __init__(self) -> None:
        self.values = MemoryTable()
        self.prefixes = MemoryTable()
        self.sessions = MemoryTable()
        self.leases = MemoryTable()
        self.lease_keys = MemoryTable()
        self.rights = MemoryTable()
        self.reload()

    def reload(self) -> None:
        """Reload from the tables."""
        leases = (self.leases, self.lease_keys)
        tables = (self.values, self.prefixes, self.sessions, *leases, self.rights)
        self.machine = StateMachine(tables, list(self.sessions.items()))

    def apply(self, *writes: Write) -> EntryOutcome:
        """Apply one entry, and store its changes in the tables."""
        batch = Batch(ORIGIN, 2, 3, writes)
        return self.apply_entry(EntryKind.BATCH, encode(batch))

    def apply_entry(self, kind: EntryKind, payload: bytes = b"") -> EntryOutcome:
        entry = LogEntry(self.machine.applied_index + 1, 1, kind, payload)
        outcome = self.machine.apply(entry)
        self.machine.store_progress()
        return outcome

    def result(self, write: Write) -> Result:
        """Apply one write alone."""
        (result,) = self.apply(write).results
        return result

    @property
    def tables(self) -> tuple[dict[bytes, bytes], ...]:
        leases = (self.leases, self.lease_keys)
        tables = (self.values, self.prefixes, self.sessions, *leases, self.rights)
        return tuple(map(dict, tables))


@pytest.fixture
def replica() -> Replica:
    """Return a replica with session 1 open."""
    replica = Replica()
    assert replica.result(OPEN) == SessionOpened(1)
    return replica


def insert(sequence: int, key: str = "a", *, acknowledged: int = 0, session: int = 1) -> Write:
    return Write(session, sequence, acknowledged, Insert(key, b"%d" % sequence))


# --- exactly once


def test_a_retry_returns_the_first_result(replica: Replica) -> None:
    assert replica.result(insert(1)) == Inserted(1)
    outcome = replica.apply(insert(1))
    assert outcome.results == (Inserted(1),)
    assert outcome.events == ()
    assert replica.machine.revision == 1


def test_a_retry_after_other_writes_returns_the_first_result(replica: Replica) -> None:
    replica.apply(OPEN)
    first = replica.result(insert(1))
    replica.apply(insert(2), insert(1, session=2), insert(3, "b"))
    assert replica.result(insert(1)) == first == Inserted(1)
    assert replica.machine.revision == 4


def test_a_retry_of_a_conditional_write_returns_the_first_outcome(replica: Replica) -> None:
    create = Write(1, 1, 0, Insert("a", b"x", if_revision=0))
    assert replica.result(create) == Inserted(1)
    assert replica.result(create) == Inserted(1), "not a mismatch with its own effect"
    again = Write(1, 2, 0, Insert("a", b"y", if_revision=0))
    assert replica.result(again) == RevisionMismatch(1)
    assert replica.result(Write(1, 3, 0, Remove("a"))) == Removed(existed=True, revision=2)
    assert replica.result(again) == RevisionMismatch(1)


def test_a_retry_within_one_entry_is_applied_once(replica: Replica) -> None:
    outcome = replica.apply(insert(1), insert(1))
    assert outcome.results == (Inserted(1), Inserted(1))
    assert len(outcome.events) == 1


def test_sequences_may_be_applied_out_of_order(replica: Replica) -> None:
    assert replica.result(insert(3)) == Inserted(1)
    assert replica.result(insert(1)) == Inserted(2)
    assert replica.result(insert(2)) == Inserted(3)
    assert [replica.result(insert(sequence)) for sequence in (1, 2, 3)] == [
        Inserted(2),
        Inserted(3),
        Inserted(1),
    ]


def test_an_acknowledged_write_is_forgotten_and_not_applied_again(replica: Replica) -> None:
    replica.apply(insert(1), insert(2), insert(3, acknowledged=3))
    assert replica.result(insert(2)) == SessionExpired()
    assert replica.result(insert(3)) == Inserted(3)
    assert replica.machine.revision == 3


def test_a_write_of_an_unknown_session_is_refused(replica: Replica) -> None:
    outcome = replica.apply(insert(1, session=99))
    assert outcome.results == (SessionExpired(),)
    assert outcome.events == ()
    assert replica.machine.revision == 0


def test_sessions_do_not_share_sequences(replica: Replica) -> None:
    replica.apply(OPEN)
    assert replica.result(insert(1, session=1)) == Inserted(1)
    assert replica.result(insert(1, session=2)) == Inserted(2)


def test_the_least_recently_used_session_is_evicted_beyond_the_limit(replica: Replica) -> None:
    replica.apply(*[OPEN] * (SESSIONS_MAX - 1))
    replica.apply(insert(1, session=1))
    replica.reload()
    assert replica.result(OPEN) == SessionOpened(SESSIONS_MAX + 1)
    assert replica.result(insert(2, session=1)) == Inserted(2)
    assert replica.result(insert(1, session=2)) == SessionExpired()
    assert len(replica.sessions) == SESSIONS_MAX


def test_skipped_session_numbers_are_never_opened(replica: Replica) -> None:
    replica.machine.skip_sessions(100)
    replica.machine.store_progress()
    replica.reload()
    assert replica.result(OPEN) == SessionOpened(102)
    assert replica.result(insert(1)) == Inserted(1), "the sessions before are still known"


def test_skipping_more_session_numbers_than_exist_is_an_error(replica: Replica) -> None:
    with pytest.raises(OverflowError):
        replica.machine.skip_sessions(SESSION_MAX)
    replica.machine.skip_sessions(SESSION_MAX - 2)
    assert replica.result(OPEN) == SessionOpened(SESSION_MAX)


# --- entries


def test_an_outcome_identifies_its_request(replica: Replica) -> None:
    outcome = replica.apply(insert(1, "a/b"))
    assert (outcome.origin, outcome.incarnation, outcome.number) == (ORIGIN, 2, 3)
    assert outcome.events == (Event(1, "a/b", b"1", 0),)


def test_an_entry_without_writes_advances_only_the_applied_index(replica: Replica) -> None:
    assert replica.apply_entry(EntryKind.NO_OP) == EntryOutcome()
    assert replica.machine.applied_index == 2
    assert replica.machine.revision == 0


def test_the_outcome_of_a_membership_change_identifies_its_requester(replica: Replica) -> None:
    change = MembershipChange(Membership((Member(ASKER, "a:1", True),)), ASKER, 4, 5)
    outcome = replica.apply_entry(EntryKind.MEMBERSHIP, encode(change))
    assert outcome == EntryOutcome(ASKER, 4, 5)


@pytest.mark.parametrize("index", [0, 1, 3])
def test_entries_are_applied_in_order_and_once(replica: Replica, index: int) -> None:
    with pytest.raises(AssertionError):
        replica.machine.apply(LogEntry(index, 1, EntryKind.NO_OP))


def test_a_restart_recovers_the_applied_index_and_revision(replica: Replica) -> None:
    replica.apply(insert(1), insert(2))
    replica.reload()
    machine = replica.machine
    assert (machine.applied_index, machine.applied_term, machine.revision) == (2, 1, 2)
    assert replica.result(OPEN) == SessionOpened(2)


# --- properties

writes = st.builds(
    Write,
    session=st.integers(0, 3),
    sequence=st.integers(1, 5),
    acknowledged=st.integers(0, 4),
    command=st.just(OpenSession())
    | st.builds(
        Insert, st.sampled_from(["a", "a/b"]), st.binary(max_size=1), st.none() | st.just(0)
    )
    | st.builds(Remove, st.sampled_from(["a", "a/b"])),
)
logs = st.lists(st.lists(writes, max_size=4), max_size=12)


class Model:
    """A plain model of exactly-once application."""

    def __init__(self) -> None:
        self.revision = 0
        self.keys: dict[str, int] = {}
        self.answers: list[dict[int, Result]] = []
        self.acknowledged: list[int] = []

    def apply(self, write: Write) -> Result:
        if isinstance(write.command, OpenSession):
            self.answers.append({})
            self.acknowledged.append(0)
            return SessionOpened(len(self.answers))
        if not 1 <= write.session <= len(self.answers):
            return SessionExpired()
        session = write.session - 1
        answers = self.answers[session]
        if write.sequence not in answers:
            if write.sequence < self.acknowledged[session]:
                return SessionExpired()
            answers[write.sequence] = self.execute(write.command)
            self.acknowledged[session] = max(self.acknowledged[session], write.acknowledged)
        elif write.sequence < self.acknowledged[session]:
            return SessionExpired()
        return answers[write.sequence]

    def execute(self, command: Any) -> Result:
        current = self.keys.get(command.key, 0)
        if command.if_revision not in (None, current):
            return RevisionMismatch(current)
        if isinstance(command, Insert):
            self.revision += 1
            self.keys[command.key] = self.revision
            return Inserted(self.revision)
        if current:
            self.revision += 1
            del self.keys[command.key]
        return Removed(bool(current), self.revision)


@given(logs)
def test_every_log_gives_the_same_results_as_a_simple_model(log: list[list[Write]]) -> None:
    replica, model = Replica(), Model()
    for batch in log:
        assert list(replica.apply(*batch).results) == [model.apply(write) for write in batch]
        assert replica.machine.revision == model.revision


@given(logs)
def test_a_replica_restarted_before_every_entry_ends_with_equal_tables(
    log: list[list[Write]],
) -> None:
    steady, restarted = Replica(), Replica()
    for batch in log:
        restarted.reload()
        assert restarted.apply(*batch) == steady.apply(*batch)
    assert restarted.tables == steady.tables


@given(logs)
def test_the_tables_do_not_depend_on_how_often_progress_is_stored(log: list[list[Write]]) -> None:
    often, once = Replica(), Replica()
    for batch in log:
        often.apply(*batch)
        payload = encode(Batch(ORIGIN, 2, 3, tuple(batch)))
        index = once.machine.applied_index + 1
        once.machine.apply(LogEntry(index, 1, EntryKind.BATCH, payload))
    often.machine.store_progress()
    once.machine.store_progress()
    assert often.tables == once.tables


@given(logs)
def test_retrying_every_write_of_a_log_changes_nothing_more(log: list[list[Write]]) -> None:
    plain, retried = Replica(), Replica()
    for write in [each for batch in log for each in batch]:
        plain.apply(write)
        retried.apply(write)
        if not isinstance(write.command, OpenSession):
            retried.apply(write)
    assert retried.prefixes == plain.prefixes
    assert retried.machine.revision == plain.machine.revision
