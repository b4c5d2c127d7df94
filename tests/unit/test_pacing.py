"""Pacing: commit notices and reports to the timer leave at a bounded rate, and none is lost."""

import pytest

from protocol.deadlines import NEVER
from protocol.messages.timer import ClockState
from protocol.raft.pacing import COMMIT_NOTICE_SECONDS, CONTACT_SECONDS, Pacing

FIRST, SECOND, THIRD = (ClockState(False, True, contacts) for contacts in (1, 2, 3))


@pytest.fixture
def pacing() -> Pacing:
    return Pacing()


def test_the_first_clock_state_is_reported_immediately_and_the_latest_one_later(
    pacing: Pacing,
) -> None:
    assert pacing.take_report(FIRST, 0.0) is FIRST
    assert pacing.deadline == NEVER
    assert pacing.take_report(SECOND, 0.01) is None
    assert pacing.take_report(THIRD, 0.02) is None
    assert pacing.deadline == CONTACT_SECONDS
    assert pacing.take_report(None, CONTACT_SECONDS) is THIRD
    assert pacing.take_report(None, 1.0) is None


def test_a_commit_notice_is_delayed_from_the_turn_in_which_it_is_first_owed(pacing: Pacing) -> None:
    pacing.schedule_commit_notice(1.0, owed=True)
    pacing.schedule_commit_notice(1.005, owed=True)
    assert pacing.deadline == 1.0 + COMMIT_NOTICE_SECONDS
    assert not pacing.is_commit_notice_due(1.005)
    assert pacing.is_commit_notice_due(1.0 + COMMIT_NOTICE_SECONDS)


def test_no_notice_is_due_once_entries_have_carried_the_commit_index(pacing: Pacing) -> None:
    pacing.schedule_commit_notice(1.0, owed=True)
    pacing.schedule_commit_notice(1.005, owed=False)
    assert not pacing.is_commit_notice_due(2.0)
    assert pacing.deadline == NEVER
