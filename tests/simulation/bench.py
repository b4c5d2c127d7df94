"""Bug bench: counts the seeds that the simulator needs to find each planted bug."""

import multiprocessing
from collections.abc import Iterable, Iterator

import msgspec

from tests.simulation.bug import Bug
from tests.simulation.bugs import BUGS
from tests.simulation.options import draw_options
from tests.simulation.run import run

FOUND_WITHIN_SEEDS = 500
SEEDS_WIDTH = 5


class Finding(msgspec.Struct):
    """The result for one bug: the seeds until it was found, and the failure."""

    bug: str
    seeds: int | None
    shows: str = ""


def look_for_all(names: Iterable[str], seeds: range, processes: int) -> Iterator[Finding]:
    """Look for several bugs in parallel; yield the findings in their order."""
    jobs = [(name, seeds) for name in names]
    if processes == 1:
        yield from map(_look_for_named, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_look_for_named, jobs)


def look_for(bug: Bug, seeds: range) -> Finding:
    """Run seeds with a planted bug until one fails."""
    with bug.planted():
        for count, seed in enumerate(seeds, start=1):
            result = run(draw_options(seed, None), command="")
            if result.failure:
                first_line = result.failure.partition("\n")[0]
                return Finding(bug.name, count, first_line.partition(": ")[2])
    return Finding(bug.name, None)


def _look_for_named(job: tuple[str, range]) -> Finding:
    name, seeds = job
    return look_for(BUGS[name], seeds)


def heading() -> str:
    """Return the heading of the table."""
    return _row("bug", "seeds", "found by")


def row(finding: Finding) -> str:
    """Return a finding as a row of the table."""
    seeds = "-" if finding.seeds is None else str(finding.seeds)
    return _row(finding.bug, seeds, finding.shows or "NOT FOUND")


def _row(bug: str, seeds: str, shows: str) -> str:
    width = max(map(len, BUGS))
    return f"{bug:{width}}  {seeds:>{SEEDS_WIDTH}}  {shows}"
