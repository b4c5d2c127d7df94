"""Both linearizability checks: they accept linearizable histories, and refuse others."""

import pytest

from protocol.state.commands import Found, Inserted, Missing, Removed, RevisionMismatch
from tests.harness.breach import Breach
from tests.simulation.history import Kind, Operation
from tests.simulation.revision_order import RevisionOrder
from tests.simulation.search import Undecided, check_by_search


def wrote(value: str, begun: int, ended: int | None, revision: int = 0) -> Operation:
    outcome = Inserted(revision) if ended is not None else None
    return Operation("c", Kind.INSERT, "k", begun, value.encode(), None, ended, outcome)


def wrote_if(
    value: str, begun: int, ended: int | None, required: int, outcome: object
) -> Operation:
    return Operation("c", Kind.INSERT, "k", begun, value.encode(), required, ended, outcome)


def removed(begun: int, ended: int | None, outcome: Removed | None = None) -> Operation:
    return Operation("c", Kind.REMOVE, "k", begun, b"", None, ended, outcome)


def read(value: str, begun: int, ended: int, made: int, seen: int | None = None) -> Operation:
    outcome = Found(seen or made, made, made, 1, value.encode())
    return Operation("c", Kind.GET, "k", begun, b"", None, ended, outcome)


def read_nothing(begun: int, ended: int, seen: int = 0) -> Operation:
    return Operation("c", Kind.GET, "k", begun, b"", None, ended, Missing(seen))


GOOD = {
    "nothing": [],
    "one after another": [wrote("a", 1, 2, 1), read("a", 3, 4, 1), wrote("b", 5, 6, 2)],
    "a read beside a write may see it": [wrote("a", 1, 4, 1), read("a", 2, 3, 1)],
    "a read beside a write may not see it": [wrote("a", 1, 4, 1), read_nothing(2, 3)],
    "writes beside each other in either order": [
        wrote("a", 1, 4, 2),
        wrote("b", 2, 3, 1),
        read("a", 5, 6, 2),
    ],
    "a lost write that was done": [wrote("a", 1, None), read("a", 2, 3, 1)],
    "a lost write that was not done": [wrote("a", 1, None), read_nothing(2, 3)],
    "a lost write that was done much later": [
        wrote("a", 1, None),
        wrote("b", 2, 3, 1),
        read("b", 4, 5, 1),
        read("a", 6, 7, 2),
    ],
    "a condition that was met": [wrote("a", 1, 2, 1), wrote_if("b", 3, 4, 1, Inserted(2))],
    "a condition that was not met": [
        wrote("a", 1, 2, 1),
        wrote("b", 3, 4, 2),
        wrote_if("c", 5, 6, 1, RevisionMismatch(2)),
    ],
    "removed and absent": [
        wrote("a", 1, 2, 1),
        removed(3, 4, Removed(existed=True, revision=2)),
        read_nothing(5, 6, 2),
        removed(7, 8, Removed(existed=False, revision=2)),
    ],
    "a lost removal that lets a condition be met": [
        wrote("a", 1, 2, 1),
        removed(3, None),
        wrote_if("b", 4, None, 0, None),
        read("b", 5, 6, 3),
    ],
}

BAD = {
    "a read of the past": [wrote("a", 1, 2, 1), wrote("b", 3, 4, 2), read("a", 5, 6, 1)],
    "an acknowledged write that is gone": [wrote("a", 1, 2, 1), read_nothing(3, 4, 1)],
    "reads that go back": [
        wrote("a", 1, 2, 1),
        wrote("b", 3, 8, 2),
        read("b", 4, 5, 2),
        read("a", 6, 7, 1),
    ],
    "a read before anything was written": [read("a", 1, 2, 1), wrote("a", 3, 4, 1)],
    "a read of what nobody wrote": [wrote("a", 1, 2, 1), read("x", 3, 4, 1)],
    "a lost write that comes and goes": [
        wrote("a", 1, 2, 1),
        wrote("b", 3, None),
        read("b", 4, 5, 2),
        read("a", 6, 7, 1, 3),
    ],
    "two conditions met on one revision": [
        wrote("a", 1, 2, 1),
        wrote_if("b", 3, 4, 1, Inserted(2)),
        wrote_if("c", 5, 6, 1, Inserted(3)),
    ],
    "removed and still there": [
        wrote("a", 1, 2, 1),
        removed(3, 4, Removed(existed=True, revision=2)),
        read("a", 5, 6, 1, 2),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_linearizable_history_is_accepted(name: str) -> None:
    RevisionOrder(GOOD[name]).check()
    check_by_search(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_non_linearizable_history_is_refused_by_revision_order(name: str) -> None:
    with pytest.raises(Breach):
        RevisionOrder(BAD[name]).check()


@pytest.mark.parametrize("name", BAD)
def test_a_non_linearizable_history_is_refused_by_search(name: str) -> None:
    with pytest.raises(Breach):
        check_by_search(BAD[name])


def test_two_changes_with_one_revision_are_refused() -> None:
    with pytest.raises(Breach, match="two changes"):
        RevisionOrder([wrote("a", 1, 2, 1), wrote("b", 3, 4, 1)]).check()


def test_a_search_beyond_its_step_limit_is_undecided() -> None:
    writes = [wrote(f"{number}", number, 100 + number, number) for number in range(1, 12)]
    with pytest.raises(Undecided):
        check_by_search([*writes, read("x", 200, 201, 99)], steps_max=1000)


def test_a_history_too_long_for_the_sparing_search_is_explained_by_the_full_one() -> None:
    lost = removed(3, None)
    absent_only_after_it = wrote_if("never", 5, 11, 99, RevisionMismatch(0))
    writes = [wrote(f"{number}", 20 + number, 60 + number, 10 + number) for number in range(5)]
    history = [
        wrote("first", 1, 2, 1),
        lost,
        absent_only_after_it,
        wrote("seen", 10, 13, 3),
        read("seen", 12, 40, 3),
        *writes,
        removed(26, 70, Removed(existed=True, revision=20)),
        wrote("after", 27, 71, 21),
        wrote("last", 28, 72, 22),
    ]
    check_by_search(history, steps_max=100)


def test_each_key_is_searched_independently() -> None:
    other = Operation("c", Kind.GET, "other", 5, b"", None, 6, Missing(1))
    check_by_search([wrote("a", 1, 2, 1), other])
