"""Sessions: the results that one keeps, and the session that a new one evicts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.state.commands import Inserted, Remove, Result, SessionExpired, Write
from protocol.state.sessions import (
    BLOCK_RESULTS,
    Session,
    SessionRow,
    Sessions,
    is_duplicate,
    recall,
    remember,
)
from protocol.wire import encode
from tests.harness.memory_table import MemoryTable


def write(sequence: int, acknowledged: int = 0) -> Write:
    return Write(1, sequence, acknowledged, Remove("key"))


def stored(sessions: Sessions) -> MemoryTable:
    """Return the table that results from the changes of these sessions."""
    table = MemoryTable()
    store(sessions, table)
    return table


def store(sessions: Sessions, table: MemoryTable) -> None:
    for key, record in sessions.take_changes():
        if record is None:
            table.delete(key)
        else:
            table.put(key, record)


def known(sessions: Sessions, *numbers: int) -> list[int]:
    return [number for number in numbers if number in sessions._sessions]


def test_an_unopened_session_is_unknown() -> None:
    assert Sessions().find(1, use=1) is None


def test_a_result_is_kept_until_the_client_acknowledges_it() -> None:
    sessions = Sessions()
    sessions.open(1, use=1)
    session = sessions.find(1, use=2)
    assert session is not None
    for sequence in (1, 2, 3):
        assert not is_duplicate(session, write(sequence))
        remember(session, write(sequence), Inserted(sequence))
    remember(session, write(4, acknowledged=3), Inserted(4))
    assert [recall(session, write(each)) for each in (3, 4)] == [Inserted(3), Inserted(4)]
    assert [recall(session, write(each)) for each in (1, 2)] == [SessionExpired()] * 2
    assert all(is_duplicate(session, write(sequence)) for sequence in (1, 2, 3, 4))


def test_sequences_may_arrive_out_of_order() -> None:
    sessions = Sessions()
    sessions.open(1, use=1)
    session = sessions.find(1, use=2)
    assert session is not None
    remember(session, write(3), Inserted(3))
    assert not is_duplicate(session, write(1))
    assert not is_duplicate(session, write(2))


def test_an_acknowledgement_never_goes_backwards() -> None:
    sessions = Sessions()
    sessions.open(1, use=1)
    session = sessions.find(1, use=2)
    assert session is not None
    remember(session, write(5, acknowledged=5), Inserted(5))
    remember(session, write(6, acknowledged=2), Inserted(6))
    assert session.acknowledged == 5
    assert is_duplicate(session, write(4))


def test_the_least_recently_used_session_is_evicted() -> None:
    sessions = Sessions(sessions_max=3)
    for number in (1, 2, 3):
        sessions.open(number, use=number)
    sessions.find(1, use=4)
    sessions.open(4, use=5)
    assert known(sessions, 1, 2, 3, 4) == [1, 3, 4]


def test_the_same_session_is_evicted_after_a_restart() -> None:
    sessions = Sessions(sessions_max=3)
    for number in (1, 2, 3):
        sessions.open(number, use=number)
    sessions.find(1, use=4)
    reloaded = Sessions(stored(sessions).items(), sessions_max=3)
    for each in (sessions, reloaded):
        each.open(4, use=5)
    assert known(reloaded, 1, 2, 3, 4) == known(sessions, 1, 2, 3, 4) == [1, 3, 4]


def test_only_changed_sessions_are_stored_again() -> None:
    sessions = Sessions()
    sessions.open(1, use=1)
    sessions.open(2, use=2)
    assert len(stored(sessions)) == 2
    sessions.find(2, use=3)
    assert [int.from_bytes(key, "big") for key, _ in sessions.take_changes()] == [2]
    assert list(sessions.take_changes()) == []


def test_an_evicted_session_is_deleted_from_the_table() -> None:
    sessions = Sessions(sessions_max=1)
    table = MemoryTable()
    sessions.open(1, use=1)
    store(sessions, table)
    sessions.open(2, use=2)
    sessions.open(3, use=3)
    store(sessions, table)
    assert list(table) == [(3).to_bytes(8, "big")]


def test_a_reloaded_session_remembers_its_results() -> None:
    sessions = Sessions()
    sessions.open(1, use=1)
    session = sessions.find(1, use=2)
    assert session is not None
    remember(session, write(7, acknowledged=5), Inserted(7))
    reloaded = Sessions(stored(sessions).items()).find(1, use=3)
    assert reloaded is not None
    assert reloaded.results == {7: Inserted(7)}
    assert reloaded.acknowledged == 5


def test_a_session_of_an_earlier_version_keeps_all_of_its_results() -> None:
    results: dict[int, Result] = {each: Inserted(each) for each in range(1, 500)}
    table = MemoryTable()
    table.put((1).to_bytes(8, "big"), encode(SessionRow(1, 0, results)))
    for _ in range(2):
        sessions = Sessions(table.items())
        session = sessions.find(1, use=2)
        assert session is not None
        assert session.results == results
        store(sessions, table)
    assert len(table) == 500 // BLOCK_RESULTS + 1


def test_rows_do_not_depend_on_the_order_of_results() -> None:
    tables = []
    for order in ((1, 2, 3, 20), (3, 1, 2, 20)):
        sessions, table = Sessions(), MemoryTable()
        sessions.open(1, use=1)
        session = sessions.find(1, use=2)
        assert session is not None
        for sequence in order:
            remember(session, write(sequence), Inserted(sequence))
        store(sessions, table)
        tables.append(list(table.items()))
    assert tables[0] == tables[1]


def test_all_rows_of_an_evicted_session_are_deleted() -> None:
    sessions, table = Sessions(sessions_max=1), MemoryTable()
    sessions.open(1, use=1)
    session = sessions.find(1, use=2)
    assert session is not None
    for sequence in range(1, 1000):
        remember(session, write(sequence), Inserted(sequence))
    store(sessions, table)
    assert len(table) > 10
    sessions.open(2, use=3)
    store(sessions, table)
    assert list(table) == [(2).to_bytes(8, "big")]


def test_an_acknowledgement_may_jump_to_the_largest_sequence() -> None:
    session = Session(1)
    remember(session, write(1), Inserted(1))
    remember(session, write((1 << 63) - 1, acknowledged=(1 << 63) - 2), Inserted(2))
    assert session.results == {(1 << 63) - 1: Inserted(2)}


@settings(deadline=None)
@given(st.data())
def test_rows_depend_on_the_writes_and_not_on_when_they_were_stored(data: st.DataObject) -> None:
    """Two nodes store the same rows, independently of store times and restarts."""
    often, seldom = Sessions(), Sessions()
    tables = MemoryTable(), MemoryTable()
    for sessions in (often, seldom):
        sessions.open(1, use=1)
    expected: dict[int, Inserted] = {}
    lowest = 0
    for _ in range(data.draw(st.integers(1, 60))):
        sequence = data.draw(st.integers(lowest, lowest + 4 * BLOCK_RESULTS))
        acknowledged = data.draw(st.integers(max(0, lowest - 10), sequence))
        for sessions in (often, seldom):
            session = sessions.find(1, use=2)
            assert session is not None
            assert is_duplicate(session, write(sequence)) == (sequence in expected)
            if sequence not in expected:
                remember(session, write(sequence, acknowledged), Inserted(sequence))
        if sequence not in expected:
            lowest = max(lowest, acknowledged)
            expected[sequence] = Inserted(sequence)
            expected = {each: result for each, result in expected.items() if each >= lowest}
        assert session is not None
        recalled = {each: recall(session, write(each)) for each in session.results}
        assert {a: b for a, b in recalled.items() if b != SessionExpired()} == expected
        store(often, tables[0])
        if data.draw(st.booleans()):
            often = Sessions(tables[0].items())
    store(seldom, tables[1])
    assert dict(tables[0].items()) == dict(tables[1].items())
