"""Scene: the cluster of a script, and the limits that it has changed."""

from collections.abc import Iterable, Sequence
from types import ModuleType

import msgspec
import pytest

from protocol.membership import NodeId
from protocol.raft import (
    durability,
    log,
    membership_changes,
    progress,
    proposals,
    reads,
    replication,
)
from protocol.state import machine
from protocol.storage import snapshot_source
from tests.harness.raft_cluster import Machine
from tests.scenarios.notation import KINDS, Mistake, node_id, node_name, read_number
from tests.scenarios.stage import Stage
from tests.scenarios.storage import batch_of
from tests.scenarios.trace import Trace

LIMITS: dict[str, ModuleType] = {
    "APPEND_BYTES_MAX": replication,
    "CHUNK_BEATS_MAX": progress,
    "CHUNK_BYTES": snapshot_source,
    "IN_FLIGHT_BYTES_MAX": progress,
    "IN_FLIGHT_MESSAGES_MAX": progress,
    "PROMOTION_LAG_MAX": membership_changes,
    "SILENT_CHECKS_MAX": progress,
    "STALLED_CHECKS_MAX": durability,
    "UNCOMMITTED_BYTES_MAX": proposals,
    "WAITING_READS_MAX": reads,
    "WINDOW_BYTES_MAX": log,
    "WINDOW_ENTRIES_MAX": log,
}


class Chosen(msgspec.Struct, frozen=True):
    """The packets that a command selects."""

    kind: type
    sender: NodeId | None
    to: NodeId | None
    count: int | None


class Scene:
    """The cluster of a script, and the names that its words refer to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.trace = Trace()
        self._patch = patch
        patch.setattr(machine, "decode_batch", batch_of)
        self._stage: Stage | None = None

    @property
    def stage(self) -> Stage:
        """The cluster, which must have been set up."""
        if self._stage is None:
            raise Mistake("there is no cluster yet")
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = stage

    def limit(self, name: str, value: int) -> None:
        """Change a limit until the script ends."""
        if name not in LIMITS:
            raise Mistake(f"no limit {name!r}; there are {', '.join(LIMITS)}")
        self._patch.setattr(LIMITS[name], name, value)

    def node(self, name: str) -> NodeId:
        """Read the name of one node."""
        node = node_id(name)
        if node not in self.stage.machines:
            names = map(node_name, self.stage.machines)
            raise Mistake(f"no node {name!r}; there are {', '.join(names)}")
        return node

    def running(self, name: str) -> NodeId:
        """Read the name of a node that must not be down."""
        node = self.node(name)
        if self.stage[node].running is None:
            raise Mistake(f"{name} is down")
        return node

    def nodes(self, names: Iterable[str]) -> list[NodeId]:
        """Read the names of nodes that must not be down."""
        return [self.running(name) for name in names]

    def machines(self, names: Sequence[str]) -> list[Machine]:
        """Read the names of nodes, none meaning all."""
        return [self.stage[self.node(name)] for name in names] or [*self.stage.machines.values()]

    def chosen(self, words: Sequence[str]) -> Chosen:
        """Read a selection of packets: by kind, by route, by count."""
        kind: type = object
        sender = to = count = None
        for word in words:
            if "->" in word:
                sender, to = map(self._end_of_way, word.split("->", 1))
            elif word.isdecimal():
                count = read_number(word)
            elif word in KINDS:
                kind = KINDS[word]
            else:
                raise Mistake(f"{word!r} is neither a way like A->B, a kind of message nor a count")
        return Chosen(kind, sender, to, count)

    def _end_of_way(self, name: str) -> NodeId | None:
        return self.node(name) if name else None
