"""Seeds: the invariants of whole clusters hold during faults and afterwards."""

import pytest

from tests.simulation.campaign import Plan, run_all
from tests.simulation.run import Result
from tests.simulation.totals import Totals

pytestmark = pytest.mark.simulation

FIRST, SEEDS = 60, 120  # which together cover every event that is counted
SEEDS_A_TEST = 40
PROCESSES = 2
RARE = {"undecided"}  # once in thousands of seeds

happened = Totals()


def _nothing(_: Result) -> None:
    """Report nothing."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("first_seed", range(FIRST, FIRST + SEEDS, SEEDS_A_TEST))
def test_no_seed_violates_an_invariant(first_seed: int) -> None:
    seeds = range(first_seed, first_seed + SEEDS_A_TEST)
    outcome = run_all(Plan(seeds, processes=PROCESSES), _nothing)
    assert not outcome.failures, "\n\n".join(outcome.failures)
    happened.add(outcome.totals)


def test_the_seeds_cover_every_counted_event() -> None:
    if happened.seeds < SEEDS:
        pytest.skip("only after all of the seeds above")
    missing = {name for name in Totals.__struct_fields__ if not getattr(happened, name)}
    assert missing <= RARE
