"""Run: rounds in which the systems take turns, then one with skiff's trace.

Only the cluster that is being measured is up. An idle one still sends heartbeats on the same few
cores: on two of them, an idle etcd cluster took 6 to 11 % off another's rates, and each system
would take another share. Starting a cluster anew for each round costs a second or two and gives
both the same fresh start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.benchmark.client_processes import ClientProcesses
from scripts.benchmark.failover import measure_failover
from scripts.benchmark.results import OURS, THEIRS, Results
from scripts.benchmark.system import System, TracedCluster
from scripts.benchmark.trace import Stage, aggregate, read_events
from scripts.benchmark.workloads import PUT_1, Workload, run_workloads

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """The measurements of a run, its rounds and durations."""

    workloads: Sequence[Workload]
    rounds: int
    duration_s: float
    kills_a_round: int
    trace: bool
    ours: str = OURS  # the system whose figures are divided by theirs
    theirs: str = THEIRS


def run(plan: Plan, systems: Sequence[System], say: Say) -> Results:
    """Run a plan; return its results."""
    results = Results(plan.ours, plan.theirs)
    with ClientProcesses() as processes:
        for number in range(plan.rounds if plan.workloads or plan.kills_a_round else 0):
            # The first system alternates, so that a machine that slows down favours neither.
            for system in systems if number % 2 == 0 else reversed(systems):
                say(f"round {number + 1} of {plan.rounds}: {system.name}")
                _run_round(plan, system, processes, results)
        for system in systems:
            if plan.trace and system.start_traced is not None:
                say(f"trace: {system.name}")
                with system.start_traced() as cluster:
                    results.stages = _trace(system, cluster, processes, plan.duration_s)
    return results


def _run_round(plan: Plan, system: System, processes: ClientProcesses, results: Results) -> None:
    with system.start() as cluster:
        figures = run_workloads(system, cluster, processes, plan.workloads, plan.duration_s)
        for workload, figure in figures:
            results.rounds[workload][system.name].append(figure)
        for _ in range(plan.kills_a_round):
            results.pauses_ms[system.name].append(measure_failover(system, cluster))


def _trace(
    system: System, cluster: TracedCluster, processes: ClientProcesses, duration_s: float
) -> list[Stage]:
    for _ in run_workloads(system, cluster, processes, [PUT_1], duration_s):
        pass  # Tracing slows this round down, so its figures are not reported.
    return aggregate(read_events(cluster.trace_files()))
