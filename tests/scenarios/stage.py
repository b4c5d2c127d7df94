"""Stage: a cluster that traces its events, for comparison with a script."""

from collections.abc import Callable
from typing import Any

import msgspec

from protocol.membership import Membership, MembershipAt, NodeId
from protocol.messages.gateway import GatewayMessage, ReadFailed, ReadsConfirmed, Refused
from protocol.messages.peer import PeerFrame
from protocol.messages.replicator import Read, ReplicatorMessage
from protocol.messages.storage import Append, Commit, ReadAt, StageChunk, StorageMessage
from protocol.raft.node import RaftNode
from protocol.raft.outbox import Outbox
from protocol.raft.senders import RejectedFrame
from tests.harness.raft_cluster import (
    CLUSTER,
    ROUNDS_TO_SETTLE_MAX,
    Cluster,
    Disks,
    Machine,
    Packet,
    frame_of,
)
from tests.harness.raft_judge import Judge
from tests.scenarios.notation import Mistake, node_name, write_message, write_write
from tests.scenarios.portrait import write_machine, write_membership, write_role
from tests.scenarios.storage import NO_READS, StoredDisk
from tests.scenarios.storage_notation import write_answer, write_request
from tests.scenarios.trace import Trace


class Witness(Judge):
    """A judge that traces every turn first."""

    def __init__(self, disks: Disks, report: Callable[[RaftNode, Outbox], None]) -> None:
        super().__init__(disks)
        self._report = report

    def see(self, core: RaftNode, outbox: Outbox) -> None:
        """Trace the results of a turn, and judge them."""
        self._report(core, outbox)
        super().see(core, outbox)


class Standing(msgspec.Struct, frozen=True):
    """The state of a node that was traced last."""

    life: int
    role: str
    members: str
    last_index: int


