"""Verbs of scripts: their arguments, and their effects on the cluster."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from protocol.messages.gateway import Leadership
from protocol.messages.peer import PEER_PROTOCOL_VERSION, JoinReply
from protocol.messages.replicator import CommitNoticeDue, ElectionDue, StepAside
from tests.harness.raft_cluster import CLUSTER, Packet, address_of, frame_of
from tests.scenarios.founding import found
from tests.scenarios.notation import (
    Fields,
    Mistake,
    node_id,
    node_name,
    read_message,
    read_number,
    write_members,
)
from tests.scenarios.portrait import write_machine
from tests.scenarios.scene import Scene
from tests.scenarios.stage import write_packet

Words = Sequence[str]


def perform(scene: Scene, words: Words) -> None:
    """Run one command."""
    if not words:
        raise Mistake("a command needs a verb")
    verb = VERBS.get(words[0])
    if verb is None:
        raise Mistake(f"no verb {words[0]!r}; there are {', '.join(VERBS)}")
    verb(scene, words[1:])


# --- crashes and restarts


def cluster(scene: Scene, words: Words) -> None:
    """``cluster A=1,1,2 B C=-@3/B [learners D] [spare E] [term 4] [window 0]``."""
    scene.stage = found(scene.trace, words)


def crash(scene: Scene, words: Words) -> None:
    """``crash A... [keeping 2]``: lose unsynced writes, except the first ones kept."""
    words, kept = _after("keeping", words)
    scene.stage.crash(*scene.nodes(words), kept=read_number(kept[0]) if kept else 0)


def start(scene: Scene, words: Words) -> None:
    """``start A... [window 0]``: start the next incarnation with the last entries in memory."""
    words, window = _after("window", words)
    nodes = [scene.node(word) for word in words]
    scene.stage.start(*nodes, window_entries=read_number(window[0]) if window else None)


def restart(scene: Scene, words: Words) -> None:
    """``restart A... [window 0]``, ``restart A... [keeping 2]``: crash and start."""
    crash(scene, _after("window", words)[0])
    start(scene, _after("keeping", words)[0])


# --- the network


def deliver(scene: Scene, words: Words) -> None:
    """``deliver [A->B] [kind] [count]``: deliver packets in order."""
    for packet in _pick(scene, words):
        scene.stage.arrive(packet)


def drop(scene: Scene, words: Words) -> None:
    """``drop [A->B] [kind] [count]``: lose packets."""
    for packet in _pick(scene, words):
        scene.trace.tell(f"{write_packet(packet)} (lost)")


def duplicate(scene: Scene, words: Words) -> None:
    """``duplicate [A->B] [kind] [count]``: send packets a second time, after all others."""
    packets = _pick(scene, words)
    scene.stage.network = [*packets, *scene.stage.network, *packets]
    for packet in packets:
        scene.trace.tell(f"{write_packet(packet)} (twice)")


def hold(scene: Scene, words: Words) -> None:
    """``hold [A->B] [kind] [count]``: hold packets until ``release``."""
    packets = _pick(scene, words)
    scene.stage.held.extend(packets)
    for packet in packets:
        scene.trace.tell(f"{write_packet(packet)} (held)")


def release(scene: Scene, words: Words) -> None:
    """``release``: send the held packets, after all others."""
    _expect(words, 0)
    scene.stage.network.extend(scene.stage.held)
    scene.stage.held.clear()
    network(scene, words)


def network(scene: Scene, words: Words) -> None:
    """``network``: show the packets in flight."""
    _expect(words, 0)
    for packet in scene.stage.network:
        scene.trace.tell(write_packet(packet))


def partition(scene: Scene, words: Words) -> None:
    """``partition A B | B C``: deliver only within a group; groups may overlap."""
    groups = " ".join(words).split("|")
    scene.stage.partition(*([scene.node(name) for name in group.split()] for group in groups))


def heal(scene: Scene, words: Words) -> None:
    """``heal``: end the partition."""
    _expect(words, 0)
    scene.stage.heal()


def inject(scene: Scene, words: Words) -> None:
    """``inject A->B kind field=value... [cluster=x] [version=2] [life=1]``: made by hand."""
    _expect(words[:2], 2)
    chosen = scene.chosen(words[:1])
    if chosen.sender is None or chosen.to is None:
        raise Mistake("name sender and receiver, like A->B")
    fields = Fields(words[2:])
    stage = scene.stage
    cluster_id = fields.text("cluster", CLUSTER.decode()).encode()
    version = fields.number("version", PEER_PROTOCOL_VERSION)
    life = fields.number("life", stage[chosen.sender].disk.incarnation)
    packet = Packet(chosen.sender, life, chosen.to, read_message(words[1], fields))
    fields.nothing_is_left()
    frame = frame_of(packet.sender, packet.message, incarnation=life)
    stage.arrive_as(packet, replace(frame, version=version, cluster=cluster_id))


# --- the disks


def write(scene: Scene, words: Words) -> None:
    """``write A [count]``: let its disk write, without acknowledgement."""
    _expect(words, 1, 2)
    scene.stage.write(scene.running(words[0]), *map(read_number, words[1:]))


def acknowledge(scene: Scene, words: Words) -> None:
    """``acknowledge A [count]``: deliver its disk's acknowledgements."""
    _expect(words, 1, 2)
    scene.stage.acknowledge(scene.running(words[0]), *map(read_number, words[1:]))


