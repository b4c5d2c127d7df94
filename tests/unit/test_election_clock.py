"""Which deadline is due when, for a leader and for everybody else."""

import pytest

from protocol.election_clock import NEVER, ElectionClock, ElectionTimeouts
from protocol.node_messages import (
    ClockState,
    ElectionDue,
    HeartbeatDue,
    LeaderQuiet,
    QuorumCheckDue,
)

TIMEOUTS = ElectionTimeouts(heartbeat=2.0, shortest=10.0, longest=20.0)


def following(contact: int = 0, *, votes: bool = True) -> ClockState:
    return ClockState(leading=False, votes=votes, contact=contact)


def leading(contact: int = 0) -> ClockState:
    return ClockState(leading=True, votes=True, contact=contact)


def clock_of(state: ClockState, *, chance: float = 0.5) -> ElectionClock:
    clock = ElectionClock(TIMEOUTS, now=0.0, chance=chance)
    clock.update(state, now=0.0, chance=chance)
    return clock


def test_a_leader_is_quiet_after_the_shortest_timeout_and_then_an_election_is_due() -> None:
    clock = clock_of(following(3))
    assert clock.next_deadline() == 10.0
    assert clock.take_due(9.9, 0.5) == []
    assert clock.take_due(10.0, 0.5) == [LeaderQuiet(3)]
    assert clock.next_deadline() == 15.0
    assert clock.take_due(15.0, 0.5) == [ElectionDue(3)]


@pytest.mark.parametrize(("chance", "deadline"), [(0.0, 10.0), (0.25, 12.5), (1.0, 20.0)])
def test_chance_spreads_elections_between_the_shortest_and_the_longest_timeout(
    chance: float, deadline: float
) -> None:
    clock = clock_of(following(), chance=chance)
    clock.take_due(10.0 if chance else 9.0, chance)
    assert clock.next_deadline() == deadline


def test_contact_with_a_leader_puts_off_both_deadlines() -> None:
    clock = clock_of(following(1))
    clock.update(following(2), now=8.0, chance=0.5)
    assert clock.take_due(17.9, 0.5) == []
    assert clock.take_due(18.0, 0.5) == [LeaderQuiet(2)]
    assert clock.take_due(23.0, 0.5) == [ElectionDue(2)]


def test_news_without_contact_puts_off_nothing() -> None:
    clock = clock_of(following(1, votes=False))
    clock.update(following(1), now=8.0, chance=0.5)
    assert clock.take_due(15.0, 0.5) == [LeaderQuiet(1), ElectionDue(1)]


def test_a_lost_election_is_due_again_and_the_quiet_leader_is_told_once() -> None:
    clock = clock_of(following())
    assert clock.take_due(15.0, 0.5) == [LeaderQuiet(0), ElectionDue(0)]
    assert clock.take_due(30.0, 0.0) == [ElectionDue(0)]
    assert clock.take_due(40.0, 0.0) == [ElectionDue(0)]


def test_who_does_not_vote_has_no_elections_until_it_does() -> None:
    clock = clock_of(following(votes=False))
    assert clock.take_due(15.0, 0.5) == [LeaderQuiet(0)]
    assert clock.take_due(30.0, 0.5) == []
    clock.update(following(), now=31.0, chance=0.5)
    assert clock.take_due(45.0, 0.5) == [ElectionDue(0)]


def test_a_leader_beats_and_checks_its_quorum_and_nothing_else() -> None:
    clock = clock_of(leading())
    assert clock.next_deadline() == 2.0
    due = [each for now in range(41) for each in clock.take_due(float(now), 0.5)]
    assert due.count(HeartbeatDue()) == 20
    assert due.count(QuorumCheckDue()) == 2
    assert len(due) == 22


def test_a_late_turn_owes_one_heartbeat_and_not_all_that_were_missed() -> None:
    clock = clock_of(leading())
    assert clock.take_due(11.0, 0.5) == [HeartbeatDue()]
    assert clock.next_deadline() == 13.0


def test_contact_while_leading_changes_no_deadline() -> None:
    clock = clock_of(leading(1))
    clock.update(leading(2), now=1.5, chance=0.5)
    assert clock.next_deadline() == 2.0


def test_a_leader_that_steps_down_waits_a_whole_timeout_before_it_campaigns() -> None:
    clock = clock_of(leading(1))
    clock.update(following(1), now=7.0, chance=0.5)
    assert clock.next_deadline() == 17.0
    assert clock.take_due(22.0, 0.5) == [LeaderQuiet(1), ElectionDue(1)]


def test_a_follower_that_becomes_leader_has_no_election() -> None:
    clock = clock_of(following())
    clock.update(leading(1), now=14.0, chance=0.5)
    assert clock.take_due(15.0, 0.5) == []
    assert clock.next_deadline() == 16.0


def test_there_is_always_a_next_deadline() -> None:
    clock = clock_of(following())
    for state in (leading(1), following(2), following(2, votes=False), leading(3)):
        clock.update(state, now=50.0, chance=1.0)
        assert 50.0 < clock.next_deadline() < NEVER
