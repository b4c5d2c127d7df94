"""Raft cluster: Raft cores in one process, with scripted network, disks and crashes.

Nothing happens by itself. A test delivers packets, lets disks write and acknowledge, lets
deadlines pass and crashes nodes in the order that it tests; a ``Judge`` checks the invariants
after every turn.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from protocol.entry import EntryKind, LogEntry
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.gateway import GatewayMessage, ReadsConfirmed
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    JoinReply,
    JoinRequest,
    PeerFrame,
    PeerMessage,
)
from protocol.messages.replicator import (
    CommitNoticeDue,
    ElectionDue,
    HeartbeatDue,
    LeaderQuiet,
    LogSlice,
    Persisted,
    Propose,
    QuorumCheckDue,
    Read,
    Recovered,
    RemoveMember,
    ReplicatorMessage,
    StorageCheckDue,
)
from protocol.messages.storage import Append, Commit, FetchLog, ReadAt, StorageMessage
from protocol.messages.timer import ClockState
from protocol.raft.node import RaftNode
from protocol.raft.senders import RejectedFrame, UnknownSender
from protocol.state.levels import STATE_LEVEL
from tests.harness.raft_judge import Judge

A, B, C, D, E = (name.ljust(16, b"\0") for name in (b"A", b"B", b"C", b"D", b"E"))
CLUSTER = b"cluster".ljust(16, b"\0")
ROUNDS_TO_SETTLE_MAX = 1000
ELECTION_TIMEOUT_MIN_US = 150_000  # the shortest election timeout, in microseconds


class Packet(msgspec.Struct, frozen=True):
    """A message in flight from one incarnation of a node to another node."""

    sender: NodeId
    incarnation: int
    to: NodeId
    message: PeerMessage


class Disk:
    """A stand-in for storage: handles messages in order, on command.

    A crash loses unwritten messages and unsent replies, and entries applied after the last
    ``Append``, because only an append waits for the disk.
    """

    def __init__(self, membership: Membership) -> None:
        self.hard_state = HardState(lease_promise_us=ELECTION_TIMEOUT_MIN_US)
        self.entries: list[LogEntry] = []
        self.memberships: tuple[MembershipAt, ...] = ()
        if membership.members:
            self.memberships = (MembershipAt(0, membership),)
        self.applied_index = 0
        self.incarnation = 0
        self.served: list[ReadAt] = []
        self.unwritten: deque[StorageMessage] = deque()
        self.untold: deque[ReplicatorMessage] = deque()
        self._unserved: list[ReadAt] = []
        self._applied_durably = 0

    @property
    def last_index(self) -> int:
        """The index of the last durable entry."""
        return len(self.entries)

    def term_at(self, index: int) -> int:
        """The term of the durable entry at an index; 0 where there is none."""
        return self.entries[index - 1].term if 1 <= index <= len(self.entries) else 0

    def preload(self, terms: Sequence[int], *, term: int = 0, voted_for: NodeId = b"") -> None:
        """Start with a log of entries of these terms."""
        self.entries = [
            LogEntry(index, each, EntryKind.BATCH, b"%d@%d" % (index, each))
            for index, each in enumerate(terms, start=1)
        ]
        self.hard_state = HardState(max(term, *terms, 0), voted_for, ELECTION_TIMEOUT_MIN_US)

    def recover(self, node: NodeId, cluster: bytes, window_entries: int | None) -> Recovered:
        """Lose what a crash loses; return what the next incarnation recovers."""
        self.incarnation += 1
        self.unwritten.clear()
        self.untold.clear()
        self._unserved.clear()
        self.applied_index = self._applied_durably
        first = 0 if window_entries is None else max(0, self.applied_index - window_entries)
        return Recovered(
            node,
            cluster,
            self.incarnation,
            self.hard_state,
            self.applied_index,
            first,
            self.term_at(first),
            tuple(self.entries[first:]),
            self.memberships,
        )

    def write(self) -> None:
        """Handle the oldest message."""
        match self.unwritten.popleft():
            case Append() as append:
                self._append(append)
            case Commit(index):
                assert index <= self.last_index, "what is applied was written before"
                self.applied_index = index
                self._serve()
            case ReadAt() as read:
                self._unserved.append(read)
                self._serve()
            case FetchLog() as fetch:
                self.untold.append(self._slice(fetch))
            case _:
                pass

    def _append(self, append: Append) -> None:
        if append.hard_state is not None:
            self.hard_state = append.hard_state
        if append.entries:
            first = append.entries[0].index
            assert self.applied_index < first <= self.last_index + 1
            self.entries[first - 1 :] = append.entries
        if append.memberships is not None:
            self.memberships = append.memberships
        self._applied_durably = self.applied_index
        end = (self.term_at(self.last_index), self.last_index)
        self.untold.append(Persisted(append.number, self.incarnation, *end))

    def _serve(self) -> None:
        ready = [read for read in self._unserved if read.index <= self.applied_index]
        self.served.extend(ready)
        self._unserved = [read for read in self._unserved if read.index > self.applied_index]

    def _slice(self, fetch: FetchLog) -> LogSlice:
        before = fetch.from_index - 1
        entries: list[LogEntry] = []
        size = 0
        for entry in self.entries[before:]:
            size += len(entry.payload)
            if entries and size > fetch.bytes_max:
                break
            entries.append(entry)
        return LogSlice(fetch.peer, before, self.term_at(before), tuple(entries))


class Machine:
    """One node: its core while it runs, its disk, and the messages to its gateway and timer."""

    def __init__(self, node: NodeId, membership: Membership) -> None:
        self.id = node
        self.disk = Disk(membership)
        self.running: RaftNode | None = None
        self.clock = ClockState(leading=False, votes=False, contact_count=0)
        self.gateway: list[GatewayMessage] = []
        self.now = 1  # microseconds of its own clock

    @property
    def core(self) -> RaftNode:
        """The Raft core of the current incarnation."""
        assert self.running is not None, f"{self.id!r} is down"
        return self.running

    @property
    def log_terms(self) -> list[int]:
        """The terms of the log in memory, from the first entry of the window on."""
        log = self.core._state.log
        return [entry.term for entry in log.slice(log.prev_index + 1, 1 << 40)]

    @property
    def commit_index(self) -> int:
        return self.core._state.commit_index

    @property
    def last_index(self) -> int:
        return self.core._state.log.last_index

    @property
    def served(self) -> list[ReadAt]:
        """The reads that storage has served and the gateway may reply to."""
        told = {number for each in self.told(ReadsConfirmed) for number in each.numbers}
        return [each for each in self.disk.served if each.confirmed or each.number in told]

    def told(self, kind: type[Any]) -> list[Any]:
        """Return the messages of one kind to the gateway."""
        return [message for message in self.gateway if isinstance(message, kind)]


class Disks(Mapping[NodeId, Disk]):
    """The present disks of machines."""

    def __init__(self, machines: Mapping[NodeId, Machine]) -> None:
        self._machines = machines

    def __getitem__(self, node: NodeId) -> Disk:
        return self._machines[node].disk

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._machines)

    def __len__(self) -> int:
        return len(self._machines)


class Cluster:
    """Machines and the packets between them."""

    def __init__(self, *voters: NodeId, spare: Iterable[NodeId] = ()) -> None:
        founders = Membership(
            tuple(Member(node, address_of(node), True, STATE_LEVEL) for node in voters)
        )
        self.network: list[Packet] = []
        self.machines = {node: Machine(node, founders) for node in voters}
        self.machines |= {node: Machine(node, Membership()) for node in spare}
        self.judge = Judge(Disks(self.machines))
        self._groups: list[set[NodeId]] = []

    def __getitem__(self, node: NodeId) -> Machine:
        return self.machines[node]

    @property
    def alive(self) -> list[Machine]:
        """Machines that are not down."""
        return [machine for machine in self.machines.values() if machine.running is not None]

    @property
    def leaders(self) -> list[NodeId]:
        """All nodes that believe that they lead."""
        return [machine.id for machine in self.alive if machine.core.leads]

    # --- crashes and restarts

    def start(
        self,
        *nodes: NodeId,
        window_entries: int | None = None,
        patient: bool = False,
        election_timeout_min_us: int = ELECTION_TIMEOUT_MIN_US,
    ) -> "Cluster":
        """Start these nodes, or all; ``window_entries`` limits the log in memory.

        Unless they are ``patient``, the shortest election timeout is over by then.
        """
        for node in nodes or self.machines:
            machine = self[node]
            recovered = machine.disk.recover(node, CLUSTER, window_entries)
            machine.clock = ClockState(leading=False, votes=False, contact_count=0)
            machine.gateway.clear()
            machine.running = RaftNode(
                recovered, election_timeout_min_us=election_timeout_min_us, check_proposal=take_any
            )
            if not patient:
                machine.running.step(LeaderQuiet(machine.core._state.contact_count))
            self._end_turn(machine)
        return self

    def crash(self, *nodes: NodeId) -> None:
        """Crash these nodes; unwritten messages are lost."""
        for node in nodes:
            self[node].running = None

    def restart(
        self, *nodes: NodeId, window_entries: int | None = None, patient: bool = False
    ) -> None:
        """Crash and restart these nodes."""
        self.crash(*nodes)
        self.start(*nodes, window_entries=window_entries, patient=patient)

    # --- turns

    def step(self, node: NodeId, *messages: ReplicatorMessage) -> None:
        """Deliver messages of a node's own actors in one turn."""
        self[node].core.set_time(self[node].now)
        for message in messages:
            self[node].core.step(message)
        self._end_turn(self[node])

    def turn(self, node: NodeId, action: Callable[[RaftNode], Any]) -> Any:
        """Run an action on a node's core as one turn."""
        result = action(self[node].core)
        self._end_turn(self[node])
        return result

    def time_out(self, node: NodeId) -> None:
        """Let a node's election deadline pass."""
        self.step(node, ElectionDue(self[node].clock.contact_count))

    def go_quiet(self, *nodes: NodeId) -> None:
        """Let the shortest election timeout pass at these nodes without a message from a leader."""
        for node in nodes:
            self.step(node, LeaderQuiet(self[node].clock.contact_count))

    def beat(self, node: NodeId) -> None:
        """Let a heartbeat be due."""
        self.step(node, HeartbeatDue())

    def check_quorum(self, node: NodeId) -> None:
        """Let a quorum check be due."""
        self.step(node, QuorumCheckDue())

    def check_storage(self, node: NodeId) -> None:
        """Let a storage check be due."""
        self.step(node, StorageCheckDue())

    def propose(self, node: NodeId, payload: bytes, *, number: int = 1) -> None:
        """Let a node's gateway propose a batch."""
        self.step(node, Propose(number, payload))

    def read(self, node: NodeId, number: int) -> None:
        """Let a node's gateway request a linearizable read."""
        self.step(node, Read(number, b""))

    def read_by_lease(self, node: NodeId, number: int) -> None:
        """Let a node's gateway request a leader-lease read."""
        self.step(node, Read(number, b"", leader_lease=True))

    def remove(
        self, node: NodeId, *, through: NodeId, number: int = 1, force: bool = False
    ) -> None:
        """Let a gateway request a node's removal."""
        self.step(through, RemoveMember(number, node, force))

    def basis(self, node: NodeId) -> tuple[int, int]:
        """Return the index and term on which a request to a node has to be based."""
        return self[node].core.membership_index, self[node].core.term

    def join(self, node: NodeId, *, through: NodeId, address: str = "") -> JoinReply:
        """Let a node ask another to become a member."""
        basis = self.basis(through)
        request = JoinRequest(address or address_of(node), False, *basis, STATE_LEVEL)
        reply: JoinReply = self.turn(through, lambda core: core.join(node, request))
        if self[node].running is not None:
            self[node].core.vouch(MembershipAt(reply.index, reply.membership), reply.term)
        return reply

    def _end_turn(self, machine: Machine) -> None:
        machine.core.set_time(machine.now)
        outbox = machine.core.flush()
        machine.disk.unwritten.extend(outbox.storage)
        machine.gateway.extend(outbox.gateway)
        machine.clock = outbox.clock or machine.clock
        incarnation = machine.disk.incarnation
        for to, messages in outbox.peers.items():
            assert to != machine.id, "no node sends to itself"
            if self.are_linked(machine.id, to):
                sent = [Packet(machine.id, incarnation, to, message) for message in messages]
                self.network.extend(sent)
        self.judge.see(machine.core, outbox)

    # --- the network

    def sent(
        self, kind: Any = object, *, sender: NodeId | None = None, to: NodeId | None = None
    ) -> list[Any]:
        """Return the messages of a kind in flight."""
        return [each.message for each in self._on_the_way(kind, sender, to)]

    def deliver(
        self, kind: Any = object, *, sender: NodeId | None = None, to: NodeId | None = None
    ) -> int:
        """Deliver the packets in flight, in order; return their number."""
        packets = self.take(kind, sender=sender, to=to)
        for packet in packets:
            self.arrive(packet)
        return len(packets)

    def take(
        self, kind: Any = object, *, sender: NodeId | None = None, to: NodeId | None = None
    ) -> list[Packet]:
        """Take packets from the network, to drop them or to deliver them later."""
        taken = self._on_the_way(kind, sender, to)
        identities = set(map(id, taken))
        self.network = [packet for packet in self.network if id(packet) not in identities]
        return taken

    drop = take

    def arrive(self, packet: Packet) -> None:
        """Deliver a packet, if its node is up and not cut off from the sender."""
        machine = self[packet.to]
        if machine.running is None or not self.are_linked(packet.sender, packet.to):
            return
        frame = frame_of(packet.sender, packet.message, incarnation=packet.incarnation)
        machine.core.set_time(machine.now)
        with suppress(RejectedFrame):  # the sender has restarted since, or is unknown
            self.receive(machine, frame)
        self._end_turn(machine)

    def receive(self, machine: Machine, frame: PeerFrame) -> None:
        """Deliver a frame; for an unknown sender, after the node has asked others about it."""
        try:
            machine.core.receive(frame)
        except UnknownSender:
            for other in self.alive:
                if other is not machine and self.are_linked(machine.id, other.id):
                    machine.core.on_membership_reply(other.id, other.core.membership_reply())
            if not machine.core.trusts(frame.sender):
                raise
            machine.core.receive(frame)  # the sender repeats the frame

    def inject(self, sender: NodeId, to: NodeId, message: PeerMessage) -> None:
        """Deliver a message that no core sent."""
        self.arrive(Packet(sender, self[sender].disk.incarnation, to, message))

    def partition(self, *groups: Iterable[NodeId]) -> None:
        """Drop all packets between these groups, those in flight included."""
        self._groups = [set(group) for group in groups]
        self.network = [each for each in self.network if self.are_linked(each.sender, each.to)]

    def heal(self) -> None:
        """End the partition."""
        self._groups = []

    def are_linked(self, one: NodeId, other: NodeId) -> bool:
        """Return whether packets between two nodes arrive."""
        return not self._groups or any({one, other} <= group for group in self._groups)

    def _on_the_way(self, kind: Any, sender: NodeId | None, to: NodeId | None) -> list[Packet]:
        return [
            packet
            for packet in self.network
            if isinstance(packet.message, kind)
            and sender in (None, packet.sender)
            and to in (None, packet.to)
        ]

    # --- the disks

    def write(self, node: NodeId) -> None:
        """Let a disk handle all messages, without acknowledgement."""
        while self[node].disk.unwritten:
            self[node].disk.write()

    def acknowledge(self, node: NodeId) -> None:
        """Deliver the disk's acknowledgements to its node."""
        machine = self[node]
        while machine.disk.untold:
            self.step(node, machine.disk.untold.popleft())

    def sync(self, *nodes: NodeId) -> None:
        """Let these disks, or all, write and acknowledge."""
        for node in nodes or [machine.id for machine in self.alive]:
            self.write(node)
            self.acknowledge(node)

    # --- combinations

    def settle(self, *nodes: NodeId) -> None:
        """Deliver and write everything, at these nodes or at all, until nothing happens.

        Other nodes neither write nor receive.
        """
        chosen = set(nodes or self.machines)
        for _ in range(ROUNDS_TO_SETTLE_MAX):
            if not self._settle_once([each for each in self.alive if each.id in chosen]):
                return
        raise AssertionError("the cluster does not come to rest")

    def _settle_once(self, machines: list[Machine]) -> bool:
        happened = 0
        for machine in machines:
            happened += len(machine.disk.unwritten) + len(machine.disk.untold)
            self.sync(machine.id)
            happened += self.deliver(to=machine.id)
        if not happened:
            owing = [machine for machine in machines if machine.core.owes_commit_notice]
            for machine in owing:
                self.step(machine.id, CommitNoticeDue())
            happened = len(owing)
        return bool(happened)

    def elect(self, node: NodeId, *, among: Iterable[NodeId] = ()) -> None:
        """Elect a node after the leader's timeout, by all or by some."""
        among = set(among) or {machine.id for machine in self.alive}
        self.go_quiet(*sorted(among - {node}))
        self.time_out(node)
        self.settle(*among, node)
        assert self[node].core.leads, f"{node!r} was not elected"

    def elect_without_replication(self, node: NodeId, *, votes_of: Iterable[NodeId]) -> None:
        """Elect a node and drop everything that it then sends."""
        self.go_quiet(*votes_of)
        self.time_out(node)
        for _ in range(2):
            for voter in votes_of:
                self.deliver(to=voter)
                self.sync(voter)
            self.sync(node)
            self.deliver(to=node)
            self.write(node)
        self.acknowledge(node)
        for voter in votes_of:
            self.deliver(to=voter)
            self.sync(voter)
        self.deliver(to=node)
        self.drop()
        assert self[node].core.leads, f"{node!r} was not elected"