def acknowledge_former(scene: Scene, words: Words) -> None:
    """``acknowledge_former A``: deliver those that were pending at the crash."""
    _expect(words, 1)
    scene.stage.acknowledge_former_life(scene.running(words[0]))


def sync(scene: Scene, words: Words) -> None:
    """``sync [A...]``: write and acknowledge."""
    scene.stage.sync(*scene.nodes(words))


def compact(scene: Scene, words: Words) -> None:
    """``compact A``: drop as much of the log on its disk as possible."""
    _expect(words, 1)
    node = scene.running(words[0])
    if scene.stage.disk(node).compact():
        start = scene.stage.disk(node).start
        scene.trace.tell(f"{words[0]}: the log on disk begins after {start.index}@{start.term}")


# --- time


def time_out(scene: Scene, words: Words) -> None:
    """``time_out A``: its election timeout ends."""
    _expect(words, 1)
    scene.stage.time_out(scene.running(words[0]))


def arm(scene: Scene, words: Words) -> None:
    """``arm A``: remember the election deadline that is set now."""
    for node in scene.nodes(words):
        scene.stage.armed[node] = scene.stage[node].clock.contact_count


def fire(scene: Scene, words: Words) -> None:
    """``fire A``: the remembered deadline is reached."""
    for node in scene.nodes(words):
        if node not in scene.stage.armed:
            raise Mistake(f"{node_name(node)} was not armed")
        scene.stage.step(node, ElectionDue(scene.stage.armed[node]))


def quiet(scene: Scene, words: Words) -> None:
    """``quiet A...``: the shortest election timeout ends; a leader is not protected any more."""
    scene.stage.go_quiet(*scene.nodes(words))


def heartbeat(scene: Scene, words: Words) -> None:
    """``heartbeat A``: heartbeats are due."""
    _expect(words, 1)
    scene.stage.beat(scene.running(words[0]))


def notice(scene: Scene, words: Words) -> None:
    """``notice A``: the time for entries to carry the commit index is over."""
    _expect(words, 1)
    scene.stage.step(scene.running(words[0]), CommitNoticeDue())


def check(scene: Scene, words: Words) -> None:
    """``check A``: a quorum check is due."""
    _expect(words, 1)
    scene.stage.check_quorum(scene.running(words[0]))


def probe(scene: Scene, words: Words) -> None:
    """``probe A``: a storage check is due."""
    _expect(words, 1)
    scene.stage.check_storage(scene.running(words[0]))


# --- requests


def propose(scene: Scene, words: Words) -> None:
    """``propose A x...``: its gateway proposes batches with these payloads, a turn each."""
    _expect(words[:2], 2)
    node = scene.running(words[0])
    for payload in words[1:]:
        scene.stage.propose(node, payload.encode(), number=scene.stage.next_number(node))


def read(scene: Scene, words: Words) -> None:
    """``read A``: its gateway asks for a linearizable read."""
    _expect(words, 1)
    node = scene.running(words[0])
    number = scene.stage.next_number(node)
    scene.stage.judge.reads(node, number)
    scene.stage.read(node, number)


def join(scene: Scene, words: Words) -> None:
    """``join D through A``: it asks to become a member."""
    joiner, through = _one_through(scene, words)
    told = f"{node_name(joiner)} asks {node_name(through)} to join"
    with scene.trace.cause(told):
        reply = scene.stage.join(joiner, through=through)
    names_itself = reply.leader_address == address_of(through)
    answer = _write_join(reply, "" if names_itself else reply.leader_address)
    scene.trace.tell(f"{node_name(through)} answers {node_name(joiner)}: {answer}")


