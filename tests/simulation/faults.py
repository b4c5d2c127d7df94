"""Faults: the kinds of trouble in a run, their rates and durations."""

from collections.abc import Callable

from protocol.messages.client import (
    AddNode,
    Get,
    RemoveNode,
    Reply,
    TransferLeadership,
)
from protocol.messages.replicator import StepAside
from protocol.state.commands import OpenSession, Write
from protocol.state.levels import STATE_LEVEL
from tests.simulation.actor import Actor
from tests.simulation.cluster import Cluster, memberships_on
from tests.simulation.copies import Copy
from tests.simulation.hostile import Hostile
from tests.simulation.network import Pair
from tests.simulation.node import Node
from tests.simulation.options import FaultRates
from tests.simulation.splits import SPLITS, between, draw_split
from tests.simulation.starvation import Starvation
from tests.simulation.storage import DISK_RESERVE, FORCED_SLOWNESS

DURATIONS = (0.02, 0.1, 0.3, 0.3, 1.0, 3.0)  # seconds
CUT_FROM_CLIENTS = 0.3  # share of splits that affect clients, too
CRASHES_AT_MENDING = 0.3  # share of splits, in runs with crashes
AIMED = 0.4  # share of single-node faults that hit the leader
ADMIN_TIMEOUT_MS = 2000
FORCED = 0.2  # share of removals
CUTS_AT_TRANSFERS = 0.6  # share of transfers after which the old leader is cut off
BURSTS_AT_CUTS = 0.5  # share of splits with writes that reach one side only
BURST_WRITES_MAX = 6
BURST_WRITE_SECONDS = 0.006  # between two writes, so that each becomes an entry of its own
BURST_READS, BURST_READ_SECONDS = 12, 0.04
BURST_TIMEOUT_MS = 300
REJOINS = 0.7  # share of the nodes that rejoin after losing their directory
REMOVED_IN_MOVES = 0.5  # share of the nodes that move
LOSSES_BEAR_VOTERS = 3  # fewer voters do not survive the loss of one
SUCCESSION_SECONDS, SUCCESSION_CHECK_SECONDS = 2.0, 0.001


