"""Notation of the messages between a node and its disk in scenarios."""

from collections.abc import Callable
from typing import Any

from protocol.messages.replicator import (
    ChunkStaged,
    LogCompacted,
    LogSlice,
    Persisted,
    ReplicatorMessage,
    SnapshotInstalled,
    SnapshotRead,
)
from protocol.messages.storage import (
    EndSnapshot,
    FetchLog,
    FetchSnapshot,
    StageChunk,
    StorageMessage,
)
from protocol.snapshot import SnapshotChunk
from tests.scenarios.notation import node_name, write_chunk, write_position


def write_request(message: StorageMessage) -> str | None:
    """Write a request to a disk other than a write; None if it is traced elsewhere."""
    writer = REQUESTS.get(type(message))
    return None if writer is None else writer(message)


def write_answer(message: ReplicatorMessage) -> str:
    """Write a disk's reply."""
    return ANSWERS[type(message)](message)


def _write_fetch(message: FetchSnapshot) -> str:
    what = "a snapshot" if message.position is None else write_position(message.position)
    return f"asks its disk for {what} for {node_name(message.reader)}"


def _write_read(chunk: SnapshotChunk | None) -> str:
    return "no such snapshot on disk" if chunk is None else f"read {write_chunk(chunk)}"


REQUESTS: dict[type, Callable[[Any], str]] = {
    FetchLog: lambda it: f"asks its disk for {it.from_index}.. for {node_name(it.peer)}",
    FetchSnapshot: _write_fetch,
    EndSnapshot: lambda it: f"lets its disk end the snapshot for {node_name(it.reader)}",
    StageChunk: lambda it: f"hands its disk {write_chunk(it.chunk)}",
}
ANSWERS: dict[type, Callable[[Any], str]] = {
    Persisted: lambda it: f"write {it.number} acknowledged",
    LogSlice: lambda _: "entries fetched from disk",
    LogCompacted: lambda it: f"{it.from_index}.. is not on disk any more",
    SnapshotRead: lambda it: _write_read(it.chunk),
    ChunkStaged: lambda it: f"staged {write_position(it.position)}",
    SnapshotInstalled: lambda it: f"installed snapshot={it.index}@{it.term}",
}
