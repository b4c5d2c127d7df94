"""Cluster: the nodes, clients and watchers of a run, and the routes between them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Operation, Reply, Request
from protocol.messages.peer import ClusterQuery, JoinRequest, MembershipQuery, PeerFrame
from protocol.state.machine import decode_membership_change
from protocol.wire import encode
from tests.simulation.client import Client, Thread
from tests.simulation.door import Asker
from tests.simulation.history import History
from tests.simulation.loose_reads import LooseReads
from tests.simulation.many_reads import ManyReads
from tests.simulation.node import Node, host_of
from tests.simulation.rights_user import clients_with_rights
from tests.simulation.rights_watcher import RightsWatcher
from tests.simulation.setting import Setting
from tests.simulation.watcher import Watcher

if TYPE_CHECKING:
    from tests.simulation.copies import Copy

_decode_memberships = msgspec.msgpack.Decoder(tuple[MembershipAt, ...]).decode

CLUSTER = b"simulated".ljust(16, b"\0")
FINDERS = (ClusterQuery, JoinRequest, MembershipQuery)
PREFIXES = ("", "k/", "k/0")
SHARED_THREADS = 3  # times as many threads in a client whose threads share connections


def _ignore(_: Reply) -> None:
    """Do nothing."""


def _nothing() -> None:
    """Do nothing."""


class Cluster:
    """The participants of a run."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.history = History()
        self.loose_reads = LooseReads(setting)
        self.many_reads = ManyReads(setting, self.loose_reads)
        self.nodes: dict[str, Node] = {}
        self.copies: dict[str, Copy] = {}  # of node directories, by address
        options = setting.options
        for number in range(options.nodes + options.spares):
            node = Node(setting, f"n{number + 1}", self.deliver)
            self.nodes[node.address] = node
        setting.addresses = tuple(self.nodes)
        self._found(list(self.nodes.values()))
        self.clients = [
            Client(self, f"c{number + 1}", self.history, list(self.nodes))
            for number in range(options.clients)
        ]
        for client in self.clients:
            threads = options.threads * (SHARED_THREADS if client.is_shared else 1)
            for number in range(threads):
                client.new_thread(f"{client.name}.{number}")
        self.clients += clients_with_rights(self)
        self._user_watchers = [RightsWatcher(self, 1 + each) for each in range(options.users)]
        self.watchers = [
            Watcher(
                self, f"w{number + 1}", setting.chance.choice(PREFIXES), prev_value=number % 2 == 0
            )
            for number in range(options.watchers)
        ]

    def begin(self) -> None:
        """Start everything."""
        for node in self.nodes.values():
            node.start()
        for thread in self.threads:
            thread.go_on()
        for watcher in self.watchers:
            watcher.watch()
        for user in self._user_watchers:
            user.watch()

    @property
    def client_names(self) -> list[str]:
        """The addresses of all clients in the network, with those of the watchers."""
        return [each.name for each in self.threads] + [each.name for each in self.watchers]

    @property
    def threads(self) -> list[Thread]:
        """All threads of all clients."""
        return [thread for client in self.clients for thread in client.threads]

    @property
    def running(self) -> list[Node]:
        """The nodes whose processes are alive, stopped ones included."""
        return [node for node in self.nodes.values() if node.life is not None]

    @property
    def leader(self) -> Node | None:
        """The leader of the latest term that has one."""
        latest = self.setting.judge.leaders.latest
        return next((node for node in self.nodes.values() if node.id == latest), None)

    def node_at(self, address: str) -> Node:
        """Return the node at an address, a former one included: clients know where it moved."""
        return self.nodes[host_of(address)]

    def ask(self, address: str, asker: Asker, request: Request) -> bool:
        """Deliver a request to a node; return whether a node listens there."""
        node = self.node_at(address)
        if node.door is None or not node.door.is_open:
            return False
        self.setting.network.send_once(
            asker[0], node.address, self._deliver_request, node, asker, request
        )
        return True

    def ask_alone(
        self,
        address: str,
        name: str,
        operation: Operation,
        timeout_ms: int,
        heard: Callable[[Reply], None] = _ignore,
    ) -> None:
        """Ask a node for one operation, once and without a session, as no client does."""
        request = Request(CLIENT_PROTOCOL_VERSION, 1, timeout_ms, (operation,))
        self.ask(address, (name, heard, _nothing), request)

    @property
    def has_moving(self) -> bool:
        """Whether a member is not listed at its address yet."""
        members = self.members.membership
        listed = {member.id: member.address for member in members.members}
        return any(
            listed.get(node.id, node.advertised) != node.advertised for node in self.nodes.values()
        )

    @property
    def members(self) -> MembershipAt:
        """The last committed membership."""
        for entry in reversed(self.setting.judge.log.entries):
            if entry.kind == EntryKind.MEMBERSHIP:
                return MembershipAt(entry.index, membership_of(entry))
        return MembershipAt(0, Membership())  # the cluster is not formed yet

    def _found(self, nodes: list[Node]) -> None:
        """Make some nodes a cluster, or let them form one; the others stand by."""
        founders = nodes[: self.setting.options.nodes]
        if self.setting.options.bootstrap:
            self._expect_each_other(founders)
            nodes, founders = nodes[len(founders) :], []
        members = Membership(
            tuple(
                sorted(
                    (Member(node.id, node.address, True, node.level) for node in founders), key=_id
                )
            )
        )
        first = LogEntry(1, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(members)))
        for node in nodes:
            if node in founders:
                node.found(CLUSTER, first, MembershipAt(1, members))
                self.setting.judge.node_founded(first)
            else:
                node.stand_by()

    def _expect_each_other(self, founders: list[Node]) -> None:
        self.setting.totals.bootstraps += 1
        for node in founders:
            node.expect([each.address for each in founders])

    def possible_memberships(self) -> list[MembershipAt]:
        """Return the last committed membership, and all that may follow it."""
        known = [self.members]
        for node in self.nodes.values():
            known.extend(memberships_on(node))
            if node.life is not None and node.life.replicator.core is not None:
                known.extend(node.life.replicator.core._state.memberships.to_store())
        return [each for each in known if each.index >= known[0].index]

    def deliver(self, sender: str, address: str, frame: PeerFrame) -> None:
        """Deliver a frame to the node, or the copy, at an address.

        A node that has moved also hears those that look for a leader at its former address: their
        operators have given them the new one.
        """
        node = self.nodes.get(host_of(address))
        if node is None:
            copy = self.copies.get(address)
            if copy is not None:
                copy.receive(sender, frame)
        elif address == node.advertised or _finds_others(frame, node):
            node.receive(sender, frame)

    def _deliver_request(self, node: Node, asker: Asker, request: Request) -> None:
        if node.door is not None and node.door.is_open:
            self.setting.events.note(f"{node.name} gateway", f"is asked by {asker[0]}", request)
            node.door.ask(asker, request)


def memberships_on(node: Node) -> tuple[MembershipAt, ...]:
    """Return the memberships on a node's disk."""
    stored = node.disk.table("raft_meta").get(b"memberships")
    return _decode_memberships(stored) if stored else ()


def membership_of(entry: LogEntry) -> Membership:
    """Return the membership of an entry."""
    return decode_membership_change(entry.payload).membership


def _finds_others(frame: PeerFrame, node: Node) -> bool:
    """Whether a frame looks for a cluster, and not for whether its own sender is there already."""
    return type(frame.messages[0]) in FINDERS and frame.sender != node.id


def _id(member: Member) -> bytes:
    return member.id
