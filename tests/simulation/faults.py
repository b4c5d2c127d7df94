"""What goes wrong during a run, when, and for how long."""

from collections.abc import Callable

from protocol.client_messages import (
    CLIENT_PROTOCOL_VERSION,
    AddNode,
    RemoveNode,
    Reply,
    Request,
    TransferLeadership,
)
from protocol.node_messages import StepAside
from tests.simulation.actor import Actor
from tests.simulation.cluster import Cluster
from tests.simulation.network import Pair
from tests.simulation.node import Node
from tests.simulation.options import FaultRates
from tests.simulation.splits import SPLITS, between, draw_split
from tests.simulation.storage import FORCED_SLOWNESS

DURATIONS = (0.02, 0.1, 0.3, 0.3, 1.0, 3.0)  # seconds
CUT_FROM_CLIENTS = 0.3  # share of splits that clients feel too
CRASHES_AT_MENDING = 0.3  # share of splits, in runs with crashes
AIMED = 0.4  # share of the trouble of single nodes that befalls the leader
ADMIN_TIMEOUT_MS = 2000


class Faults:
    """Begins each kind of trouble again and again at its rate, and ends it after a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._setting = cluster.setting
        self._chance = cluster.setting.chance
        self._over = False

    def begin(self) -> None:
        """Plan the first of each kind."""
        for kind in FaultRates.__struct_fields__:
            rate = getattr(self._setting.options.rates, kind)
            if rate:
                self._plan(rate, getattr(self, f"_{kind}"))

    def end(self) -> None:
        """Begin nothing more."""
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

    def _somebody(self) -> Node | None:
        """Return a node whose processes run; the leader is hit harder than others."""
        running = self._cluster.running
        leader = self._cluster.leader
        if leader is not None and self._chance.random() < AIMED:
            return leader
        return self._chance.choice(running) if running else None

    def _some_disk(self) -> Node:
        return self._somebody() or self._chance.choice(list(self._cluster.nodes.values()))

    # --- nodes

    def _crash(self) -> None:
        node = self._somebody()
        if node is not None:
            node.crash()

    def _crash_all(self) -> None:
        self._setting.totals.crashes_of_all += 1
        for node in self._cluster.running:
            node.crash()

    def _pause(self) -> None:
        node = self._somebody()
        if node is None or node.life is None:
            return
        actors: tuple[Actor, ...] = node.life.actors
        stopped = actors if self._chance.random() < 0.2 else (self._chance.choice(actors),)
        self._setting.totals.pauses += 1
        for actor in stopped:
            actor.pause()
        names = ", ".join(actor.name for actor in stopped)
        self._for_a_while(f"stop {node.name} {names}", lambda: _resume(stopped))

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

    def _failing_disk(self) -> None:
        node = self._some_disk()
        node.disk.fails_next = True
        self._setting.events.note("fault", f"the next write of {node.name} fails")

    # --- wires

    def _split(self) -> None:
        addresses = list(self._cluster.nodes)
        if len(addresses) < 2:
            return
        kind = self._chance.choice(SPLITS)
        leader = self._cluster.leader
        pairs = draw_split(kind, addresses, leader.address if leader else "", self._chance)
        if self._chance.random() < CUT_FROM_CLIENTS:
            lonely = self._chance.choice(addresses)
            pairs |= between([lonely], [thread.name for thread in self._cluster.threads])
        setattr(self._setting.totals, kind, getattr(self._setting.totals, kind) + 1)
        self._setting.network.cut(pairs)
        cuts = " ".join(f"{here[:2]}>{there[:2]}" for here, there in sorted(pairs))
        self._for_a_while(f"cut {cuts}", lambda: self._mend(pairs))

    def _mend(self, pairs: set[Pair]) -> None:
        """Let those who meet again sometimes do so without the leader of one side."""
        self._setting.network.mend(pairs)
        leader = self._cluster.leader
        crashes = self._setting.options.rates.crash and self._chance.random() < CRASHES_AT_MENDING
        if leader is not None and crashes:
            leader.crash()

    def _clog(self) -> None:
        addresses = list(self._cluster.nodes)
        if len(addresses) < 2:
            return
        here, there = self._chance.sample(addresses, 2)
        until = self._setting.events.now + self._chance.choice(DURATIONS)
        self._setting.totals.clogs += 1
        self._setting.network.clog((here, there), until)
        self._setting.events.note("fault", f"clog {here} > {there} until {until:.3f}")

    # --- what people do

    def _transfer(self) -> None:
        self._setting.totals.transfers += 1
        if self._chance.random() < 0.5:
            nodes = list(self._cluster.nodes.values())
            chosen = self._chance.choice([b"", *[node.id for node in nodes]])
            self._order(TransferLeadership(chosen))
            return
        for node in self._cluster.running:
            life = node.life
            if life is not None and life.replicator.core and life.replicator.core.leads:
                self._setting.events.note("fault", f"{node.name} steps aside")
                life.post("supervisor", life.replicator, [StepAside()])

    def _membership(self) -> None:
        members = self._cluster.members.membership
        nodes = list(self._cluster.nodes.values())
        strangers = [node for node in nodes if members.get(node.id) is None]
        if strangers and self._chance.random() < 0.7:
            self._setting.totals.additions_asked += 1
            self._order(AddNode(self._chance.choice(strangers).address))
        elif len(members.voters) > 1:
            self._setting.totals.removals_asked += 1
            gone = self._chance.choice([node for node in nodes if members.get(node.id)])
            self._order(RemoveNode(gone.id))

    def _order(self, operation: AddNode | RemoveNode | TransferLeadership) -> None:
        node = self._somebody()
        if node is None:
            return
        request = Request(CLIENT_PROTOCOL_VERSION, 1, ADMIN_TIMEOUT_MS, (operation,))
        self._setting.events.note("admin", f"asks {node.name}", operation)
        self._cluster.ask(node.address, ("admin", self._heard, _nothing), request)

    def _heard(self, reply: Reply) -> None:
        self._setting.events.note("admin", "hears", reply)

    def _full_pipe(self) -> None:
        node = self._somebody()
        if node is not None and node.door is not None:
            self._setting.totals.full_pipes += 1
            node.door.pipes.fill(self._chance.choice((0.1, 1.0, 6.0)))


def _resume(actors: tuple[Actor, ...]) -> None:
    for actor in actors:
        actor.resume()


def _nothing() -> None:
    """Go on as before."""
