"""Command line of the simulator: the seeds to run, and their output."""

import argparse
import os
import sys
from collections.abc import Sequence

from tests.simulation.bench import FOUND_WITHIN_SEEDS, heading, look_for_all, row
from tests.simulation.bugs import BUGS
from tests.simulation.campaign import Plan, run_all
from tests.simulation.report import SHOWN_EVENTS, totals_report
from tests.simulation.run import EVENTS, Result

SEEDS = 100
FAILURES_SHOWN_MAX = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen seeds; exit with 1 if an invariant was broken, or a bug not found."""
    options = _parser().parse_args(arguments)
    try:
        if options.bugs or options.only:
            _look_for_bugs(options)
        else:
            _run_seeds(_plan(options))
    except KeyboardInterrupt:
        sys.exit("The simulation was interrupted.")


def _run_seeds(plan: Plan) -> None:
    outcome = run_all(plan, _tell)
    for failure in outcome.failures[:FAILURES_SHOWN_MAX]:
        _say(f"\n{failure}")
    _say(f"\n{totals_report(outcome.totals, outcome.seconds)}")
    if outcome.failures:
        sys.exit(f"\n{len(outcome.failures)} of {len(plan.seeds)} seeds failed.")


def _look_for_bugs(options: argparse.Namespace) -> None:
    names = [name for name in BUGS if options.only in name]
    if not names:
        sys.exit(f'No bug has "{options.only}" in its name.')
    seeds = range(options.first, options.first + (options.seeds or FOUND_WITHIN_SEEDS))
    _say(heading())
    missed = 0
    for finding in look_for_all(names, seeds, options.processes):
        missed += finding.seeds is None
        _say(row(finding))
    if missed:
        sys.exit(f"\n{missed} of {len(names)} bugs were not found within {len(seeds)} seeds.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Run whole clusters in one process, under trouble that a seed replays.",
    )
    add = parser.add_argument
    add("--seeds", type=int, metavar="N", help="how many, from --first on; 100, for bugs 500")
    add("--first", type=int, default=0, metavar="N", help="the first of them")
    add("--seed", type=int, metavar="N", help="run only this one, and show its end if it fails")
    add("--nodes", type=int, choices=(1, 3, 5), help="else each seed draws a number")
    add("--events", type=int, default=EVENTS, metavar="N", help="of the trouble in each run")
    add("--show", type=int, default=SHOWN_EVENTS, metavar="N", help="events of a run that fails")
    add("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="side by side")
    add("--bugs", action="store_true", help="plant bugs, one at a time, and see each found")
    add("--only", default="", metavar="NAME", help="plant those with these words in their names")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    if options.seed is not None:
        seeds, processes = range(options.seed, options.seed + 1), 1
    else:
        seeds = range(options.first, options.first + (options.seeds or SEEDS))
        processes = options.processes
    return Plan(seeds, options.nodes, options.events, options.show, processes)


def _tell(result: Result) -> None:
    if result.failure:
        _say(result.failure.partition("\n")[0])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
