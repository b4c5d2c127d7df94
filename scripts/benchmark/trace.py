"""Trace: the microseconds of a put by stage, from the trace files of all nodes.

Each line of a trace file is an event: its time ``t`` in nanoseconds of the machine's shared
clock, the stage ``at``, the ``batch`` and the ``node``. Stage names are data.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

COMMON_SHARE = 0.5  # stages with fewer batches are accidents, not the path


class Event(msgspec.Struct, frozen=True):
    """A batch passed a stage on a node."""

    t: int
    at: str
    batch: int
    node: str


@dataclass(frozen=True)
class Stage:
    """A row of the table: a stage, its place and its median time."""

    place: str
    name: str
    median_us: float
    batches: int


def read_events(files: Iterable[Path]) -> list[Event]:
    """Return the events of all files, without an incomplete last line."""
    decode = msgspec.json.Decoder(Event).decode
    lines = (line for file in files for line in file.read_bytes().splitlines(keepends=True))
    return [decode(line) for line in lines if line.endswith(b"\n")]


def aggregate(events: Iterable[Event]) -> list[Stage]:
    """Return the stages in the order of their median time since the first stage."""
    passages = [_passages(batch) for batch in _batches_on_the_path(events)]
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for passage in passages:
        for key, elapsed_ns in passage.items():
            times[key].append(elapsed_ns)
    stages = [
        Stage(place, name, statistics.median(elapsed) / 1e3, len(elapsed))
        for (place, name), elapsed in times.items()
        if len(elapsed) >= COMMON_SHARE * len(passages)
    ]
    return sorted(stages, key=lambda stage: stage.median_us)


def _batches_on_the_path(events: Iterable[Event]) -> list[Sequence[Event]]:
    """Return the ordered events of each batch that begins at the most common first stage."""
    batches: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.t):
        batches[event.batch].append(event)
    if not batches:
        return []
    (first_stage, _), *_ = Counter(batch[0].at for batch in batches.values()).most_common(1)
    return [batch for batch in batches.values() if batch[0].at == first_stage]


def _passages(batch: Sequence[Event]) -> Mapping[tuple[str, str], int]:
    """Return the nanoseconds since the first event at which each place passed each stage."""
    places = _places(batch)
    seen: Counter[tuple[str, str]] = Counter()
    passages = {}
    for event in batch:
        key = places[event.node], event.at
        seen[key] += 1
        # The leader passes this stage once for each follower: repetitions get rows of their own.
        name = event.at if seen[key] == 1 else f"{event.at} ({seen[key]})"
        passages[key[0], name] = event.t - batch[0].t
    return passages


def _places(batch: Sequence[Event]) -> Mapping[str, str]:
    """Name the nodes by the order in which a batch reaches them; the client asks the leader."""
    nodes = list(dict.fromkeys(event.node for event in batch))
    return {
        node: "leader" if number == 0 else f"follower {number}" for number, node in enumerate(nodes)
    }
