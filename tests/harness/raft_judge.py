"""Raft judge: the invariants of Raft, checked after every turn of a cluster."""

from collections.abc import Mapping
from typing import Protocol

from protocol.entry import LogEntry
from protocol.membership import NodeId, is_majority
from protocol.messages.gateway import GatewayMessage, ReadsConfirmed
from protocol.messages.storage import Append, Commit, ReadAt
from protocol.raft.node import RaftNode
from protocol.raft.outbox import Outbox
from tests.harness.durable_state import DurableState
from tests.harness.log_matching import LogMatching
from tests.harness.promises import Promises


class Disk(DurableState, Protocol):
    """A disk, and the terms of its entries."""

    def term_at(self, index: int) -> int:
        """The term of an entry that a crash leaves; 0 where there is none."""


Disks = Mapping[NodeId, Disk]


class Judge:
    """Observes the messages and writes of every turn, and remembers what they rule out later."""

    def __init__(self, disks: Disks) -> None:
        """Judge nodes with these disks."""
        self._disks = disks
        self._promises = Promises(disks)
        self._matching = LogMatching()
        self.committed_index = 0  # the highest that any node has committed
        self._leaders: dict[int, NodeId] = {}
        self._committed: dict[int, LogEntry] = {}
        self._committed_in: dict[int, int] = {}
        self._handed: dict[NodeId, int] = {}
        self._asked_at: dict[tuple[NodeId, int], int] = {}
        self._handed_reads: dict[tuple[NodeId, int], int] = {}
        self._led: dict[NodeId, tuple[int, int]] = {}

    def reads(self, node: NodeId, number: int) -> None:
        """Note the start of a read, which must see everything committed so far."""
        self._asked_at[node, number] = self.committed_index

    def see(self, core: RaftNode, outbox: Outbox) -> None:
        """Judge the results of one turn of a node."""
        for message in outbox.storage:
            match message:
                case Append(entries=(first, *_) as entries):
                    log = core._state.log
                    self._matching.append(entries, log.term_at(first.index - 1))
                    self._leader_append_only(core, message)
                case Commit(index):
                    self._state_machine_safety(core, index)
                    self._committed_is_durable(core, index)
                case ReadAt():
                    self._reads(core.id, message)
        self._confirm_reads(core.id, outbox.gateway)
        self._election_safety(core)
        self._promises.turn_over(core)
        for to, messages in outbox.peers.items():
            for each in messages:
                self._promises.judge(core.id, to, each)

    def _reads(self, node: NodeId, read: ReadAt) -> None:
        self._handed_reads[node, read.number] = read.index
        if read.confirmed:
            self._confirm_read(node, read.number)

    def _confirm_reads(self, node: NodeId, told: list[GatewayMessage]) -> None:
        for each in told:
            if isinstance(each, ReadsConfirmed):
                for number in each.numbers:
                    self._confirm_read(node, number)

    def _confirm_read(self, node: NodeId, number: int) -> None:
        index = self._handed_reads.pop((node, number))
        assert index >= self._asked_at.get((node, number), 0), "a stale read"

    def _election_safety(self, core: RaftNode) -> None:
        if core.leads:
            assert self._leaders.setdefault(core.term, core.id) == core.id, "two leaders in a term"
            last_index = core._state.log.last_index
            if self._led.get(core.id, (0, 0))[0] != core.term:
                self._leader_completeness(core)
            self._led[core.id] = (core.term, last_index)
        else:
            self._led.pop(core.id, None)

    def _leader_completeness(self, core: RaftNode) -> None:
        for index in range(core._state.log.prev_index + 1, self.committed_index + 1):
            # A late winner of an older term may lack what a newer one has committed since.
            if self._committed_in[index] < core.term:
                held = core._state.log.term_at(index)
                assert held == self._committed[index].term, "a leader lacks a committed entry"

    def _leader_append_only(self, core: RaftNode, append: Append) -> None:
        term, last_index = self._led.get(core.id, (0, 0))
        if core.leads and term == core.term:
            assert append.entries[0].index > last_index, "a leader replaced its own entry"

    def _state_machine_safety(self, core: RaftNode, index: int) -> None:
        log = core._state.log
        first = max(log.prev_index, self._handed.get(core.id, 0)) + 1
        for entry in log.slice(first, 1 << 40):
            if entry.index > index:
                break
            known = self._committed.setdefault(entry.index, entry)
            assert known == entry, "two entries are committed at one index"
            self._committed_in.setdefault(entry.index, core.term)
        self._handed[core.id] = max(index, self._handed.get(core.id, 0))
        self.committed_index = max(self.committed_index, index)

    def _committed_is_durable(self, core: RaftNode, index: int) -> None:
        if core.leads:
            term = core._state.log.term_at(index)
            voters = core.membership.voters
            holders = sum(self._disks[voter].term_at(index) == term for voter in voters)
            assert is_majority(holders, len(voters)), "committed before a majority's disks hold it"
