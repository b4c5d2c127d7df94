"""Absence: measures how a follower far behind catches up while clients write.

Run by ``scripts/catch-up``; its exit code is 1 if a promise was broken.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from protocol.compaction import LogLimits
from protocol.config import LOG_BYTES_KEPT, LOG_ENTRIES_KEPT
from skiff import NodeStatus
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.raw_client import RawClient
from tests.faults.load import Load
from tests.faults.past import Past, live_through

ENTRIES = 1_000_000
VALUE_BYTES = 100
WRITERS = 4
WRITES_BEFORE, WRITES_AFTER = 200, 200
SAMPLES = 200  # of the keys that were written while the follower was away
SECONDS_MAX = 1800.0
INSTALLED = "installed the leader's snapshot"

Tell = Callable[[str], None]


class Absence(msgspec.Struct, frozen=True):
    """The lag of the follower, and the limits of the kept log."""

    entries: int = ENTRIES
    keys: int = ENTRIES
    limits: LogLimits = LogLimits(LOG_ENTRIES_KEPT, LOG_BYTES_KEPT)

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the nodes."""
        kept = ("--log-entries-kept", str(self.limits.entries))
        return (*kept, "--log-bytes-kept", str(self.limits.bytes), "--log-level", "info")


class Return(msgspec.Struct, frozen=True):
    """The figures of the follower's return."""

    entries_behind: int
    seconds_to_install: float
    seconds_to_catch_up: float
    writes_meanwhile: int
    longest_silence_ms: int
    failures: list[str]


def measure(directory: Path, absence: Absence, tell: Tell) -> Return:
    """Let a follower miss entries, and catch up while clients write.

    Raises:
        AssertionError: it lacks acknowledged writes at the end.
    """
    with Cluster(3, directory=directory, options=absence.options) as cluster:
        behind = cluster.followers()[0]
        tell(f"writing {absence.entries:,} entries while one of three nodes is away")
        past = Past(
            absence.entries, absence.keys, VALUE_BYTES, _open_session(cluster), absence.limits
        )
        held = _end(behind)
        _let_time_pass(cluster, behind, past)
        with Load(cluster, writers=WRITERS) as load:
            load.wait_for(WRITES_BEFORE)
            tell("it comes back while clients write")
            missing = _end(cluster.leader()) - held
            figures = _come_back(cluster, behind, load)
            load.wait_for(WRITES_AFTER)
        tell("it is asked for what it missed")
        wait_until(lambda: is_level(behind, cluster.leader()), "it holds everything")
        load.check(behind)
        _check_past(behind, past)
    silence_ms = round(load.longest_silence() * 1000)
    failures = load.failures + load.unknown
    return Return(missing, *figures, longest_silence_ms=silence_ms, failures=failures)


def _open_session(cluster: Cluster) -> int:
    """Return the number of a session that all nodes know."""
    with RawClient(cluster.leader()) as client:
        session = client.open_session()
    wait_until(lambda: len(set(map(_end, cluster.nodes))) == 1, "all logs end alike")
    return session


def _let_time_pass(cluster: Cluster, behind: Node, past: Past) -> None:
    """Write a long past to all nodes but one, and start them."""
    others = [node for node in cluster.nodes if node is not behind]
    for node in cluster.nodes:
        cluster.kill(node)
    live_through([node.directory for node in others], past)
    for node in others:
        node.launch()
    for node in others:
        node.wait_until_ready()


def _come_back(cluster: Cluster, behind: Node, load: Load) -> tuple[float, float, int]:
    """Start the follower; return the seconds it took, and the number of writes meanwhile."""
    leader = cluster.leader()
    began, written = time.monotonic(), len(load.acknowledged)
    behind.start()
    wait_until(lambda: INSTALLED in behind.log(), "a snapshot is installed", SECONDS_MAX)
    installed = time.monotonic()
    wait_until(lambda: is_level(behind, leader), "the follower has caught up", SECONDS_MAX)
    caught_up = time.monotonic()
    return installed - began, caught_up - began, len(load.acknowledged) - written


def is_level(behind: Node, leader: Node) -> bool:
    """Return whether the follower has applied what the leader had applied just before."""
    ahead = _status(leader).applied_index
    return _status(behind).applied_index >= ahead


def _check_past(node: Node, past: Past) -> None:
    with node.client(timeout=20) as client:
        assert len(client.list_keys("past/", timeout=SECONDS_MAX)) == past.keys
        for number in range(0, past.keys, max(1, past.keys // SAMPLES)):
            assert client.get(past.key(number), bytes) == past.newest(number)


def _end(node: Node) -> int:
    return _status(node).last_index


def _status(node: Node) -> NodeStatus:
    with node.client(timeout=20) as client:
        return client.status()


def report(figures: Return) -> str:
    """Return the figures as lines for a person."""
    return "\n".join(
        [
            f"{figures.entries_behind:12,} entries behind when it was started",
            f"{figures.seconds_to_install:12.1f} s from its start to the snapshot's installation",
            f"{figures.seconds_to_catch_up:12.1f} s from its start until it was level",
            f"{figures.writes_meanwhile:12,} writes acknowledged meanwhile",
            f"{figures.longest_silence_ms:12,} ms at most between two of one writer",
            f"{len(figures.failures):12,} writes failed or of unknown outcome",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurement; exit with 1 if a write failed."""
    parser = argparse.ArgumentParser(prog="scripts/catch-up", description=__doc__)
    add = parser.add_argument
    add("--entries", type=int, default=ENTRIES, metavar="N", help=f"to miss; {ENTRIES} by default")
    add("--keys", type=int, metavar="N", help="that they write; as many by default")
    options = parser.parse_args(arguments)
    absence = Absence(options.entries, min(options.keys or options.entries, options.entries))
    with tempfile.TemporaryDirectory(prefix="skiff-absence-") as directory:
        figures = measure(Path(directory), absence, _say)
    _say(report(figures))
    if figures.failures:
        sys.exit("\n".join(figures.failures))


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