class Faults:
    """Starts each kind of fault at its rate, and ends it after a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._setting = cluster.setting
        self._chance = cluster.setting.chance
        self._over = False
        self._hostile_ones = Hostile(cluster)
        self._starving = Starvation(cluster)

    def begin(self) -> None:
        """Schedule the first fault of each kind."""
        for kind in FaultRates.__struct_fields__:
            rate = getattr(self._setting.options.rates, kind)
            if rate:
                self._plan(rate, getattr(self, f"_{kind}"))

    def strike_last(self) -> None:
        """Cut the leader off with its last requests, so that the logs differ at the end."""
        leader = self._cluster.leader
        if leader is not None:
            self._cut_off(leader)
            self._setting.events.note("fault", f"cut off {leader.name} at last")
            self._ask_much(leader)

    def end(self) -> None:
        """Start no more faults."""
        self._over = True

    def _plan(self, rate: float, strike: Callable[[], None]) -> None:
        self._setting.events.after(self._chance.expovariate(rate), self._strike, rate, strike)

    def _strike(self, rate: float, strike: Callable[[], None]) -> None:
        if not self._over:
            strike()
            self._plan(rate, strike)

    def _for_a_while(self, begin: str, end: Callable[[], None]) -> None:
        duration = self._chance.choice(DURATIONS) * (0.5 + self._chance.random())
        self._setting.events.note("fault", f"{begin} for {duration:.3f} s")
        self._setting.events.after(duration, self._end, begin, end)

    def _end(self, begun: str, end: Callable[[], None]) -> None:
        if not self._over:
            self._setting.events.note("fault", f"end of: {begun}")
            end()

    def _random_node(self) -> Node | None:
        """Return a node whose processes run, more often the leader than others."""
        running = self._cluster.running
        leader = self._cluster.leader
        if leader is not None and self._chance.random() < AIMED:
            return leader
        return self._chance.choice(running) if running else None

    def _some_disk(self) -> Node:
        return self._random_node() or self._chance.choice(list(self._cluster.nodes.values()))

    # --- nodes

    def _crash(self) -> None:
        node = self._random_node()
        if node is not None:
            node.crash()

    def _crash_all(self) -> None:
        self._setting.totals.crashes_of_all += 1
        for node in self._cluster.running:
            node.crash()

    def _pause(self) -> None:
        node = self._random_node()
        if node is None or node.life is None:
            return
        actors: tuple[Actor, ...] = node.life.actors
        stopped = actors if self._chance.random() < 0.2 else (self._chance.choice(actors),)
        self._setting.totals.pauses += 1
        for actor in stopped:
            actor.pause()
        names = ", ".join(actor.name for actor in stopped)
        self._for_a_while(f"stop {node.name} {names}", lambda: _resume(stopped))

    def _lost_directory(self) -> None:
        """Lose the directory of a voter, unless another one is lost or being replaced."""
        memberships = {each.index: each.membership for each in self._cluster.possible_memberships()}
        nodes = list(self._cluster.nodes.values())
        if len(memberships) != 1 or 0 in memberships:
            return
        (members,) = memberships.values()
        voters = [node for node in nodes if members.is_voter(node.id)]
        if len(voters) == len(members.voters) >= LOSSES_BEAR_VOTERS:
            node = self._chance.choice(voters)
            rejoin = self._chance.random() < REJOINS
            self._setting.events.note("fault", f"{node.name} loses its directory")
            others = tuple(each.advertised for each in nodes if each is not node)
            node.lose_directory(others, rejoin=rejoin)

    def _copied_directory(self) -> None:
        """Start a copy of a member's directory."""
        node = self._chance.choice(list(self._cluster.nodes.values()))
        held = memberships_on(node)
        if held and held[-1].membership.get(node.id) is not None:
            self._setting.events.note("fault", f"starts a copy of {node.name}")
            Copy(self._cluster, node, held).turn()

    def _move(self) -> None:
        """Start a member at another address; sometimes it is removed meanwhile.

        One moves at a time, so that the others know where to find each other.
        """
        node, members = self._random_node(), self._cluster.members.membership
        if node is None or not members.is_voter(node.id) or self._cluster.has_moving:
            return
        node.move()
        self._setting.events.note("fault", f"{node.name} moves to {node.advertised}")
        if len(members.voters) > 1 and self._chance.random() < REMOVED_IN_MOVES:
            self._setting.totals.removals_asked += 1
            self._remove(node)

    def _upgrade(self) -> None:
        """Restart a node of the older build with the newer one."""
        older = [node for node in self._cluster.nodes.values() if node.level < STATE_LEVEL]
        if older:
            node = self._chance.choice(older)
            self._setting.events.note("admin", f"upgrades {node.name}")
            node.upgrade()

    def _downgrade(self) -> None:
        """Restart a node with the older build."""
        node = self._random_node()
        if node is not None and node.level == STATE_LEVEL:
            self._setting.events.note("admin", f"downgrades {node.name}")
            node.downgrade()

    # --- disks

    def _slow_disk(self) -> None:
        node = self._some_disk()
        node.disk_slowness = FORCED_SLOWNESS
        self._setting.totals.slow_disks += 1
        self._for_a_while(f"slow disk of {node.name}", node.disk_is_fast)

    def _hung_disk(self) -> None:
        node = self._some_disk()
        node.disk_hangs = True
        self._setting.totals.hung_disks += 1
        self._for_a_while(f"hung disk of {node.name}", node.disk_works)

    def _full_disk(self) -> None:
        """Fill the disk of one node, or those of a majority."""
        nodes = list(self._cluster.nodes.values())
        count = self._chance.choice((1, 1 + len(nodes) // 2))
        free = self._chance.choice((0, DISK_RESERVE // 2))
        for node in [self._some_disk()] if count == 1 else self._chance.sample(nodes, count):
            self._fill(node, free)

    def _fill(self, node: Node, free: int) -> None:
        node.fill(free)
        self._setting.totals.full_disks += 1
        self._for_a_while(f"{free} bytes left at {node.name}", node.clear)

    def _failing_disk(self) -> None:
        node = self._some_disk()
        node.disk.fails_next = True
        self._setting.events.note("fault", f"the next write of {node.name} fails")

    # --- network

    def _split(self) -> None:
        addresses = list(self._cluster.nodes)
        if len(addresses) < 2:
            return
        kind = self._chance.choice(SPLITS)
        leader = self._cluster.leader
        pairs = draw_split(kind, addresses, leader.address if leader else "", self._chance)
        if self._chance.random() < CUT_FROM_CLIENTS:
            count = self._chance.choice((1, len(addresses) - 1))
            pairs |= between(self._chance.sample(addresses, count), self._cluster.client_names)
        setattr(self._setting.totals, kind, getattr(self._setting.totals, kind) + 1)
        self._setting.network.cut(pairs)
        cuts = " ".join(f"{here[:2]}>{there[:2]}" for here, there in sorted(pairs))
        self._for_a_while(f"cut {cuts}", lambda: self._mend(pairs))
        if leader is not None and self._chance.random() < BURSTS_AT_CUTS:
            self._ask_much(leader)

    def _mend(self, pairs: set[Pair]) -> None:
        """Mend a split, sometimes without the leader of one side."""
        self._setting.network.mend(pairs)
        leader = self._cluster.leader
        crashes = self._setting.options.rates.crash and self._chance.random() < CRASHES_AT_MENDING
        if leader is not None and crashes:
            leader.crash()

    def _cut_off(self, node: Node) -> set[Pair]:
        others = [address for address in self._cluster.nodes if address != node.address]
        pairs = between([node.address], others)
        self._setting.network.cut(pairs)
        return pairs

    def _isolate(self, node: Node) -> None:
        if self._over:
            return
        self._ask_much(node)
        pairs = self._cut_off(node)
        self._for_a_while(f"cut off {node.name}", lambda: self._mend(pairs))

    def _clog(self) -> None:
        addresses = list(self._cluster.nodes)
        if len(addresses) < 2:
            return
        here, there = self._chance.sample(addresses, 2)
        until = self._setting.events.now + self._chance.choice(DURATIONS)
        self._setting.totals.clogs += 1
        self._setting.network.clog((here, there), until)
        self._setting.events.note("fault", f"clog {here} > {there} until {until:.3f}")

    def _starvation(self) -> None:
        self._starving.strike()

    # --- leaders

    def _short_reign(self) -> None:
        """Strike the next leader right after its election."""
        self._await_successor(self._cluster.leader, self._setting.events.now + SUCCESSION_SECONDS)

    def _await_successor(self, before: Node | None, until: float) -> None:
        leader, events = self._cluster.leader, self._setting.events
        if self._over or events.now > until:
            return
        if leader is None or leader is before:
            events.after(SUCCESSION_CHECK_SECONDS, self._await_successor, before, until)
            return
        self._setting.totals.short_reigns += 1
        self._setting.events.note("fault", f"strikes the new leader {leader.name}")
        self._isolate(leader)

    def _desertion(self) -> None:
        """Cut the leader off and restart all others, which must keep their lease promises."""
        leader = self._cluster.leader
        if leader is None or len(self._cluster.running) == 1:
            return
        self._setting.totals.desertions += 1
        pairs = self._cut_off(leader)
        for node in self._cluster.running:
            if node is not leader:
                node.crash()
                node.start()
        self._for_a_while(f"all desert {leader.name}", lambda: self._mend(pairs))

    # --- clients

    def _burst(self) -> None:
        """Send one node several requests without waiting for replies."""
        node = self._random_node()
        if node is not None:
            self._ask_much(node)

    def _ask_much(self, node: Node) -> None:
        self._setting.totals.bursts += 1
        after = self._setting.events.after
        for number in range(self._chance.randint(1, BURST_WRITES_MAX)):
            after(number * BURST_WRITE_SECONDS, self._ask, node, Write(0, 0, 0, OpenSession()))
        for number in range(BURST_READS):
            read = Get("k/0", leader_lease=self._chance.random() < self._setting.options.by_lease)
            after(number * BURST_READ_SECONDS, self._ask, node, read)

    def _ask(self, node: Node, operation: Write | Get) -> None:
        self._cluster.ask_alone(node.address, "burst", operation, BURST_TIMEOUT_MS, self._heard)

    # --- operators

    def _transfer(self) -> None:
        self._setting.totals.transfers += 1
        if self._chance.random() < 0.5:
            nodes = list(self._cluster.nodes.values())
            chosen = self._chance.choice([b"", *[node.id for node in nodes]])
            self._order(TransferLeadership(chosen))
            return
        leader = self._cluster.leader
        if leader is not None:
            self._step_aside(leader)

    def _step_aside(self, leader: Node) -> None:
        """Let a leader transfer leadership; sometimes it is cut off afterwards."""
        assert leader.life is not None
        self._setting.events.note("fault", f"{leader.name} steps aside")
        leader.life.post("supervisor", leader.life.replicator, [StepAside()])
        if self._chance.random() < CUTS_AT_TRANSFERS:
            options = self._setting.options
            moments = options.actor_delay + options.sync_delay + 2 * options.network.delay
            self._setting.events.after(moments * self._chance.random(), self._isolate, leader)

    def _membership(self) -> None:
        members = self._cluster.members.membership
        nodes = list(self._cluster.nodes.values())
        strangers = [node for node in nodes if members.get(node.id) is None]
        if strangers and self._chance.random() < 0.7:
            self._setting.totals.additions_asked += 1
            stranger = self._chance.choice(strangers)
            self._setting.judge.admitted.welcome(stranger.id)
            self._order(AddNode(stranger.advertised))
        elif len(members.voters) > 1:
            self._setting.totals.removals_asked += 1
            gone = self._chance.choice([node for node in nodes if members.get(node.id)])
            self._remove(gone)

    def _remove(self, node: Node) -> None:
        """Request a removal, forced only if all remaining nodes come back with their data."""
        lost = self._setting.options.rates.lost_directory
        force = not lost and self._chance.random() < FORCED
        if force:
            self._setting.totals.removals_forced += 1
            self._setting.judge.belief.forced.add(node.id)
        self._order(RemoveNode(node.id, force))

    def _order(self, operation: AddNode | RemoveNode | TransferLeadership) -> None:
        node = self._random_node()
        if node is None:
            return
        self._setting.events.note("admin", f"asks {node.name}", operation)
        self._cluster.ask_alone(node.address, "admin", operation, ADMIN_TIMEOUT_MS, self._heard)

    def _heard(self, reply: Reply) -> None:
        self._setting.events.note("admin", "hears", reply)

    def _hostile(self) -> None:
        self._hostile_ones.strike()

    def _full_pipe(self) -> None:
        node = self._random_node()
        if node is not None and node.door is not None:
            self._setting.totals.full_pipes += 1
            node.door.pipes.fill(self._chance.choice((0.1, 1.0, 6.0)))


def _resume(actors: tuple[Actor, ...]) -> None:
    for actor in actors:
        actor.resume()
