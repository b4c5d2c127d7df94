"""Results of a run: figures by round, with medians and ratios."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.benchmark.figures import Figures, median_of, ratio
from scripts.benchmark.trace import Stage

OURS, THEIRS = "skiff", "etcd"


@dataclass
class Results:
    """The figures of every round, by workload and system, and the two systems to compare."""

    ours: str = OURS
    theirs: str = THEIRS
    rounds: dict[str, dict[str, list[Figures]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    pauses_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stages: Sequence[Stage] = ()

    def medians(self, workload: str) -> dict[str, Figures]:
        """Return each system's medians over its rounds."""
        return {system: median_of(rounds) for system, rounds in self.rounds[workload].items()}

    def rate_ratio(self, workload: str) -> float | None:
        """Return our rate divided by theirs, or None unless both were measured."""
        medians = self.medians(workload)
        if not {self.ours, self.theirs} <= medians.keys():
            return None
        return ratio(medians[self.ours].rate, medians[self.theirs].rate)

    def pause_ratio(self) -> float | None:
        """Return our median pause divided by theirs, or None unless both were measured."""
        both = (self.ours, self.theirs)
        if not set(both) <= self.pauses_ms.keys():
            return None
        ours, theirs = (statistics.median(self.pauses_ms[each]) for each in both)
        return ratio(ours, theirs)

    def for_json(self) -> dict[str, Any]:
        """Return all rounds and medians as an object for JSON."""
        workloads = {
            name: {
                "rounds": rounds,
                "medians": self.medians(name),
                "ratio": self.rate_ratio(name),
            }
            for name, rounds in self.rounds.items()
        }
        failover = {"pauses_ms": self.pauses_ms, "ratio": self.pause_ratio()}
        return {"workloads": workloads, "failover": failover, "stages": self.stages}
