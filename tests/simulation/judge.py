"""Judge: the invariants of a cluster, checked at every event on the state that it changed."""

from typing import TYPE_CHECKING

from protocol.entry import LogEntry
from protocol.membership import Membership
from protocol.messages.client import (
    ANY_STALENESS,
    FoundMany,
    ModalRead,
    Names,
    Operation,
    Page,
    Scan,
)
from protocol.messages.gateway import BatchApplied, Changes, GatewayMessage, ReadsConfirmed
from protocol.messages.replicator import (
    Persisted,
    Read,
    Recovered,
    ReplicatorMessage,
    SnapshotInstalled,
)
from protocol.messages.storage import Append, Commit, ReadAt
from protocol.raft.node import RaftNode
from protocol.raft.outbox import Outbox
from protocol.state.commands import Found, Missing
from protocol.state.key_value import FIRST_USER_KEY, decode_stored_value
from protocol.storage.history import decode_events
from protocol.storage.outbox import StorageOutbox
from protocol.storage.writer import StorageWriter
from tests.harness.breach import expect
from tests.harness.promises import Promises
from tests.simulation.applied_revisions import AppliedRevisions
from tests.simulation.belief import Belief
from tests.simulation.change import Row
from tests.simulation.committed_log import CommittedLog
from tests.simulation.disk import Batch
from tests.simulation.durable_state import DurableState
from tests.simulation.events import Events
from tests.simulation.held_log import HeldLog
from tests.simulation.leader_leases import LeaderLeases
from tests.simulation.leaders import Leaders
from tests.simulation.lease_bounds import LeaseBounds
from tests.simulation.levels import Levels
from tests.simulation.members import Members
from tests.simulation.rights_judge import RightsJudge
from tests.simulation.states import States
from tests.simulation.totals import Totals
from tests.simulation.turn_bounds import TurnBounds

if TYPE_CHECKING:
    from tests.simulation.life import Life
    from tests.simulation.node import Node


