"""DurableState: the part of one node's state that a crash now would leave."""

import msgspec

from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.storage.log_store import LogStart
from tests.harness.breach import expect
from tests.simulation.committed_log import CommittedLog
from tests.simulation.disk import Batch, Change

_decode_entry = msgspec.msgpack.Decoder(LogEntry).decode
_decode_hard_state = msgspec.msgpack.Decoder(HardState).decode
_decode_start = msgspec.msgpack.Decoder(LogStart).decode


class DurableState:
    """Hard state and log on the disk of one node."""

    def __init__(self, log: CommittedLog) -> None:
        self._log = log
        self.hard_state = HardState()
        self.start = LogStart()
        self.last_index = 0
        self.compactions = 0
        self._terms: dict[int, int] = {}

    def holds(self, index: int, term: int) -> bool:
        """Return whether the entry is on disk, or was before compaction."""
        return index <= self.start.index or self._terms.get(index) == term

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at an index."""
        return self.start.term if index == self.start.index else self._terms.get(index)

    def settle(self, batch: Batch) -> None:
        """Note a batch that has become durable.

        A node whose durable term is older than that of the commit was not counted for it, and may
        still take a former leader's entries in place of the committed ones.
        """
        durable_term = self.hard_state.term
        replaced: list[tuple[int, int]] = []  # index and previous term
        for change in batch:
            if change.table == "raft_log":
                self._take_row(change, replaced)
            elif change.table == "raft_meta":
                self._take_fact(change)
        for index, term in replaced:
            was_committed = self._log.term_at(index) == term
            forgotten = (
                was_committed
                and index > self.start.index
                and self._log.committed_in[index - 1] <= durable_term
            )
            kept = self._terms.get(index) == term
            expect(kept or not forgotten, f"the committed entry {index} was dropped from a disk")

    def _take_row(self, change: Change, replaced: list[tuple[int, int]]) -> None:
        index = int.from_bytes(change.key, "big")
        if change.after is None:
            self._remove(index, replaced)
            return
        term = _decode_entry(change.after).term
        before = self._terms.get(index, term)
        if before != term:
            replaced.append((index, before))
        self._terms[index] = term
        self.last_index = max(self.last_index, index)

    def _remove(self, index: int, removed: list[tuple[int, int]]) -> None:
        term = self._terms.pop(index, None)
        if term is not None:
            removed.append((index, term))
        while self.last_index == index and index > self.start.index:
            index = self.last_index = index - 1
            if index in self._terms:
                break

    def _take_fact(self, change: Change) -> None:
        if change.key == b"hard_state" and change.after is not None:
            self._take_hard_state(_decode_hard_state(change.after))
        elif change.key == b"log_start" and change.after is not None:
            self.start = _decode_start(change.after)
            self.last_index = max(self.last_index, self.start.index)
            self.compactions += 1

    def _take_hard_state(self, after: HardState) -> None:
        before = self.hard_state
        expect(after.term >= before.term, "a term on disk went back")
        if after.term == before.term and before.voted_for:
            expect(after.voted_for == before.voted_for, "a vote on disk changed in its term")
        self.hard_state = after
