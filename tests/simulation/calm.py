"""Calm: the phase after the faults, in which a random majority heals and the rest stays broken."""

from collections.abc import Callable, Iterator

from protocol.membership import Member, Membership, is_majority
from protocol.messages.client import AddNode, Failed, Reply
from protocol.messages.replicator import StepAside
from protocol.raft.clock_rates import LEASE_SHARE
from protocol.raft.senders import LAPSE_MICROSECONDS
from protocol.state.commands import OpenSession, Write
from protocol.state.levels import STATE_LEVEL
from tests.harness.breach import Breach, expect
from tests.simulation.client import LONGEST_DEADLINE, Client
from tests.simulation.cluster import Cluster
from tests.simulation.consumers import NAMES
from tests.simulation.contenders import STOPPED_SECONDS_MAX
from tests.simulation.node import Node
from tests.simulation.revision_order import RevisionOrder
from tests.simulation.search import Undecided, check_by_search
from tests.simulation.splits import between
from tests.simulation.watcher import Watcher

TIMEOUTS_TO_RECOVER_MAX = 20
PROBE_SECONDS = 0.5
PROBE_TIMEOUT_MS = 1000
LAST_READ_SECONDS = 5.0
COLD_STARTS = 0.3  # share of runs that begin it without a leader, with any logs
STEPS_ASIDE = 0.3  # share of the other runs
LEADERS_LEFT_BROKEN = 0.3  # share of runs that heal the leader only if necessary
CONVERGE_SECONDS = 8.0


