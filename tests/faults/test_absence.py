"""A short run of ``scripts/catch-up``, and its report."""

from pathlib import Path

import pytest

from protocol.compaction import LogLimits
from tests.faults.absence import Absence, measure, report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_a_follower_far_behind_catches_up_while_writes_continue(tmp_path: Path) -> None:
    told: list[str] = []
    absence = Absence(entries=3000, keys=700, limits=LogLimits(50, 500_000))
    figures = measure(tmp_path, absence, told.append)
    assert figures.failures == []
    assert figures.entries_behind >= absence.entries
    assert 0 < figures.seconds_to_install <= figures.seconds_to_catch_up
    assert figures.writes_meanwhile > 0
    assert "entries behind" in report(figures)
    assert len(told) == 3
