"""Election clock: the deadlines of leaders, followers and candidates."""

import pytest

from protocol.deadlines import NEVER
from protocol.election_clock import Due, ElectionClock, ElectionTimeouts
from protocol.messages.replicator import (
    ElectionDue,
    HeartbeatDue,
    LeaderQuiet,
    QuorumCheckDue,
    StorageCheckDue,
)
from protocol.messages.timer import ClockState

TIMEOUTS = ElectionTimeouts(heartbeat=2.0, shortest=10.0, longest=20.0)


def following(contact: int = 0, *, votes: bool = True) -> ClockState:
    return ClockState(leading=False, votes=votes, contact_count=contact)


def leading(contact: int = 0) -> ClockState:
    return ClockState(leading=True, votes=True, contact_count=contact)


def clock_of(state: ClockState, *, chance: float = 0.5) -> ElectionClock:
    clock = ElectionClock(TIMEOUTS, now=0.0, chance=chance)
    clock.update(state, now=0.0, chance=chance)
    return clock


def take_due(clock: ElectionClock, now: float, chance: float) -> list[Due]:
    """Return the due deadlines except storage checks, which have a test of their own."""
    return [each for each in clock.take_due(now, chance) if each != StorageCheckDue()]


@pytest.mark.parametrize("state", [following(), following(votes=False), leading()])
def test_storage_is_checked_once_per_longest_timeout_in_every_role(state: ClockState) -> None:
    clock = clock_of(state)
    asked = []
    for now in range(65):
        clock.update(state, now=float(now), chance=0.5)
        if StorageCheckDue() in clock.take_due(float(now), 0.5):
            asked.append(now)
    assert asked == [20, 40, 60]


def test_a_leader_is_quiet_after_the_shortest_timeout_and_then_an_election_is_due() -> None:
    clock = clock_of(following(3))
    assert clock.next_deadline() == 10.0
    assert take_due(clock, 9.9, 0.5) == []
    assert take_due(clock, 10.0, 0.5) == [LeaderQuiet(3)]
    assert clock.next_deadline() == 15.0
    assert take_due(clock, 15.0, 0.5) == [ElectionDue(3)]


@pytest.mark.parametrize(("chance", "deadline"), [(0.0, 10.0), (0.25, 12.5), (1.0, 20.0)])
def test_elections_are_spread_randomly_between_the_shortest_and_longest_timeout(
    chance: float, deadline: float
) -> None:
    clock = clock_of(following(), chance=chance)
    take_due(clock, 10.0 if chance else 9.0, chance)
    assert clock.next_deadline() == deadline


def test_contact_with_a_leader_postpones_both_deadlines() -> None:
    clock = clock_of(following(1))
    clock.update(following(2), now=8.0, chance=0.5)
    assert take_due(clock, 17.9, 0.5) == []
    assert take_due(clock, 18.0, 0.5) == [LeaderQuiet(2)]
    assert take_due(clock, 23.0, 0.5) == [ElectionDue(2)]


def test_an_update_without_contact_postpones_no_deadline() -> None:
    clock = clock_of(following(1, votes=False))
    clock.update(following(1), now=8.0, chance=0.5)
    assert take_due(clock, 15.0, 0.5) == [LeaderQuiet(1), ElectionDue(1)]


def test_a_failed_election_is_due_again_and_leader_quiet_is_reported_once() -> None:
    clock = clock_of(following())
    assert take_due(clock, 15.0, 0.5) == [LeaderQuiet(0), ElectionDue(0)]
    assert take_due(clock, 30.0, 0.0) == [ElectionDue(0)]
    assert take_due(clock, 40.0, 0.0) == [ElectionDue(0)]


def test_a_non_voter_has_no_election_until_it_votes() -> None:
    clock = clock_of(following(votes=False))
    assert take_due(clock, 15.0, 0.5) == [LeaderQuiet(0)]
    assert take_due(clock, 30.0, 0.5) == []
    clock.update(following(), now=31.0, chance=0.5)
    assert take_due(clock, 45.0, 0.5) == [ElectionDue(0)]


def test_a_leader_only_sends_heartbeats_and_checks_its_quorum() -> None:
    clock = clock_of(leading())
    assert clock.next_deadline() == 2.0
    due = [each for now in range(41) for each in take_due(clock, float(now), 0.5)]
    assert due.count(HeartbeatDue()) == 20
    assert due.count(QuorumCheckDue()) == 2
    assert len(due) == 22


def test_a_late_turn_sends_one_heartbeat_instead_of_all_missed_ones() -> None:
    clock = clock_of(leading())
    assert take_due(clock, 11.0, 0.5) == [HeartbeatDue()]
    assert clock.next_deadline() == 13.0


def test_contact_while_leading_changes_no_deadline() -> None:
    clock = clock_of(leading(1))
    clock.update(leading(2), now=1.5, chance=0.5)
    assert clock.next_deadline() == 2.0


def test_a_leader_that_steps_down_waits_a_whole_timeout_before_it_campaigns() -> None:
    clock = clock_of(leading(1))
    clock.update(following(1), now=7.0, chance=0.5)
    assert clock.next_deadline() == 17.0
    assert take_due(clock, 22.0, 0.5) == [LeaderQuiet(1), ElectionDue(1)]


def test_a_follower_that_becomes_leader_has_no_election() -> None:
    clock = clock_of(following())
    clock.update(leading(1), now=14.0, chance=0.5)
    assert take_due(clock, 15.0, 0.5) == []
    assert clock.next_deadline() == 16.0


def test_there_is_always_a_next_deadline() -> None:
    clock = clock_of(following())
    for state in (leading(1), following(2), following(2, votes=False), leading(3)):
        clock.update(state, now=50.0, chance=1.0)
        clock.take_due(50.0, 1.0)
        assert 50.0 < clock.next_deadline() < NEVER
