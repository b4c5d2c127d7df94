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


def results_of(session: Session) -> dict[int, Result]:
    return {each: result for block in session.blocks.values() for each, result in block.items()}


def known(sessions: Sessions, *numbers: int, user: bytes = b"") -> list[int]:
    return [number for number in numbers if sessions._held.find(user, number)]


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


ANN, BEN, CAT = b"ann", b"ben", b"cat"


def test_a_user_evicts_its_own_sessions_and_not_those_of_others() -> None:
    sessions = Sessions(sessions_max=4)
    sessions.open(1, use=1, user=BEN)
    for number in range(2, 100):
        sessions.open(number, use=number, user=ANN)
    assert known(sessions, 1, user=BEN) == [1]
    assert known(sessions, *range(100), user=ANN) == [97, 98, 99]


def test_others_make_room_for_a_user_with_fewer_sessions() -> None:
    sessions = Sessions(sessions_max=4)
    for number in range(1, 5):
        sessions.open(number, use=number, user=ANN)
    for number in range(5, 9):
        sessions.open(number, use=number, user=BEN)
    assert known(sessions, *range(9), user=ANN) == [3, 4]
    assert known(sessions, *range(9), user=BEN) == [7, 8]


def test_of_users_with_equally_many_sessions_the_longest_idle_one_makes_room() -> None:
    sessions = Sessions(sessions_max=4)
    for number, user in enumerate((ANN, BEN, ANN, BEN), start=1):
        sessions.open(number, use=number, user=user)
    sessions.find(1, use=5, user=ANN)
    sessions.find(3, use=6, user=ANN)
    sessions.open(5, use=7, user=CAT)
    assert known(sessions, 1, 3, user=ANN) == [1, 3]
    assert known(sessions, 2, 4, user=BEN) == [4]


@settings(deadline=None)
@given(
    done=st.lists(
        st.tuples(st.sampled_from((b"", ANN, BEN, CAT)), st.integers(0, 3), st.booleans()),
        max_size=60,
    )
)
def test_which_session_is_evicted_does_not_depend_on_restarts(
    done: list[tuple[bytes, int, bool]],
) -> None:
    """Each step opens a session of a user, or uses the one before; some steps end in a restart."""
    steady, restarted = (Sessions(sessions_max=5) for _ in range(2))
    tables = MemoryTable(), MemoryTable()
    for use, (user, back, restarts) in enumerate(done, start=1):
        for sessions in (steady, restarted):
            if not back:
                sessions.open(use, use, user)
            elif (session := sessions.find(use - back, use, user)) is not None:
                remember(session, Write(use - back, 40 * use, 0, Remove("key")), Inserted(use))
        if restarts:
            store(restarted, tables[1])
            restarted = Sessions(tables[1].items(), sessions_max=5)
    store(steady, tables[0])
    store(restarted, tables[1])
    assert dict(tables[0].items()) == dict(tables[1].items())


def test_the_sessions_of_a_key_end_with_all_their_rows() -> None:
    sessions, table = Sessions(), MemoryTable()
    for number, user in enumerate((ANN, ANN, BEN), start=1):
        sessions.open(number, use=number, user=user)
    session = sessions.find(1, use=4, user=ANN)
    assert session is not None
    for sequence in range(1, 100):
        remember(session, write(sequence), Inserted(sequence))
    store(sessions, table)
    sessions.find(1, use=5, user=ANN)
    sessions.end_all(ANN)
    store(sessions, table)
    assert list(table) == [(3).to_bytes(8, "big")]
    assert sessions.find(1, use=6, user=ANN) is None


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
    assert results_of(reloaded) == {7: Inserted(7)}
    assert reloaded.acknowledged == 5


def test_a_session_of_an_earlier_version_keeps_all_of_its_results() -> None:
    results: dict[int, Result] = {each: Inserted(each) for each in range(1, 500)}
    table = MemoryTable()
    table.put((1).to_bytes(8, "big"), encode(SessionRow(1, 0, results)))
    for _ in range(2):
        sessions = Sessions(table.items())
        session = sessions.find(1, use=2)
        assert session is not None
        assert results_of(session) == results
        store(sessions, table)
    assert len(table) == 500 // BLOCK_RESULTS + 1


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
    assert results_of(session) == {(1 << 63) - 1: Inserted(2)}


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
        recalled = {each: recall(session, write(each)) for each in results_of(session)}
        assert {a: b for a, b in recalled.items() if b != SessionExpired()} == expected
        store(often, tables[0])
        if data.draw(st.booleans()):
            often = Sessions(tables[0].items())
    store(seldom, tables[1])
    assert dict(tables[0].items()) == dict(tables[1].items())
