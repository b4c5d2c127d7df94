"""Command line of the benchmark: systems, measurements, durations and output."""

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from scripts.benchmark import etcd, skiff_cluster, zookeeper
from scripts.benchmark.client_processes import ClientFailed
from scripts.benchmark.conditions import note_conditions
from scripts.benchmark.failover import NoRecovery
from scripts.benchmark.fan_out import EventsMissing
from scripts.benchmark.foreign_process import ForeignFailed
from scripts.benchmark.report import print_json, print_tables
from scripts.benchmark.run import Plan, run
from scripts.benchmark.system import System
from scripts.benchmark.workloads import WORKLOADS

SYSTEMS = ("etcd", "skiff")
MEASUREMENTS = (*(workload.name for workload in WORKLOADS), "failover", "trace")
WITHOUT_KEYS, WITH_KEYS = "no keys", "keys"  # what --keys compares
ZOOKEEPER_HAS = {
    *("put-1", "put-8", "get-1", "get-8", "pipeline", "transaction-10", "transaction"),
    *("lock-1", "lock-10", "failover"),
}
KEYS_COST = {"put-1", "get-1", "put-256", "get-256"}  # by these, unless others are named
KEYS_HELP = "compare skiff with and without keys, in place of etcd"
ZOOKEEPER_HELP = "compare with ZooKeeper, by Kazoo, in place of etcd"
# (rounds, seconds of each workload in a round, kills in a round)
QUICK = (3, 2.0, 2)
THOROUGH = (7, 5.0, 3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the arguments ask for and print it."""
    options = _parser().parse_args(arguments)
    _end_tidily_on_signals()
    plan, systems = _plan(options), _systems(options)
    if not systems:
        sys.exit("No system is left to measure.")
    conditions = note_conditions(systems, plan.rounds, plan.duration_s)
    try:
        results = run(plan, systems, _say)
    except (ClientFailed, EventsMissing, ForeignFailed, NoRecovery) as error:
        sys.exit(f"The benchmark failed: {error}")
    except KeyboardInterrupt:
        sys.exit("The benchmark was interrupted.")
    show = print_json if options.json else print_tables
    show(conditions, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure skiff and etcd side by side, three nodes each, on this machine.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer and shorter rounds, about six minutes")
    add("--json", action="store_true", help="print one JSON document in place of tables")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--keys", action="store_true", help=KEYS_HELP)
    other.add_argument("--zookeeper", action="store_true", help=ZOOKEEPER_HELP)
    add("--skip-etcd", action="store_true", help="measure only skiff")
    add("--duration", type=float, metavar="SECONDS", help="of each workload in each round")
    add(
        "--only",
        action="append",
        default=[],
        choices=[*SYSTEMS, *MEASUREMENTS],
        metavar="NAME",
        help="a system or a measurement, may be repeated: " + ", ".join([*SYSTEMS, *MEASUREMENTS]),
    )
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    rounds, duration_s, kills = QUICK if options.quick else THOROUGH
    wanted = _wanted(options)
    names = {"ours": WITH_KEYS, "theirs": WITHOUT_KEYS} if options.keys else {}
    if options.zookeeper:
        names = {"theirs": zookeeper.NAME}
    return Plan(
        workloads=[workload for workload in WORKLOADS if workload.name in wanted],
        rounds=rounds,
        duration_s=duration_s if options.duration is None else options.duration,
        kills_a_round=kills if "failover" in wanted else 0,
        trace="trace" in wanted,
        **names,
    )


def _wanted(options: argparse.Namespace) -> set[str]:
    named = set(options.only) & set(MEASUREMENTS)
    if options.zookeeper:
        if named - ZOOKEEPER_HAS:
            comparable = ", ".join(sorted(ZOOKEEPER_HAS))
            sys.exit(f"Only these can be compared with ZooKeeper: {comparable}.")
        return named or ZOOKEEPER_HAS
    return named or (KEYS_COST if options.keys else set(MEASUREMENTS))


def _systems(options: argparse.Namespace) -> list[System]:
    if options.keys:
        return [skiff_cluster.find(WITHOUT_KEYS), skiff_cluster.find(WITH_KEYS, keys=True)]
    if options.zookeeper:
        other = zookeeper.find() or sys.exit("ZooKeeper is not installed (on Debian: zookeeper).")
        return [other, skiff_cluster.find()]
    wanted = set(options.only) & set(SYSTEMS) or set(SYSTEMS)
    if options.skip_etcd:
        wanted.discard("etcd")
    found = {"etcd": etcd.find(), "skiff": skiff_cluster.find()}
    if "etcd" in wanted and found["etcd"] is None:
        _say("etcd is not installed here (on Debian: etcd-server), so it is left out.")
    return [system for name, system in found.items() if name in wanted and system is not None]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _end_tidily_on_signals() -> None:
    """End in order at the first signal, and ignore further ones."""
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        for each in ending:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in ending:
        signal.signal(each, end)


if __name__ == "__main__":
    main()
