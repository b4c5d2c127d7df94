"""Agenda: the first number is found without a look at the others."""

import math

import pytest

from protocol.client import agenda
from protocol.client.agenda import Agenda
from protocol.deadlines import NEVER

COUNT = 2000


class CountedTime(float):
    """A time that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        CountedTime.compared += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        CountedTime.compared += 1
        return isinstance(other, float) and float(self) == float(other)

    __hash__ = float.__hash__


def agenda_of(**times: float) -> Agenda:
    made = Agenda()
    for name, at in times.items():
        made.set(int(name.removeprefix("n")), at)
    return made


def test_numbers_are_taken_when_they_are_due_in_order_of_their_times() -> None:
    due = agenda_of(n1=5.0, n2=3.0, n3=7.0)
    assert due.first() == 2
    assert due.next_deadline() == 3.0
    assert due.take_due(2.9, 10) == []
    assert due.take_due(6.0, 10) == [2, 1]
    assert due.take_due(6.0, 10) == []
    assert due.next_deadline() == 7.0


def test_no_more_numbers_are_taken_than_are_asked_for() -> None:
    due = agenda_of(n1=1.0, n2=2.0, n3=3.0)
    assert due.take_due(9.0, 2) == [1, 2]
    assert due.take_due(9.0, 2) == [3]


def test_only_the_last_time_of_a_number_counts() -> None:
    due = agenda_of(n1=1.0, n2=4.0)
    due.set(1, 5.0)
    assert due.next_deadline() == 4.0
    due.set(1, 1.0)
    due.set(1, 1.0)
    assert due.take_due(9.0, 10) == [1, 2]
    assert due.next_deadline() == NEVER


def test_a_number_that_was_dropped_is_never_due() -> None:
    due = agenda_of(n1=1.0)
    due.drop(1)
    due.drop(2)
    assert due.first() is None
    due.set(1, 2.0)
    assert due.take_due(1.5, 10) == []
    assert due.take_due(2.0, 10) == [1]


def test_changes_cost_the_logarithm_of_the_count() -> None:
    CountedTime.compared = 0
    due = Agenda()
    for number in range(COUNT):
        due.set(number, CountedTime(COUNT - number))
        due.next_deadline()
    for number in range(COUNT):
        due.set(number, CountedTime(2 * COUNT + number))
        due.next_deadline()
    for number in range(COUNT):
        due.drop(number)
        due.next_deadline()
    assert CountedTime.compared < 5 * 3 * COUNT * math.log2(COUNT)


def test_places_that_were_given_up_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "STALE_MAX", 10)
    due = agenda_of(n1=0.0)
    for number in range(2, COUNT):
        due.set(number, float(number))
        due.set(1, -float(number))
        due.drop(number)
        assert len(due._heap) <= 2 * 2 + 10
    assert due.take_due(float(COUNT), 10) == [1]
