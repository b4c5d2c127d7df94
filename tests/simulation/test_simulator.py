"""The simulator itself: runs are reproducible, and a breach is found and shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.raft import commit
from tests.simulation.campaign import Plan
from tests.simulation.options import FaultRates, draw_options
from tests.simulation.report import totals_report
from tests.simulation.run import run
from tests.simulation.totals import Totals

ROOT = Path(__file__).parents[2]
EVENTS = 1500
HASH_PROGRAM = f"""
from tests.simulation.options import draw_options
from tests.simulation.run import run
print([run(draw_options(seed, None), "", {EVENTS}).hash for seed in range(4)])
"""


def hashes_in_a_process_of_its_own(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", HASH_PROGRAM]
    return subprocess.run(
        command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    here = str([run(draw_options(seed, None), "", EVENTS).hash for seed in range(4)])
    assert hashes_in_a_process_of_its_own("1").strip() == here
    assert hashes_in_a_process_of_its_own("2").strip() == here


def test_different_seeds_give_different_runs() -> None:
    assert run(draw_options(1, 3), "", EVENTS).hash != run(draw_options(2, 3), "", EVENTS).hash


def test_a_violated_rule_is_found_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "majority_index", max)  # a single disk commits
    plan = Plan(range(20), nodes=3)
    failures = [
        result.failure
        for seed in plan.seeds
        if (result := run(draw_options(seed, 3), plan.command(seed), shown=5)).failure
    ]
    assert failures
    seed = int(failures[0].partition(":")[0].removeprefix("seed "))
    assert f"again: scripts/simulate --seed {seed} --nodes 3" in failures[0]
    assert "committed before a majority's disks hold it" in failures[0]
    table = failures[0].partition("the last 5 events:\n")[2].splitlines()
    assert table[0].split() == ["seconds", "where", "what", "of", "what"]
    assert len(table) == 6


def test_the_replay_command_names_only_non_default_options() -> None:
    assert Plan(range(9)).command(7) == "scripts/simulate --seed 7"
    plan = Plan(range(9), nodes=5, events=100)
    assert plan.command(7) == "scripts/simulate --seed 7 --nodes 5 --events 100"


def test_every_kind_of_fault_is_drawn_by_some_seeds_and_not_by_others() -> None:
    rates = [draw_options(seed, None).rates for seed in range(100)]
    for name in FaultRates.__struct_fields__:
        assert {bool(getattr(each, name)) for each in rates} == {True, False}, name


def test_totals_are_printed_with_their_names() -> None:
    printed = totals_report(Totals(seeds=3, elections=12), seconds=1.5)
    assert "elections" in printed
    assert "2.00" in printed
