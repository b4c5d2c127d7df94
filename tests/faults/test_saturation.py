"""A short run of ``scripts/saturate``: slow writes are allowed, another leader is not."""

from pathlib import Path

import pytest

from tests.faults.saturation import PROCESSES, measure, report

pytestmark = [pytest.mark.cluster, pytest.mark.alone]

SECONDS = 6.0


def test_saturating_load_keeps_the_leader(tmp_path: Path) -> None:
    saturation = measure(tmp_path, SECONDS)
    assert len(saturation.writes) == PROCESSES
    assert sum(saturation.writes) > SECONDS * 100, "the load was no load"
    assert len(saturation.before) == 3
    assert saturation.after == saturation.before
    assert "0 elections" in report(saturation, SECONDS)