def remove(scene: Scene, words: Words) -> None:
    """``remove C through A``: a gateway asks for its removal."""
    node, through = _one_through(scene, words)
    number = scene.stage.next_number(through)
    scene.stage.remove(node, through=through, number=number)


def step_aside(scene: Scene, words: Words) -> None:
    """``step_aside A``: transfer leadership."""
    _expect(words, 1)
    scene.stage.step(scene.running(words[0]), StepAside())


# --- several things at once


def settle(scene: Scene, words: Words) -> None:
    """``settle [A...] [until kind]``: deliver and write all, to rest or to a message."""
    words, kind = _after("until", words)
    if kind:
        nodes = [machine.id for machine in scene.machines(words)]
        scene.stage.settle_until(scene.chosen(kind).kind, *nodes)
    else:
        scene.stage.settle(*scene.nodes(words))


def elect(scene: Scene, words: Words) -> None:
    """``elect A [among B C]``: elect A, after the leader's election timeout."""
    words, voters = _after("among", words)
    _expect(words, 1)
    scene.stage.elect(scene.running(words[0]), among=scene.nodes(voters))


def elect_unheard(scene: Scene, words: Words) -> None:
    """``elect_unheard A by B C``: elect A, and lose all that it then sends."""
    words, voters = _after("by", words)
    _expect(words, 1)
    node = scene.running(words[0])
    scene.stage.elect_without_replication(node, votes_of=scene.nodes(voters))


# --- looking


def status(scene: Scene, words: Words) -> None:
    """``status [A...]``: show the state of these nodes, or of all."""
    for machine in scene.machines(words):
        scene.trace.tell(write_machine(machine))


def told(scene: Scene, words: Words) -> None:
    """``told A``: show the last role and leader that its gateway got."""
    for machine in scene.machines(words):
        last = machine.told(Leadership)[-1]
        leader = f"leader {node_name(last.leader)}" if last.leader else "no leader"
        removed = ", removed" if last.removed else ""
        members = write_members(last.membership)
        about = f"{last.role.name.lower()} in term {last.term}, {leader}, members {members}"
        scene.trace.tell(f"{node_name(machine.id)}: {about}{removed}")


def clock(scene: Scene, words: Words) -> None:
    """``clock A``: show the state of its election timer."""
    for machine in scene.machines(words):
        may = "may campaign" if machine.clock.votes else "must not campaign"
        leads = ", leads" if machine.clock.leading else ""
        scene.trace.tell(f"{node_name(machine.id)}: {may}{leads}")


def limit(scene: Scene, words: Words) -> None:
    """``limit NAME value``: change a limit of the rules for this script."""
    _expect(words, 2)
    scene.limit(words[0], read_number(words[1]))


# --- words


def _pick(scene: Scene, words: Words) -> list[Packet]:
    chosen = scene.chosen(words)
    return scene.stage.pick(chosen.kind, chosen.sender, chosen.to, chosen.count)


def _expect(words: Words, least: int, most: int | None = None) -> None:
    if not least <= len(words) <= (least if most is None else most):
        raise Mistake(f"{len(words)} words after the verb, not {most or least}")


def _after(keyword: str, words: Words) -> tuple[Words, Words]:
    if keyword not in words:
        return words, ()
    position = list(words).index(keyword)
    return words[:position], words[position + 1 :]


def _one_through(scene: Scene, words: Words) -> tuple[bytes, bytes]:
    who, through = _after("through", words)
    _expect(who, 1)
    _expect(through, 1)
    return node_id(who[0]), scene.running(through[0])  # who may be a stranger


def _write_join(reply: JoinReply, leader_address: str) -> str:
    if reply.accepted:
        return f"accepted, members {write_members(reply.membership)}"
    return f"not now{', ask ' + leader_address if leader_address else ''}"


VERBS: dict[str, Callable[[Scene, Words], None]] = {
    verb.__name__: verb
    for verb in (
        *(cluster, crash, start, restart),
        *(deliver, drop, duplicate, hold, release, network, partition, heal, inject),
        *(write, acknowledge, acknowledge_former, sync, compact),
        *(time_out, arm, fire, quiet, heartbeat, notice, check, probe),
        *(propose, read, join, remove, step_aside),
        *(settle, elect, elect_unheard),
        *(status, told, clock, limit),
    )
}