def take_any(payload: bytes, _: NodeId, __: int) -> bytes:
    """Accept any bytes as a proposal."""
    return payload


def address_of(node: NodeId) -> str:
    """Return the default address of a node."""
    name = node.rstrip(b"\0").decode().lower()
    return f"{name}.example:9400"


def frame_of(sender: NodeId, *messages: PeerMessage, incarnation: int = 1) -> PeerFrame:
    """Return a frame with a sender's messages."""
    return PeerFrame(
        version=PEER_PROTOCOL_VERSION,
        cluster=CLUSTER,
        sender=sender,
        incarnation=incarnation,
        address=address_of(sender),
        messages=messages,
    )


def with_logs(logs: Mapping[NodeId, Sequence[int]], *, term: int = 0) -> Cluster:
    """Return a cluster with logs of these terms, all nodes in one term."""
    cluster = Cluster(*logs)
    newest = max(term, *(max(terms, default=0) for terms in logs.values()))
    for node, terms in logs.items():
        cluster[node].disk.preload(terms, term=newest)
    return cluster.start()


def led_by(leader: NodeId, *others: NodeId, spare: Iterable[NodeId] = ()) -> Cluster:
    """Return a cluster at rest whose leader has committed the first entry of its term."""
    cluster = Cluster(leader, *others, spare=spare).start()
    cluster.settle()
    if not cluster[leader].core.leads:
        cluster.elect(leader)
    return cluster
