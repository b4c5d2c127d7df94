"""Node: a simulated host, whose disk outlives its processes."""

from collections.abc import Callable
from itertools import filterfalse
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from protocol.address import DEFAULT_PORT
from protocol.compaction import LogLimits
from protocol.config import NodeConfig
from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.membership import MembershipAt, NodeId
from protocol.messages.peer import (
    AppendEntries,
    ForwardMembershipChange,
    ForwardProposal,
    JoinRequest,
    PeerFrame,
    ProposalRefused,
)
from protocol.messages.storage import Append
from protocol.state.levels import STATE_LEVEL
from protocol.storage.log_store import LogStore
from protocol.wire import decode_peer_frame, encode
from tests.simulation.disk import Batch, Disk, DiskFailure
from tests.simulation.levels import OLD_LEVEL
from tests.simulation.life import Life
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.door import Door

RESTART_DELAY = 0.1
PORTS = 10  # between two addresses of a host
OLDER = 0.6  # share of the nodes of a mixed run that begin with the older build
ROOMY = 1 << 40  # free bytes of a disk that is not full

# The gateway counts refusals, and relies on TCP not to duplicate one.
NEVER_TWICE = frozenset((ForwardProposal, ForwardMembershipChange, ProposalRefused))

LATE_REQUEST_SECONDS = 3.0  # delay of a request to join that arrives a second time, at most

Deliver = Callable[[str, str, PeerFrame], None]


