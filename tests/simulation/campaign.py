"""Campaign: many runs, in several processes."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tests.simulation.options import draw_options
from tests.simulation.report import SHOWN_EVENTS
from tests.simulation.run import EVENTS, Result, run
from tests.simulation.totals import Totals


class Plan(msgspec.Struct, frozen=True):
    """The seeds to run, and their options."""

    seeds: Sequence[int]
    nodes: int | None = None
    events: int = EVENTS
    shown: int = SHOWN_EVENTS
    processes: int = 1

    def command(self, seed: int) -> str:
        """Return the command that reruns one seed."""
        parts = [f"scripts/simulate --seed {seed}"]
        if self.nodes is not None:
            parts.append(f"--nodes {self.nodes}")
        if self.events != EVENTS:
            parts.append(f"--events {self.events}")
        return " ".join(parts)


class Outcome(msgspec.Struct):
    """The result of many runs."""

    totals: Totals
    failures: list[str]
    seconds: float


def run_all(plan: Plan, tell: Callable[[Result], None]) -> Outcome:
    """Run every seed of a plan; report each as it ends."""
    began = time.monotonic()
    totals, failures = Totals(), []
    for result in _results(plan):
        totals.add(result.totals)
        if result.failure:
            failures.append(result.failure)
        tell(result)
    return Outcome(totals, failures, time.monotonic() - began)


def _results(plan: Plan) -> Iterator[Result]:
    jobs = [(plan, seed) for seed in plan.seeds]
    if plan.processes == 1:
        yield from map(_run_one, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(plan.processes) as pool:
        yield from pool.imap_unordered(_run_one, jobs, chunksize=4)


def _run_one(job: tuple[Plan, int]) -> Result:
    plan, seed = job
    options = draw_options(seed, plan.nodes)
    return run(options, plan.command(seed), plan.events, plan.shown)
