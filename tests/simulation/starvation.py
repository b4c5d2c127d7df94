"""Starvation: a follower that hears its leader but gets no entries is asked for what it has.

It is behind without knowing it. Most requests are no client's, so that no session hides its age.
"""

from random import Random

from protocol.messages.client import ANY_STALENESS, Get, Operation
from tests.simulation.cluster import Cluster
from tests.simulation.node import Node
from tests.simulation.rights_user import KEYS

CLOGGED = 0.6  # of the shortest election timeout, at most: the follower keeps its leader
STARVED_SECONDS_MAX = 0.3
CONFIRMED = 0.6  # share of those that have just confirmed a read
REQUESTS = 10
OBSERVED, OBSERVATIONS = 0.5, 20  # share of those that a client reads again and again
BOUNDED = 0.7  # share of the requests that are no user's, with a limit of age
TIMEOUT_MS = 500
HOPS_MAX = 3  # of a message, within which the entries cease


class Starvation:
    """Starves one follower after the other. Times are seconds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._setting = cluster.setting
        self._chance = Random(f"starved {cluster.setting.options.seed}")
        self._names = ("asker", *self._setting.user_keys)

    def strike(self) -> None:
        """Starve a random follower, and ask it until after its end."""
        leader = self._cluster.leader
        others = [node for node in self._cluster.running if node is not leader]
        if leader is None or not others:
            return
        node = self._chance.choice(others)
        self._setting.totals.starvations += 1
        self._setting.events.note("fault", f"{leader.name} starves {node.name}")
        if self._chance.random() < CONFIRMED:
            self._ask(node, Get("k/0"))
            hops = HOPS_MAX * self._chance.random()
            delay = hops * self._setting.options.network.delay
            self._setting.events.after(delay, self._starve, leader, node, CLOGGED)
        else:
            self._starve(leader, node, 0.0)

    def _starve(self, leader: Node, node: Node, clogged: float) -> None:
        """Starve a follower, and ask it; its frames may be late for a part of the time."""
        network, events = self._setting.network, self._setting.events
        pair = (leader.address, node.address)
        clog = clogged * self._setting.options.timeouts.shortest * self._chance.random()
        duration = clog + STARVED_SECONDS_MAX * self._chance.random()
        if clog:
            network.clog(pair, events.now + clog)
        network.starve(pair, events.now + duration)
        if self._chance.random() < OBSERVED:
            self._observe(node)
        for _ in range(REQUESTS):
            moment = duration * self._chance.random()
            events.after(moment, self._ask_something, node, events.now)

    def _observe(self, node: Node) -> None:
        """Let a client read at a follower, while its other threads see what the leader has."""
        client = self._chance.choice(self._cluster.clients)
        thread = client.new_helper(f"{client.name}.observer")
        link = client.link_to(node.address)
        self._cluster.loose_reads.read_again_and_again(thread, link, OBSERVATIONS)

    def _ask_something(self, node: Node, since: float) -> None:
        """Ask for a state of any age, or for one as old as the starvation at most."""
        name = self._chance.choice(self._names)
        if name in self._setting.user_keys:
            self._ask(node, Get(self._chance.choice(KEYS), max_staleness_ms=ANY_STALENESS), name)
            return
        staleness = ANY_STALENESS
        if self._chance.random() < BOUNDED:
            staleness = 1 + int(1000 * (self._setting.events.now - since) * self._chance.random())
        self._ask(node, Get("k/0", max_staleness_ms=staleness), name)

    def _ask(self, node: Node, operation: Operation, name: str = "asker") -> None:
        self._cluster.ask_alone(node.address, name, operation, TIMEOUT_MS)
