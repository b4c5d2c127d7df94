"""Lease keeping: keep-alives go out in time and together, and a lease that lacks them is lost."""

import pytest

from protocol.client import lease_keeping
from protocol.client.held_lease import HeldLease
from protocol.client.lease_keeping import LeaseKeeping
from protocol.deadlines import NEVER
from tests.harness.counted_lease import CountedLease

TTL = 12.0
COUNT = 500


def keeping(*leases: int, ttl: float = TTL, since: float = 0.0) -> LeaseKeeping:
    kept = LeaseKeeping()
    for lease in leases:
        kept.add(HeldLease(lease, ttl, since), since)
    return kept


def test_a_lease_lasts_from_before_its_grant_was_asked_for() -> None:
    held = HeldLease(1, TTL, since=5.0)
    assert held.remaining(6.0) == TTL - 1
    assert held.remaining(5.0 + TTL) == 0.0


def test_a_late_answer_to_an_early_keep_alive_shortens_nothing() -> None:
    held = HeldLease(1, TTL, since=0.0)
    held.extend(TTL, since=8.0)
    held.extend(TTL, since=4.0)
    assert held.valid_until == 8.0 + TTL


def test_a_lease_that_has_ended_is_lost_at_once_and_for_ever() -> None:
    held = HeldLease(1, TTL, since=0.0)
    held.extend(0.0, since=1.0)
    held.extend(TTL, since=0.5)
    assert held.is_lost
    assert held.remaining(1.0) == 0.0


def test_keep_alives_are_due_three_times_in_the_time_of_a_lease() -> None:
    kept = keeping(1)
    assert kept.next_deadline() == pytest.approx(4.0)
    assert kept.take_due(3.9) == ()
    assert kept.take_due(4.0) == (1,)
    kept.answered((1,), (12_000,), 4.0)
    assert kept.next_deadline() == pytest.approx(8.0)


def test_a_lease_that_was_idle_is_kept_alive_at_once() -> None:
    kept = LeaseKeeping()
    kept.add(HeldLease(1, TTL, since=0.0), now=1.0)
    kept.add(HeldLease(2, TTL, since=0.0), now=5.0)
    assert kept.next_deadline() == 4.0
    assert kept.take_due(5.0) == (1, 2)


def test_a_keep_alive_without_an_answer_is_repeated_sooner() -> None:
    kept = keeping(1)
    kept.take_due(4.0)
    assert kept.next_deadline() == pytest.approx(5.0)
    assert kept.take_due(5.0) == (1,)


def test_leases_that_are_due_soon_are_kept_alive_together() -> None:
    kept = keeping(1, 2)
    kept.add(HeldLease(3, TTL, 0.9), 0.9)
    kept.add(HeldLease(4, TTL, 2.0), 2.0)
    assert kept.take_due(4.0) == (1, 2, 3)


def test_a_lease_without_confirmed_keep_alives_is_lost_when_its_time_has_passed() -> None:
    kept = keeping(1)
    for second in range(4, 12):
        kept.take_due(float(second))
    assert kept.take_lost(11.9) == []
    assert [held.id for held in kept.take_lost(12.0)] == [1]
    assert not kept
    assert kept.next_deadline() == NEVER


def test_a_lease_that_a_node_says_has_ended_is_lost() -> None:
    kept = keeping(1, 2)
    kept.answered((1, 2), (0, 12_000), 4.0)
    assert [held.id for held in kept.take_lost(4.0)] == [1]


def test_an_answer_is_awaited_no_longer_than_every_lease_lasts() -> None:
    kept = keeping(1)
    kept.add(HeldLease(2, 30.0, 0.0), 0.0)
    assert kept.reply_timeout(4.0) == TTL - 4.0
    assert kept.reply_timeout(20.0) > 0


def test_an_answer_for_a_lease_that_was_dropped_meanwhile_is_ignored() -> None:
    kept = keeping(1, 2)
    kept.drop(1)
    kept.answered((1, 2), (12_000, 12_000), 4.0)
    assert kept.take_due(8.0) == (2,)
    assert [held.id for held in kept.take_all()] == [2]


def test_a_keep_alive_by_the_holder_extends_a_lease_that_is_kept() -> None:
    kept = LeaseKeeping()
    held = HeldLease(1, TTL, 0.0)
    kept.add(held, 0.0)
    held.extend(TTL, since=3.0)
    kept.take_due(4.0)
    assert kept.reply_timeout(4.0) == TTL - 1.0
    assert kept.take_lost(TTL) == []
    assert kept.take_lost(TTL + 3.0) == [held]


def test_leases_that_are_due_go_before_those_that_may_come_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_keeping, "LEASES_NAMED_MAX", 2)
    kept = keeping(1, 2, ttl=90.0, since=-24.0)  # due at 6.0, or by 7.5 s earlier
    kept.add(HeldLease(3, TTL, 0.0), 0.0)
    assert kept.take_due(4.0) == (3, 1)
    assert kept.take_due(6.0) == (3, 2)


def test_a_lease_that_is_added_anew_is_kept_alive_at_its_new_time_alone() -> None:
    kept = keeping(1)
    kept.drop(1)
    kept.add(HeldLease(1, TTL, 3.0), 3.0)
    assert kept.take_due(4.0) == ()
    assert kept.take_due(7.0) == (1,)
    assert kept.take_due(7.0) == ()


def test_no_call_looks_at_all_leases() -> None:
    def look(now: float) -> None:
        kept.take_lost(now)
        kept.take_due(now)
        kept.reply_timeout(now)
        kept.next_deadline()

    kept = LeaseKeeping()
    CountedLease.looked_at = 0
    for lease in range(COUNT):
        kept.add(CountedLease(lease, TTL, 0.0), 0.0)
        look(0.0)
    for second in range(12):
        look(float(second))
    kept.answered(range(COUNT), [12_000] * COUNT, 11.0)
    look(11.0)
    for lease in range(COUNT):
        kept.drop(lease)
        look(11.0)
    assert CountedLease.looked_at < 30 * COUNT