class Judge:
    """Observes all messages and writes, and remembers what they rule out later."""

    def __init__(self, events: Events, totals: Totals) -> None:
        self._totals = totals
        self.disks: dict[bytes, DurableState] = {}
        self.log = CommittedLog(totals)
        self.states = States(self.log.model.changes)
        self.levels = Levels()
        self.leaders = Leaders(self.log, self.disks, self.levels, totals)
        self._leader_leases = LeaderLeases(events, self.leaders.cores)
        self._members = Members(self.log, self.leaders.logs)
        self.admitted = self.leaders.admitted
        self._promises = Promises(self.disks)
        self.belief = Belief(self.log, self.disks)
        self.applied_revisions = AppliedRevisions(events)
        self.lease_bounds = LeaseBounds(events, self.log.model, totals)
        self.turn_bounds = TurnBounds(events, self.log.model, self.lease_bounds, totals)
        self.rights = RightsJudge(self.log.model, totals)
        self._handed: dict[bytes, int] = {}
        self._asked_at: dict[tuple[bytes, int], int] = {}
        self._handed_reads: dict[tuple[bytes, int], int] = {}
        self._confirmed: set[tuple[bytes, int]] = set()
        self._fingerprints: dict[int, tuple[int, ...]] = {}
        self._applied: dict[bytes, int] = {}
        self._answers: dict[tuple[int, int], object] = {}
        self._never: set[tuple[int, int]] = set()

    # --- starts and ends

    def node_founded(self, first: LogEntry) -> None:
        """Note the first entry of a cluster that exists from the start."""
        if not self.log.entries:
            self.log.append(first, first.term)
            self.levels.committed(first)

    def node_founds(self, node: "Node", members: Membership) -> None:
        """Check the founder of a cluster in a bootstrap, and its members."""
        self._totals.foundings += 1
        self.leaders.founded()
        expect(not self.log.last_index, "a second cluster was founded")
        expected = set(node.config.expected_addresses)
        found = {member.address for member in members.members if member.voter}
        expect(found == expected, "a cluster was founded without all expected nodes")

    def node_started(self, node: "Node", recovered: Recovered) -> None:
        """Check the state that a node recovers."""
        disk = self.disks[node.id]
        expect(recovered.hard_state == disk.hard_state, "a start found another vote or term")
        expect(recovered.applied_index <= self.log.last_index, "applied what is not committed")
        self._members.started(recovered)
        self.levels.started(node.id, node.level)
        self._leader_leases.node_started(node.id, node.clock_rate)
        self._handed[node.id] = recovered.applied_index
        self.leaders.logs[node.id] = HeldLog(recovered)

    def node_ended(self, node: "Node") -> None:
        """Forget state that a crash loses."""
        self.leaders.ended(node.id)
        self.belief.ended(node.id)
        self._applied.pop(node.id, None)

    # --- the disk

    def disk_settled(self, node: "Node", batch: Batch) -> None:
        """Note a batch that has become durable."""
        disk = self.disks.get(node.id)
        if disk is None:
            disk = self.disks[node.id] = DurableState(self.log)
        before = disk.compactions
        disk.settle(batch)
        self._totals.compactions += disk.compactions - before

    # --- the replicator

    def replicator_hears(self, life: "Life", message: ReplicatorMessage) -> None:
        """Note the start of a read, and the log start after a snapshot."""
        node = life.node.id
        if type(message) is Read:
            self._asked_at[node, message.number] = self.log.last_index
        elif type(message) is SnapshotInstalled:
            self._handed[node] = max(self._handed[node], message.index)
            log = self.leaders.logs[node]
            if log.reaches_back_to(message.index) and log.term_at(message.index) != message.term:
                log.begin_after(message.index, message.term)

    def replicator_turn(self, core: RaftNode, outbox: Outbox) -> None:
        """Judge the results of a turn of a node's Raft core."""
        node = core.id
        self.leaders.logs[node].cut_after(core._state.log.last_index)
        self._hands_over(core, outbox)
        self._confirm_reads(node, outbox.gateway)
        if self.leaders.see(core):
            self._leader_leases.judge(core)
        self.leaders.turn_over(core)
        self._members.turn_over(core)
        self.belief.turn_over(core)
        self._promises.turn_over(core)
        for peer, messages in outbox.peers.items():
            for each in messages:
                self._promises.judge(node, peer, each)

    def _hands_over(self, core: RaftNode, outbox: Outbox) -> None:
        """Judge the messages to the node's storage."""
        for message in outbox.storage:
            kind = type(message)
            if kind is Append:
                assert isinstance(message, Append)
                self.leaders.appends(core, message)
                self.belief.appends(core, message)
            elif kind is Commit:
                assert isinstance(message, Commit)
                self._commits(core, message.index)
                self.levels.applied(core.level, message.index)
            elif kind is ReadAt:
                assert isinstance(message, ReadAt)
                self._reads(core.id, message)
        if core.is_outdated:
            self._commits(core, core._state.commit_index)  # it hands no commits to its storage

    def _reads(self, node: bytes, read: ReadAt) -> None:
        self._handed_reads[node, read.number] = read.index
        if read.confirmed:
            self._confirm_read(node, read.number)

    def _confirm_reads(self, node: bytes, told: list[GatewayMessage]) -> None:
        for each in told:
            if type(each) is ReadsConfirmed:
                for number in each.numbers:
                    self._confirm_read(node, number)

    def _confirm_read(self, node: bytes, number: int) -> None:
        index = self._handed_reads.pop((node, number), None)
        expect(index is not None, "a read is confirmed that storage was not handed")
        assert index is not None
        asked_at = self._asked_at.pop((node, number), 0)
        expect(index >= asked_at, "a read is served from the past")
        self._confirmed.add((node, number))

    def _commits(self, core: RaftNode, index: int) -> None:
        before = self.log.last_index
        if index > before:
            self.leaders.may_commit(core, index)
        log, term = self.leaders.logs[core.id], self.leaders.term_of_commits(core)
        for each in range(self._handed[core.id] + 1, index + 1):
            entry = log.entry_at(each)
            expect(entry is not None, "a node commits an entry that it does not hold")
            assert entry is not None
            if each > self.log.last_index:
                self.levels.committed(entry)
            self.log.commit(entry, term)
            self.rights.committed(each)
            self.lease_bounds.committed()
            self.turn_bounds.committed()
        self._handed[core.id] = max(index, self._handed[core.id])
        if index > before:
            self.leaders.committed(term)

    # --- the storage writer

    def storage_turn(self, life: "Life", core: StorageWriter, outbox: StorageOutbox) -> None:
        """Judge the results of a step of a node's storage."""
        applied = core._machine.applied_index
        if self._applied.get(life.node.id) != applied:
            self._applied[life.node.id] = applied
            self._compare_state(core, applied)
            self.applied_revisions.note(core.revision)
        for told in outbox.gateway:
            if type(told) is BatchApplied:
                expect(told.results == self.log.model.results[told.index], "a wrong result")
            elif type(told) is Changes:
                self._compare_changes(told)
        for said in outbox.replicator:
            if type(said) is Persisted:
                self._compare_persisted(self.disks[life.node.id], said)
            elif type(said) is SnapshotInstalled:
                self._installed(said)

    def _compare_state(self, core: StorageWriter, applied: int) -> None:
        expect(applied <= self.log.last_index, "applied what is not committed")
        tables = core._table_sets.active
        fingerprint = tuple([table.fingerprint for table in tables])  # type: ignore[attr-defined]
        known = self._fingerprints.setdefault(applied, fingerprint)
        expect(known == fingerprint, f"two nodes differ after applying entry {applied}")
        if applied == self.log.last_index:
            self._compare_leases(core)

    def _compare_leases(self, core: StorageWriter) -> None:
        count, expected = core._machine._leases.count, len(self.log.model.leases.ttls)
        expect(count == expected, "the state has other leases than the log means")

    def _compare_changes(self, changes: Changes) -> None:
        for event in changes.events:
            known = self.log.model.changes[event.revision - 1]
            expect(event == known[event.position], "a wrong change")

    def _compare_persisted(self, disk: DurableState, said: Persisted) -> None:
        holds = disk.last_index == said.index and disk.holds(said.index, said.term)
        expect(holds, "called durable what is not")

    def _installed(self, installed: SnapshotInstalled) -> None:
        self._totals.snapshots += 1
        expect(
            self.log.term_at(installed.index) == installed.term,
            "a snapshot of what is not committed",
        )

    # --- clients

    def gateway_answers_read(self, node: bytes, number: int) -> None:
        """Check that the gateway holds a read back until it is confirmed."""
        expect((node, number) in self._confirmed, "a read is answered before it is confirmed")

    def gateway_answers(
        self, arrived: float, revision: int, asked: list[tuple[Operation, object]]
    ) -> None:
        """Check the age of the states that reads show.

        They include every change committed before the request, or are as new as it demands.
        """
        for operation, outcome in asked:
            if not isinstance(outcome, Found | Missing | FoundMany | Names | Page):
                continue
            assert isinstance(operation, ModalRead)
            if isinstance(operation, Scan) and operation.revision:
                continue  # in its view
            if not operation.max_staleness_ms:
                expect(outcome.revision >= revision, "a client is told of the past")
            self._check_bounds(operation, arrived, outcome.revision)

    def _check_bounds(self, read: ModalRead, arrived: float, revision: int) -> None:
        expect(revision >= read.min_revision, "a read shows an older state than it requires")
        if read.max_staleness_ms < ANY_STALENESS:
            newest = self.applied_revisions.by(arrived - read.max_staleness_ms / 1000)
            expect(revision >= newest, "a read shows an older state than it allows")

    def answered(self, session: int, sequence: int, result: object) -> None:
        """Check that a write has only one result."""
        known = self._answers.setdefault((session, sequence), result)
        expect(known == result, "a write was answered with two results")

    def never_applied(self, session: int, sequence: int) -> None:
        """Note that a client reported its write as certainly not done."""
        self._never.add((session, sequence))

    def compare_values(self, node: "Node") -> None:
        """Check the tables of a node that has applied everything."""
        assert node.life is not None
        core = node.life.storage.core
        core.write_tables()
        held: dict[str, Row] = {}
        leases: dict[str, int] = {}
        for key, stored in core._table_sets.active.values.scan(FIRST_USER_KEY):
            value = decode_stored_value(stored)
            held[key.decode()] = (
                value.create_revision,
                value.revision,
                value.version,
                value.value,
            )
            if value.lease:
                leases[key.decode()] = value.lease
        expect(leases == self.log.model.leases.of_key, f"{node.name} has keys of other leases")
        expect(held == self.log.model.rows, f"{node.name} holds other values than the log means")
        kept = core._database.table("changes").scan(b"")
        changes = [event for _, row in kept for event in decode_events(row)]
        expected = self.log.model.changes[core._history.after :]
        meant = [event for events in expected for event in events]
        expect(changes == meant, f"{node.name} keeps other changes than the log means")

    def check_failures(self) -> None:
        """Check that no write reported as not done was done."""
        done = self._never & self.log.model.executed
        expect(not done, f"writes {sorted(done)} were done though their clients heard otherwise")
        self.turn_bounds.check_items()