class Calm:
    """The goals that a cluster must reach once enough of it works again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._setting = cluster.setting
        self._chance = cluster.setting.chance
        self._committed_before = cluster.setting.judge.log.last_index
        self._probed = False
        self._reads_left = 0
        self.healed = self._choose()

    def begin(self) -> None:
        """Heal the chosen nodes, and leave the others broken."""
        self._setting.network.calm()
        self._setting.lasting = frozenset(node.id for node in self.healed)
        self._setting.network.mend(self._all_pairs())
        for node in self._cluster.nodes.values():
            if node in self.healed:
                node.heal()
            else:
                self._break(node)
        for watcher in self._cluster.watchers:
            watcher.calm()
        names = ", ".join(node.name for node in self.healed)
        self._setting.events.note("calm", f"heals {names}")
        if self._chance.random() < COLD_STARTS:
            for node in self._cluster.running:
                node.crash()
        elif self._chance.random() < STEPS_ASIDE:
            self._step_aside()

    def _step_aside(self) -> None:
        """Let the leader transfer leadership, perhaps to a node that was just left broken."""
        leader = self._cluster.leader
        if leader is not None and leader.life is not None:
            leader.life.post("supervisor", leader.life.replicator, [StepAside()])

    def last(self) -> None:
        """Run until all goals are reached, and judge the whole run."""
        timeouts = TIMEOUTS_TO_RECOVER_MAX * self._setting.options.longest_timeout
        self._probe()
        self._wait_until(self._a_leader_commits, timeouts)
        self._invite()
        for thread in self._cluster.threads:
            thread.stopped = True
        self._wait_until(self._clients_are_idle, 2 * LONGEST_DEADLINE + STOPPED_SECONDS_MAX)
        self._wait_until(self._leases_have_expired, self._longest_lease() + CONVERGE_SECONDS)
        self._read_everything()
        self._wait_until(self._everything_is_read, LAST_READ_SECONDS)
        self._wait_until(self._levels_are_recorded, CONVERGE_SECONDS)
        self._wait_until(self._addresses_are_listed, CONVERGE_SECONDS)
        self._wait_until(self._all_are_equal, CONVERGE_SECONDS)
        self._judge()

    # --- healing

    def _choose(self) -> list[Node]:
        """Return nodes that are a majority of every membership that may yet be committed.

        They include all learners, so that they remain a majority if learners become voters.
        """
        memberships = [each.membership for each in self._cluster.possible_memberships()]
        order = list(self._cluster.nodes.values())
        self._chance.shuffle(order)
        if self._chance.random() < LEADERS_LEFT_BROKEN:
            order.sort(key=lambda node: node is self._cluster.leader)
        healed = [node for node in order if any(_learns(node, each) for each in memberships)]
        for node in order:
            if all(_is_majority_of(healed, each) for each in memberships):
                break
            if node not in healed and any(each.is_voter(node.id) for each in memberships):
                healed.append(node)
        if not self._committed_before:
            return order  # a cluster that is not formed yet needs them all
        others = [node for node in order if node not in healed]
        return healed + others[: self._chance.randint(0, len(others))]

    def _all_pairs(self) -> set[tuple[str, str]]:
        addresses = list(self._cluster.nodes)
        names = self._cluster.client_names
        return between(addresses, [*addresses, *names])

    def _break(self, node: Node) -> None:
        """Leave a node down, frozen, without its disk, or partly or wholly cut off, to the end.

        It has no other fault: a leader whose timer is stopped as well would never check its disk.
        """
        node.resume()
        addresses = list(self._cluster.nodes)
        kind = self._chance.choice(("down", "frozen", "hung", "cut", "deaf", "mute", "loose"))
        self._setting.events.note("calm", f"leaves {node.name} {kind}")
        match kind:
            case "down":
                node.stop()
            case "frozen":
                node.freeze()
            case "hung":
                node.disk_hangs = True
            case "cut":
                self._setting.network.cut(between([node.address], addresses))
            case "deaf":
                self._setting.network.cut({(each, node.address) for each in addresses})
            case "mute":
                self._setting.network.cut({(node.address, each) for each in addresses})
            case _:
                friend = self._chance.choice(addresses)
                others = [each for each in addresses if each != friend]
                self._setting.network.cut(between([node.address], others))

    # --- goals

    def _wait_until(self, goal: Callable[[], bool], seconds: float) -> None:
        events = self._setting.events
        if self._setting.options.rates.hostile:
            seconds += LAPSE_MICROSECONDS / 1e6  # a forged incarnation mutes a member
        deadline = events.now + seconds
        while not goal():
            if events.now > deadline:
                name = goal.__name__.strip("_").replace("_", " ")
                raise Breach(f"although all is calm, it is not so within {seconds:.1f} s: {name}")
            events.step()

    def _probe(self) -> None:
        """Send a write to every healed node, repeatedly until one has done it."""
        if self._probed:
            return
        write = Write(0, 0, 0, OpenSession())
        ask = self._cluster.ask_alone
        for node in self.healed:
            ask(node.address, "probe", write, PROBE_TIMEOUT_MS, self._heard)
        self._setting.events.after(PROBE_SECONDS, self._probe)

    def _invite(self) -> None:
        """Invite members again that crashed before they knew of it, as operators would."""
        members = self._cluster.members.membership
        for node in self.healed:
            member = members.get(node.id)
            if member is not None and not member.voter:
                addition = AddNode(node.advertised)
                self._setting.judge.admitted.welcome(node.id)
                for other in self.healed:
                    self._cluster.ask_alone(other.address, "admin", addition, PROBE_TIMEOUT_MS)
        self._setting.events.after(PROBE_SECONDS, self._invite)

    def _heard(self, reply: Reply) -> None:
        self._probed |= not isinstance(reply.outcomes[0], Failed)

    def _a_leader_commits(self) -> bool:
        log = self._setting.judge.log
        if not self._probed or log.last_index <= self._committed_before:
            return False
        cores = self._setting.judge.leaders.cores.values()
        return any(core.term == log.entries[-1].term for core in cores)

    def _clients_are_idle(self) -> bool:
        return all(thread.idle for thread in self._cluster.threads)

    def _longest_lease(self) -> float:
        """Return the seconds after which every lease has expired by any clock."""
        ttls = self._setting.judge.log.model.leases.ttls.values()
        slowest = 1 - self._setting.options.clock_spread
        return max(ttls, default=0) / 1000 / LEASE_SHARE / slowest

    def _leases_have_expired(self) -> bool:
        model = self._setting.judge.log.model
        return not model.leases.ttls and not any(map(_is_of_a_lease, model.rows))

    def _read_everything(self) -> None:
        members = self._cluster.members.membership
        addresses = [node.address for node in self.healed if members.is_voter(node.id)]
        client = Client(self._cluster, "last", self._cluster.history, addresses)
        for number in range(self._setting.options.keys):
            self._reads_left += 1
            thread = client.new_thread(f"last.{number}")
            thread.read(f"k/{number}", LAST_READ_SECONDS, self._read_one)

    def _read_one(self, answered: bool) -> None:
        expect(answered, "although all is calm, a read got no answer")
        self._reads_left -= 1

    def _everything_is_read(self) -> bool:
        return not self._reads_left

    def _levels_are_recorded(self) -> bool:
        """Return whether the level of every healed member is the one of its build."""
        return all(member.level == node.level for node, member in self._healed_members())

    def _addresses_are_listed(self) -> bool:
        """Return whether every healed member is listed at the address that it runs at."""
        return all(member.address == node.advertised for node, member in self._healed_members())

    def _healed_members(self) -> Iterator[tuple[Node, Member]]:
        """Yield the healed nodes that hear the leader, with themselves as members."""
        members = self._cluster.members.membership
        for node in self.healed:
            member = members.get(node.id)
            if member is not None and self._hears_the_leader(node):
                yield node, member

    def _all_are_equal(self) -> bool:
        """Return whether every healed member and its watchers have everything.

        The leader may be a partly broken node, whose messages some members do not receive.
        """
        log = self._setting.judge.log
        members = self._cluster.members.membership
        nodes = [
            node
            for node in self.healed
            if members.get(node.id) is not None and self._hears_the_leader(node)
        ]
        applied = all(node.applied_index == log.last_index for node in nodes)
        return applied and all(self._has_heard_all(node) for node in nodes)

    def _hears_the_leader(self, node: Node) -> bool:
        network = self._setting.network
        leader = self._cluster.leader or node
        both = ((leader.address, node.address), (node.address, leader.address))
        return not any(network.is_cut(*pair) for pair in both)

    def _has_heard_all(self, node: Node) -> bool:
        members = self._cluster.members.membership
        healed = [each for each in self.healed if members.get(each.id) is not None]
        if all(each.level < STATE_LEVEL for each in healed):
            return True  # they cannot return the changes that a watch has missed
        pipes = None if node.door is None else node.door.pipes
        watchers = [each for each in self._cluster.watchers if each.pipes is pipes]
        revision = self._setting.judge.log.model.revision
        return all(each.revision >= revision or self._waits_for_others(each) for each in watchers)

    def _waits_for_others(self, watcher: Watcher) -> bool:
        """Return whether all members with a leader have refused a watch, but no majority has.

        The other nodes are cut off from the leader: they may have the changes, once it is back.
        """
        members = self._cluster.members.membership
        serving = {
            node.address
            for node in self._cluster.nodes.values()
            if members.get(node.id) is not None and self._hears_the_leader(node)
        }
        return watcher.awaits_a_majority and serving <= watcher.refused_by

    # --- judging the whole run

    def _judge(self) -> None:
        self._setting.judge.check_failures()
        for node in self.healed:
            if node.applied_index == self._setting.judge.log.last_index:
                self._setting.judge.compare_values(node)
        operations = self._cluster.history.operations
        RevisionOrder(operations).check()
        try:
            check_by_search(operations)
        except Undecided:  # too many writes without an outcome; the order of revisions was checked
            self._setting.totals.undecided += 1


def _is_of_a_lease(key: str) -> bool:
    """Whether a key is a contender's, or the claim of an item."""
    return key.startswith(("x/", NAMES.claims))


def _is_majority_of(nodes: list[Node], membership: Membership) -> bool:
    voters = sum(membership.is_voter(node.id) for node in nodes)
    return is_majority(voters, len(membership.voters))


def _learns(node: Node, membership: Membership) -> bool:
    member = membership.get(node.id)
    return member is not None and not member.voter
