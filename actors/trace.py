"""Trace: the times at which log entries pass each stage, for measurements."""

import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from protocol.messages.gateway import BatchApplied
from protocol.messages.peer import AppendEntries, AppendEntriesReply
from protocol.messages.replicator import Persisted, Propose
from protocol.messages.storage import Append, Commit

KEPT_MAX = 64  # stages in memory before they are written


class Trace:
    """Records one actor's messages about log entries.

    Each line of the file is one stage: ``t`` in nanoseconds of the clock that all processes of
    a machine share, ``at`` its name, ``batch`` the entry's index, ``node`` the node.
    """

    def __init__(self, actor: str, node: str, file: Path | None) -> None:
        """Trace into a file; without one, do nothing."""
        self._actor = actor
        self._node = node
        self._file = file
        self._kept: list[dict[str, object]] = []
        self._proposed: dict[int, list[tuple[int, str]]] = defaultdict(list)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")

    def note(self, verb: str, messages: Iterable[object]) -> None:
        """Record that this actor sends, receives or otherwise handles these messages."""
        if self._file is None:
            return
        now = time.monotonic_ns()
        for message in messages:
            stage = f"{self._actor} {verb} {type(message).__name__}"
            if isinstance(message, Propose):
                self._proposed[message.number].append((now, stage))  # it has no index yet
            elif isinstance(message, BatchApplied):
                for then, earlier in self._proposed.pop(message.number, ()):
                    self._keep(then, earlier, message.index)
            for index in _indexes(message):
                self._keep(now, stage, index)

    def write(self) -> None:
        """Write the stages in memory to the file."""
        if self._file is None:
            return
        with self._file.open("ab") as file:
            file.writelines(msgspec.json.encode(stage) + b"\n" for stage in self._kept)
        self._kept.clear()

    def _keep(self, moment: int, stage: str, index: int) -> None:
        self._kept.append({"t": moment, "at": stage, "batch": index, "node": self._node})
        if len(self._kept) >= KEPT_MAX:
            self.write()


def _indexes(message: object) -> list[int]:
    match message:
        case Append() | AppendEntries():
            return [entry.index for entry in message.entries]
        case AppendEntriesReply(accepted=True, index=index):
            return [index]
        case Commit(index=index) | Persisted(index=index) | BatchApplied(index=index):
            return [index]
        case _:
            return []