class Stage(Cluster):
    """A cluster that traces every turn, arrival and write."""

    def __init__(self, trace: Trace, *voters: NodeId, spare: tuple[NodeId, ...] = ()) -> None:
        super().__init__(*voters, spare=spare)
        for machine in self.machines.values():
            (founders,) = machine.disk.memberships or [MembershipAt(0, Membership())]
            machine.disk = StoredDisk(machine.id, CLUSTER, founders.membership)
        self.trace = trace
        self.judge = Witness(Disks(self.machines), self._report)
        self.held: list[Packet] = []
        self.armed: dict[NodeId, int] = {}  # the contact at which an election deadline was set
        self._numbers: dict[NodeId, int] = {}
        self._told: dict[NodeId, Standing] = {}
        self._untold_before_crash: dict[NodeId, list[ReplicatorMessage]] = {}

    def disk(self, node: NodeId) -> StoredDisk:
        """Return the disk of a node."""
        disk = self[node].disk
        assert isinstance(disk, StoredDisk)
        return disk

    def next_number(self, node: NodeId) -> int:
        """Number the next request of a node's gateway."""
        self._numbers[node] = self._numbers.get(node, 0) + 1
        return self._numbers[node]

    # --- crashes and restarts

    def crash(self, *nodes: NodeId, kept: int = 0) -> None:
        """Crash nodes; of their unsynced writes, the first ``kept`` survive."""
        for node in nodes:
            self.disk(node).kept_by_crash = kept
            machine = self[node]
            if machine.running is not None:
                self._untold_before_crash[node] = list(machine.disk.untold)
                lost = [each.number for each in machine.disk.unwritten if isinstance(each, Append)]
                losing = "".join(f", loses write {number}" for number in lost)
                self.trace.tell(f"{node_name(node)}: crashes{losing}")
        super().crash(*nodes)

    def acknowledge_former_life(self, node: NodeId) -> None:
        """Deliver the disk's acknowledgements of the previous incarnation to the current one."""
        for message in self._untold_before_crash.pop(node, []):
            answer = f"{write_answer(message)}, of an earlier incarnation"
            with self.trace.cause(f"{node_name(node)}: {answer}"):
                self.step(node, message)

    def read(self, node: NodeId, number: int) -> None:
        """Let a node's gateway ask for a read."""
        self.step(node, Read(number, NO_READS))

    # --- the network

    def pick(
        self, kind: Any, sender: NodeId | None, to: NodeId | None, count: int | None
    ) -> list[Packet]:
        """Take packets from the network, or the first few of them."""
        packets = self.take(kind, sender=sender, to=to)
        if count is not None and count > len(packets):
            raise Mistake(f"{len(packets)} messages are on their way there, not {count}")
        taken, left = packets[:count], packets[count:] if count is not None else []
        self.network.extend(left)
        return taken

    def arrive(self, packet: Packet) -> None:
        """Deliver a packet if its node is up and not cut off."""
        incarnation = packet.incarnation
        self.arrive_as(packet, frame_of(packet.sender, packet.message, incarnation=incarnation))

    def arrive_as(self, packet: Packet, frame: PeerFrame) -> None:
        """Deliver a packet in a given frame, which its sender may never send."""
        machine = self[packet.to]
        if machine.running is None or not self.are_linked(packet.sender, packet.to):
            self.trace.tell(f"{write_packet(packet)} (lost)")
            return
        with self.trace.cause(write_packet(packet)):
            try:
                self.receive(machine, frame)
            except RejectedFrame as strange:
                self.trace.tell(f"{node_name(packet.to)}: drops the frame, of {strange}")
            self._end_turn(machine)

    # --- the disks

    def write(self, node: NodeId, count: int | None = None, *, tell: bool = True) -> None:
        """Let a disk handle all its messages, or the first ``count``."""
        disk = self[node].disk
        for _ in range(_up_to(count, len(disk.unwritten))):
            message, already = disk.unwritten[0], len(disk.served)
            disk.write()
            if isinstance(message, Commit):
                self.trace.tell(f"{node_name(node)}: applied {message.index}")
            elif isinstance(message, Append) and tell:
                self.trace.tell(f"{node_name(node)}: write {message.number} on disk")
            elif isinstance(message, StageChunk) and tell:
                self.trace.tell(f"{node_name(node)}: on disk: {write_answer(disk.untold[-1])}")
            for read in disk.served[already:]:
                how = "served" if read.confirmed else "read ahead"
                self.trace.tell(f"{node_name(node)}: read #{read.number} {how} at {read.index}")

    def acknowledge(self, node: NodeId, count: int | None = None) -> None:
        """Deliver the disk's acknowledgements to its node, all or the first ``count``."""
        disk = self[node].disk
        for _ in range(_up_to(count, len(disk.untold))):
            message = disk.untold.popleft()
            with self.trace.cause(f"{node_name(node)}: {write_answer(message)}"):
                self.step(node, message)

    def sync(self, *nodes: NodeId) -> None:
        """Let disks write and acknowledge."""
        for node in nodes or [machine.id for machine in self.alive]:
            self.write(node, tell=False)
            self.acknowledge(node)

    # --- several things at once

    def settle_until(self, kind: type, *nodes: NodeId) -> None:
        """Deliver and write everything at these nodes, until a message of this kind is sent."""
        for _ in range(ROUNDS_TO_SETTLE_MAX):
            for node in nodes:
                self.sync(node)
                if self.sent(kind):
                    return
                self.deliver(to=node)
                if self.sent(kind):
                    return
        raise Mistake(f"no {kind.__name__} is sent")

    # --- tracing

    def _report(self, core: RaftNode, outbox: Outbox) -> None:
        machine = self[core.id]
        before = self._told.get(core.id)
        self._told[core.id] = now = Standing(
            machine.disk.incarnation,
            write_role(machine),
            write_membership(machine),
            machine.last_index,
        )
        if before is None or before.life != now.life:
            self.trace.tell(write_machine(machine))
            before = now
        self._tell_changes(node_name(core.id), before, now)
        for message in outbox.storage:
            self._tell_storage(node_name(core.id), message, before.last_index)
        for each in outbox.gateway:
            self._tell_gateway(node_name(core.id), each)
        self._tell_sent(machine, outbox)

    def _tell_changes(self, name: str, before: Standing, now: Standing) -> None:
        if before.role != now.role:
            self.trace.tell(f"{name}: {now.role}")
        if before.members != now.members:
            self.trace.tell(f"{name}: members {now.members}")

    def _tell_storage(self, name: str, message: StorageMessage, last_index: int) -> None:
        match message:
            case Append(number, _, entries):
                cut = bool(entries) and entries[0].index <= last_index
                replacing = f" replaces {entries[0].index}..{last_index}" if cut else ""
                self.trace.tell(f"{name}: write {number} begins: {write_write(message)}{replacing}")
            case Commit(index):
                self.trace.tell(f"{name}: commit {index}")
            case ReadAt(number, index, confirmed=confirmed):
                how = "served" if confirmed else "read ahead"
                self.trace.tell(f"{name}: read #{number} may be {how} at {index}")
            case _:
                request = write_request(message)
                if request is not None:
                    self.trace.tell(f"{name}: {request}")

    def _tell_gateway(self, name: str, message: GatewayMessage) -> None:
        match message:
            case Refused(number, refusal):
                self.trace.tell(f"{name}: gateway told that #{number} is refused, {refusal.name}")
            case ReadsConfirmed(numbers):
                confirmed = ", ".join([f"read #{number}" for number in numbers])
                self.trace.tell(f"{name}: gateway told as confirmed: {confirmed}")
            case ReadFailed(number):
                self.trace.tell(f"{name}: gateway told that read #{number} failed")
            case _:
                pass

    def _tell_sent(self, machine: Machine, outbox: Outbox) -> None:
        for to, messages in outbox.peers.items():
            lost = "" if self.are_linked(machine.id, to) else " (lost)"
            for each in messages:
                packet = Packet(machine.id, machine.disk.incarnation, to, each)
                self.trace.tell(f"{write_packet(packet)}{lost}")


def write_packet(packet: Packet) -> str:
    """Write a message with its route."""
    way = f"{node_name(packet.sender)}->{node_name(packet.to)}"
    return f"{way} {write_message(packet.message)}"


def _up_to(count: int | None, there: int) -> int:
    if count is not None and count > there:
        raise Mistake(f"the disk has {there}, not {count}")
    return there if count is None else count