class Node:
    """A host with a disk; its processes come and go."""

    def __init__(self, setting: Setting, name: str, deliver: Deliver) -> None:
        self.setting = setting
        self.name = name
        self.address = f"{name}:{DEFAULT_PORT}"  # of the host, which never changes
        self.moves = 0
        self.id: NodeId = name.encode().ljust(16, b"\0")
        self.config = NodeConfig(dir=name, advertise=name, standby=True)
        spread = setting.options.clock_spread
        self.clock_rate = setting.chance.uniform(1 - spread, 1 + spread)
        self.disk = Disk(self._on_durable)
        self.disk_hangs = False
        self.disk_slowness = 1.0
        self.disk_free = ROOMY
        self.level = STATE_LEVEL  # of the build that its next start runs
        if setting.options.mixed:
            is_older = Random(f"level {name} {setting.options.seed}").random() < OLDER
            self.level = OLD_LEVEL if is_older else STATE_LEVEL
        self.stays_down = False
        self.is_removed = False
        self.losses = 0
        self.life: Life | None = None
        self._deliver = deliver

    @property
    def advertised(self) -> str:
        """The address at which other nodes reach the processes now."""
        return str(self.config.address)

    def expect(self, addresses: list[str]) -> None:
        """Start empty, and form a cluster with the nodes at these addresses."""
        self._begin_empty()
        self.config = NodeConfig(
            dir=self.name,
            advertise=self.name,
            join_cluster=tuple(addresses),
            expect=len(addresses),
        )

    def lose_directory(self, others: tuple[str, ...], *, rejoin: bool) -> None:
        """Start again empty, under a new id; with ``rejoin``, in place of the former id."""
        self.crash()
        self.setting.totals.lost_directories += 1
        self.setting.lost_at = self.setting.events.now
        self.losses += 1
        self.id = f"{self.name}#{self.losses}".encode().ljust(16, b"\0")
        self.disk = Disk(self._on_durable)
        if not self.config.expect:
            self.config = NodeConfig(
                dir=self.name, advertise=self.name, port=self.config.port, join_cluster=others
            )
        self.config = replace(self.config, rejoin=rejoin)
        self._begin_empty()

    def end_as_removed(self) -> None:
        """End after a removal, without a restart."""
        self.setting.totals.ended_as_removed += 1
        self.is_removed = True
        self.stop()

    def found(self, cluster: bytes, first: LogEntry, members: MembershipAt) -> None:
        """Initialize a directory as that of a founding member."""
        store = self._begin_directory()
        store.adopt_cluster(cluster)
        store.append(Append(0, HardState(1), (first,), (members,)))
        self.disk.write(sync=True)
        self.disk.finish_sync()

    def stand_by(self) -> None:
        """Initialize a directory; the node waits for an invitation."""
        self._begin_empty()

    def _begin_empty(self) -> None:
        self._begin_directory()
        self.disk.write(sync=True)
        self.disk.finish_sync()

    def start(self) -> None:
        """Start the processes unless they run."""
        if self.life is None and not self.stays_down:
            self.setting.events.note(self.name, "starts")
            if self.config.rejoin:  # the setting is a wish at each start
                self.setting.judge.admitted.welcome(self.id)
            try:
                self.life = Life(self)
            except DiskFailure:
                self.setting.totals.failed_writes += 1
                self._come_back_later()

    def crash(self) -> None:
        """Kill the processes, lose unsynced writes, and restart after a while."""
        if self.life is None:
            return
        life, self.life = self.life, None
        life.end()
        self.setting.judge.node_ended(self)
        core = life.replicator.core
        self.setting.judge.admitted.crash(self.id, knows_removal=core is not None and core.removed)
        self._come_back_later()

    def move(self) -> None:
        """End the processes, which come back at another address and know those of all others."""
        self.setting.totals.moves += 1
        self.crash()
        self.moves += 1
        self.config = NodeConfig(
            dir=self.name,
            advertise=self.name,
            port=DEFAULT_PORT + PORTS * self.moves,
            join_cluster=tuple(each for each in self.setting.addresses if each != self.address),
            rejoin=self.config.rejoin,
        )

    def upgrade(self) -> None:
        """Restart with the newer build."""
        self.setting.totals.upgrades += 1
        self.level = STATE_LEVEL
        self.crash()

    def downgrade(self) -> None:
        """Restart with the older build; the cluster may no longer let it."""
        self.setting.totals.downgrades += 1
        self.level = OLD_LEVEL
        self.crash()

    def _come_back_later(self) -> None:
        self.setting.totals.crashes += 1
        self.setting.totals.unsynced_lost += self.disk.crash(self.setting.chance)
        self.setting.events.note(self.name, "crashes")
        delay = RESTART_DELAY * self.setting.chance.choice((0.1, 1, 1, 5))
        self.setting.events.after(delay, self.start)

    def disk_is_fast(self) -> None:
        """Restore the normal duration of syncs."""
        self.disk_slowness = 1.0

    def disk_works(self) -> None:
        """Resume a hung disk."""
        self.disk_hangs = False
        if self.life is not None:
            self.life.storage.disk_recovers()

    def fill(self, free: int) -> None:
        """Leave ``free`` bytes on the disk."""
        self.disk_free = free
        if self.life is not None:
            self.life.storage.look_at_space()

    def clear(self) -> None:
        """Free the disk."""
        self.fill(ROOMY)

    def heal(self) -> None:
        """Repair everything of this node."""
        self.disk_is_fast()
        self.disk_works()
        self.clear()
        self.disk.fails_next = False
        if self.is_removed:
            self.is_removed = self.stays_down = False
            self.config = replace(self.config, rejoin=True)
        self.resume()
        self.start()

    def stop(self) -> None:
        """End the processes without a restart."""
        self.stays_down = True
        self.crash()

    def resume(self) -> None:
        """Resume all processes, as by SIGCONT."""
        for actor in self.life.actors if self.life is not None else ():
            actor.resume()

    def freeze(self) -> None:
        """Stop all processes, as by SIGSTOP."""
        for actor in self.life.actors if self.life is not None else ():
            actor.pause()

    @property
    def history_after(self) -> int:
        """The revision after which a running node has all changes; -1 if it is down."""
        return -1 if self.life is None else self.life.storage.core._history.after

    @property
    def applied_index(self) -> int:
        """The applied index; -1 while the node is down."""
        return -1 if self.life is None else self.life.storage.core._machine.applied_index

    def send_frame(self, address: str, frame: PeerFrame) -> None:
        """Send a frame to the node at an address."""
        network, options = self.setting.network, self.setting.options
        if network.starves(self.address, host_of(address)):
            frame = replace(frame, messages=tuple(filterfalse(_has_entries, frame.messages)))
            if not frame.messages:
                return
        repeatable = not any(type(message) in NEVER_TWICE for message in frame.messages)
        if options.encoded:
            what: tuple[Any, ...] = (self._deliver_encoded, address, encode(frame))
        else:
            what = (self._deliver, self.name, address, frame)
        network.send(self.address, host_of(address), repeatable, *what)
        if options.late_requests and type(frame.messages[0]) is JoinRequest:
            self._send_late(address, what)

    def _send_late(self, address: str, what: tuple[Any, ...]) -> None:
        """Send a request to join once more, when it may have been granted and undone."""
        chance, network = self.setting.chance, self.setting.network
        if chance.random() < self.setting.options.late_requests:
            self.setting.totals.late_requests += 1
            delay = LATE_REQUEST_SECONDS * chance.random()
            route = (self.address, host_of(address))
            self.setting.events.after(delay, network.send, *route, True, *what)

    def receive(self, sender: str, frame: PeerFrame) -> None:
        """Deliver a frame to the replicator, if the node runs."""
        if self.life is not None:
            self.setting.events.note(f"{self.name} replicator", f"hears {sender}", frame.messages)
            self.life.replicator.hear(frame)

    @property
    def door(self) -> "Door | None":
        """The gateway, or None while the node is down."""
        return None if self.life is None else self.life.gateway

    def _deliver_encoded(self, address: str, encoded: bytes) -> None:
        self._deliver(self.name, address, decode_peer_frame(encoded))

    def _begin_directory(self) -> LogStore:
        store = LogStore(self.disk, LogLimits(1, 1))
        store.begin(self.id)
        return store

    def _on_durable(self, batch: Batch) -> None:
        self.setting.judge.disk_settled(self, batch)


def host_of(address: str) -> str:
    """Return the address of the host of a node, or of a copy, at one of its addresses."""
    return f"{address.partition(':')[0]}:{DEFAULT_PORT}"


def _has_entries(message: object) -> bool:
    return isinstance(message, AppendEntries) and bool(message.entries)
