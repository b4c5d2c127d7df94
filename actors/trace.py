"""When a batch passes which stage: for measurements, and costing nothing otherwise."""

import time
from pathlib import Path

import msgspec


class Trace:
    """Remembers stages, and writes them down as lines of JSON when the actor ends."""

    def __init__(self, node: str, file: Path) -> None:
        self._node = node
        self._file = file
        self._marks: list[tuple[int, str, int]] = []

    def mark(self, stage: str, batch: int) -> None:
        """Note that this batch passes this stage now."""
        self._marks.append((time.monotonic_ns(), stage, batch))

    def write(self) -> None:
        """Write the stages down."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("wb") as file:
            for moment, stage, batch in self._marks:
                mark = {"t": moment, "at": stage, "batch": batch, "node": self._node}
                file.write(msgspec.json.encode(mark) + b"\n")
