"""Raft under loss, delay, reordering and crashes, by seed: always safe, and live in the calm."""

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from protocol.election_clock import ElectionClock, ElectionTimeouts
from protocol.messages.peer import JoinRequest
from protocol.messages.replicator import RemoveMember, StepAside, TransferTo
from protocol.raft.node import RaftNode
from protocol.state.levels import STATE_LEVEL
from tests.harness.raft_cluster import A, B, C, Cluster, D, E, Machine, Packet, address_of

pytestmark = pytest.mark.simulation

SEEDS_A_TEST = 25
TURNS = 2500
TIMEOUTS = ElectionTimeouts(heartbeat=0.075, shortest=0.150, longest=0.300)
TIMEOUTS_TO_RECOVER_MAX = 20
TICK = 0.010
LAST_PAYLOAD = b"the last one"


class Storm:
    """Random faults of a cluster, by seed."""

    def __init__(self, seed: int, cluster: Cluster) -> None:
        self.seed = seed
        self.cluster = cluster
        self.chance = Random(seed)
        self.numbers = 0
        self.loss = self.chance.choice((0.0, 0.02, 0.2))
        self.overtaking = self.chance.choice((1, 5, 20, 1000))  # packets that one may pass by
        self.actions: dict[Callable[[], None], float] = {
            self.arrive: 200,
            self.write: self.chance.choice((20, 60, 100)),
            self.acknowledge: self.chance.choice((20, 60, 100)),
            self.beat: 6,
            self.propose: 12,
            self.read: 6,
            self.replace_lost_leader: 3,
            self.time_out: self.chance.choice((0.1, 1, 4)),
            self.go_quiet: self.chance.choice((1, 3)),
            self.check_quorum: 0.3,
            self.step_aside: 0.2,
            self.transfer: 0.2,
            self.crash: self.chance.choice((0.02, 0.2, 1)),
            self.start: 1,
            self.partition: self.chance.choice((0.02, 0.2)),
            self.heal: 0.5,
        }

    def rage(self, turns: int) -> None:
        """Run a number of random actions."""
        actions, weights = list(self.actions), list(self.actions.values())
        for action in self.chance.choices(actions, weights, k=turns):
            action()

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def random_machine(self) -> Machine | None:
        return self.chance.choice(self.cluster.alive) if self.cluster.alive else None

    def arrive(self) -> None:
        network = self.cluster.network
        if not network:
            return
        packet: Packet = network.pop(self.chance.randrange(min(len(network), self.overtaking)))
        fate = self.chance.random()
        if fate < self.loss:
            return
        if fate > 0.95:
            network.append(packet)
        self.cluster.arrive(packet)

    def write(self) -> None:
        machine = self.random_machine()
        if machine and machine.disk.unwritten:
            machine.disk.write()

    def acknowledge(self) -> None:
        machine = self.random_machine()
        if machine and machine.disk.untold:
            self.cluster.step(machine.id, machine.disk.untold.popleft())

    def beat(self) -> None:
        for leader in self.cluster.leaders:
            self.cluster.beat(leader)

    def propose(self) -> None:
        machine = self.random_machine()
        if machine:
            number = self.number()
            self.cluster.propose(machine.id, b"%d" % number, number=number)

    def read(self) -> None:
        machine = self.random_machine()
        if machine:
            number = self.number()
            self.cluster.judge.reads(machine.id, number)
            self.cluster.read(machine.id, number)

    def time_out(self) -> None:
        machine = self.random_machine()
        if machine:
            self.cluster.time_out(machine.id)

    def replace_lost_leader(self) -> None:
        if not self.cluster.leaders:
            self.time_out()

    def go_quiet(self) -> None:
        machine = self.random_machine()
        if machine:
            self.cluster.go_quiet(machine.id)

    def check_quorum(self) -> None:
        for leader in self.cluster.leaders:
            self.cluster.check_quorum(leader)

    def step_aside(self) -> None:
        for leader in self.cluster.leaders:
            self.cluster.step(leader, StepAside())

    def transfer(self) -> None:
        machine = self.random_machine()
        if machine:
            successor = self.chance.choice([b"", *self.cluster.machines])
            self.cluster.step(machine.id, TransferTo(successor))

    def crash(self) -> None:
        machine = self.random_machine()
        if machine:
            self.cluster.crash(machine.id)

    def start(self) -> None:
        down = [each for each in self.cluster.machines.values() if each.running is None]
        if down:
            window = self.chance.choice((None, 0, 2))
            self.cluster.start(self.chance.choice(down).id, window_entries=window)

    def partition(self) -> None:
        nodes = list(self.cluster.machines)
        self.chance.shuffle(nodes)
        cut = self.chance.randrange(1, len(nodes))
        self.cluster.partition(nodes[:cut], nodes[cut:])

    def heal(self) -> None:
        self.cluster.heal()


class StormOfMembers(Storm):
    """A storm with membership changes."""

    def __init__(self, seed: int, cluster: Cluster) -> None:
        super().__init__(seed, cluster)
        self.actions |= {self.remove: 1, self.join: 3}

    def remove(self) -> None:
        machine = self.random_machine()
        if machine:
            node = self.chance.choice(list(self.cluster.machines))
            self.cluster.step(machine.id, RemoveMember(self.number(), node))

    def join(self) -> None:
        joiner = self.chance.choice(list(self.cluster.machines))
        for leader in self.cluster.leaders:
            if self.cluster.are_linked(leader, joiner):
                request = JoinRequest(
                    address_of(joiner), False, *self.cluster.basis(leader), STATE_LEVEL
                )
                self.cluster.turn(leader, partial(RaftNode.join, joiner=joiner, request=request))


class Calm:
    """The phase after a storm: timers run, packets arrive, and some nodes stay down."""

    def __init__(self, storm: Storm, survivors: int) -> None:
        self.cluster = storm.cluster
        self.chance = storm.chance
        self.now = 0.0
        lasting = self.chance.sample(sorted(self.cluster.machines), k=survivors)
        self.cluster.heal()
        self.cluster.crash(*(node for node in self.cluster.machines if node not in lasting))
        self.cluster.start(*(node for node in lasting if self.cluster[node].running is None))
        self.clocks = {
            node: ElectionClock(TIMEOUTS, self.now, self.chance.random()) for node in lasting
        }

    @property
    def members(self) -> list[Machine]:
        """The running members by the leader's membership."""
        if not self.cluster.leaders:
            return []
        membership = self.cluster[self.cluster.leaders[0]].core.membership
        return [machine for machine in self.cluster.alive if membership.get(machine.id)]

    def last_until(self, goal: Callable[[], bool]) -> None:
        """Advance time until a goal is reached, within a number of timeouts."""
        deadline = self.now + TIMEOUTS_TO_RECOVER_MAX * TIMEOUTS.longest
        self.cluster.settle()
        while not goal():
            assert self.now < deadline, f"although all is calm, not so: {goal.__name__}"
            self.now += TICK
            for node, clock in self.clocks.items():
                clock.update(self.cluster[node].clock, self.now, self.chance.random())
                for due in clock.take_due(self.now, self.chance.random()):
                    self.cluster.step(node, due)
            self.cluster.settle()

    def one_leader_commits(self) -> bool:
        """The goal that an entry of the only leader's term is committed."""
        if len(self.cluster.leaders) != 1:
            return False
        leader = self.cluster[self.cluster.leaders[0]]
        return leader.core._state.log.term_at(leader.commit_index) == leader.core.term

    def all_vote_and_follow(self) -> bool:
        """The goal that every member has become a voter and follows the same leader."""
        followed = {machine.core._state.leader for machine in self.members}
        return len(followed) == 1 == len(self.cluster.leaders) and all(
            machine.core.membership.is_voter(machine.id) for machine in self.members
        )

    def all_have_applied_the_last(self) -> bool:
        """The goal that an entry which is only now proposed is the last one of every member."""
        members = self.members
        if members and all(map(has_applied_the_last, members)):
            return True
        if members:
            self.cluster.propose(self.chance.choice(members).id, LAST_PAYLOAD)
        return False


def has_applied_the_last(machine: Machine) -> bool:
    disk = machine.disk
    is_last = bool(disk.entries) and disk.entries[-1].payload == LAST_PAYLOAD
    return is_last and disk.applied_index == disk.last_index


def rage_and_recover(storm: Storm, survivors: int) -> None:
    """Check one seed: safe throughout, and live in the calm after the storm."""
    try:
        storm.rage(turns=TURNS)
        calm = Calm(storm, survivors)
        calm.last_until(calm.one_leader_commits)
        calm.last_until(calm.all_vote_and_follow)
        calm.last_until(calm.all_have_applied_the_last)
        logs = [machine.disk.entries for machine in calm.members]
        assert all(log == logs[0] for log in logs)
    except AssertionError as breach:
        breach.add_note(f"seed {storm.seed}")
        raise


@pytest.mark.parametrize("first_seed", range(0, 150, SEEDS_A_TEST))
@pytest.mark.parametrize("nodes", [(A, B, C), (A, B, C, D, E)], ids=["three", "five"])
def test_no_storm_violates_safety_and_any_majority_recovers(
    nodes: tuple[bytes, ...], first_seed: int
) -> None:
    for seed in range(first_seed, first_seed + SEEDS_A_TEST):
        storm = Storm(seed, Cluster(*nodes).start())
        survivors = storm.chance.randint(len(nodes) // 2 + 1, len(nodes))
        rage_and_recover(storm, survivors)


@pytest.mark.parametrize("first_seed", range(0, 100, SEEDS_A_TEST))
def test_a_storm_of_membership_changes_stays_safe_and_recovers(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_A_TEST):
        storm = StormOfMembers(seed, Cluster(A, B, C, spare=(D, E)).start())
        rage_and_recover(storm, survivors=5)


def test_a_seed_replays_its_run() -> None:
    logs = []
    for _ in range(2):
        storm = StormOfMembers(7, Cluster(A, B, C, spare=(D, E)).start())
        storm.rage(TURNS)
        logs.append([machine.disk.entries for machine in storm.cluster.machines.values()])
    assert any(logs[0])
    assert logs[0] == logs[1]
