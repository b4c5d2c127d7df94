"""Hostile peers: nodes refuse, log and survive the frames of a broken member and a stranger."""

import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from actors.data_directory import DataDirectory
from actors.database import RocksDatabase
from protocol.address import parse_address
from protocol.config import LEARNERS_MAX, NodeConfig
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.gateway.admin import ADMIN_REQUESTS_MAX
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.client import AddNode, Failed, FailureCode
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    AppendEntries,
    ForwardProposal,
    Heartbeat,
    JoinReply,
    JoinRequest,
    PeerFrame,
    ProposalRefused,
)
from protocol.messages.storage import Append
from protocol.refusal import Refusal
from protocol.state.levels import STATE_LEVEL
from protocol.storage.log_store import LogStore
from protocol.wire import decode_peer_frame, encode
from skiff import Client, NodeStatus
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.command import run
from tests.cluster.keyed import secure_client
from tests.cluster.raw_client import RawClient
from tests.cluster.stand_in import StandIn

STRANGER = b"stranger".ljust(16, b"\0")

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two of three nodes; tests impersonate the third, or a stranger."""
    directory = tmp_path_factory.mktemp("hostile")
    with Cluster(3, directory=directory) as cluster:
        cluster.kill(cluster.followers()[0])
        with cluster.client(timeout=20) as client:
            client.insert("guard", "before")
        yield cluster


@pytest.fixture
def unharmed(pair: Cluster) -> Iterator[None]:
    """Check after every test that leader and term are the same, and both nodes serve."""
    leader = pair.leader()
    before = status_of(leader)
    pids = [node.actor_pids for node in alive(pair)]
    yield
    with pair.client(timeout=20) as client:
        client.insert("guard", "after")
    assert [node.actor_pids for node in alive(pair)] == pids
    after = status_of(leader)
    assert (after.leader, after.term) == (before.leader, before.term)


@pytest.fixture
def broken(pair: Cluster) -> Iterator[StandIn]:
    """The missing member, impersonated towards the leader."""
    leader = pair.leader()
    cluster = status_of(leader).cluster_id
    assert cluster is not None
    (missing,) = [node for node in pair.nodes if not node.is_running]
    with StandIn(missing, leader, cluster.bytes) as member:
        yield member


def alive(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes if node.is_running]


def status_of(node: Node) -> NodeStatus:
    status = node.status()
    assert status is not None
    return status


@pytest.mark.usefixtures("unharmed")
def test_a_malformed_proposal_is_refused_and_logged(pair: Cluster, broken: StandIn) -> None:
    for payload in (b"", b"garbage", b"\x94\xc4\x10"):
        refused = broken.ask(ForwardProposal(7, payload), ProposalRefused)
        assert refused.refusal is Refusal.INVALID
    assert pair.leader().log().count("refused its proposal") == 1


@pytest.mark.usefixtures("unharmed")
def test_a_leader_ignores_another_leader_of_its_own_term(pair: Cluster, broken: StandIn) -> None:
    leader = pair.leader()
    term = status_of(leader).term
    broken.say(AppendEntries(term, 0, 0, (LogEntry(1, 1, EntryKind.NO_OP),), 0))
    broken.say(Heartbeat(term, 0, 0))
    wait_until(lambda: "claims to lead term" in leader.log(), "it is refused")


FAR = (1 << 64) - 1
HOSTILE: list[list[object]] = [
    [1, FAR, 9, 9, False, True],  # RequestVote
    [1, 1 << 61, 1 << 61, 1 << 61, False, True],
    [1, 1_000_000, 1 << 61, 1 << 61, False, True],
    [2, FAR, True],  # RequestVoteReply
    [2, 1_000_000, True],
    [4, FAR, True, FAR],  # AppendEntriesReply
    [5, FAR, FAR, FAR, FAR],  # Heartbeat
    [5, 1_000_000, 0, 0, 0],
    [6, FAR, FAR, FAR, FAR],  # HeartbeatReply
    [13, 10**12],  # RemovalNotice
    [13, FAR],
    [17, 1_000_000],  # TimeoutNow
]


def send_all(nodes: list[Node], frames: list[bytes]) -> None:
    """Send frames to the peer ports of nodes, and wait until they are handled."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        sockets = [context.socket(zmq.DEALER) for _ in nodes]
        for socket, node in zip(sockets, nodes, strict=True):
            secure_client(socket)
            socket.connect(parse_address(node.address).peer_endpoint)
            for frame in frames:
                socket.send(frame)
            # The reply follows everything sent before on the same connection.
            socket.send(encode([1, b"", STRANGER, 1, "127.0.0.1:9", [[14, "no address:"]]]))
            assert socket.poll(20_000), "the node answers no more"
    finally:
        context.destroy(linger=0)


def ask_to_join(node: Node, addresses: list[str], *, rejoin: bool = False) -> list[JoinReply]:
    """Request membership under one new id after another, each request based on the last reply."""
    replies: list[JoinReply] = []
    index = term = 0
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        secure_client(socket)
        socket.connect(parse_address(node.address).peer_endpoint)
        for address in addresses:
            request = JoinRequest(address, rejoin, index, term, STATE_LEVEL)
            sender = (b"", os.urandom(16), 1, "127.0.0.1:9")
            socket.send(encode(PeerFrame(PEER_PROTOCOL_VERSION, *sender, (request,))))
            assert socket.poll(20_000), "the node answers no more"
            (reply,) = decode_peer_frame(socket.recv()).messages
            assert isinstance(reply, JoinReply)
            replies.append(reply)
            index, term = reply.index, reply.term
    return replies


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("sender", "incarnation"),
    [
        ("stranger", 1),
        ("missing", 500),
        *[(name, far) for name in ("leader", "follower") for far in ((1 << 31) - 1, FAR)],
    ],
)
def test_absurd_terms_and_indexes_change_neither_term_nor_leader(
    pair: Cluster, sender: str, incarnation: int
) -> None:
    leader = pair.leader()
    before = status_of(leader)
    assert before.cluster_id is not None
    (follower,) = [node for node in alive(pair) if node is not leader]
    (missing,) = [node for node in pair.nodes if node not in (leader, follower)]
    speaks_as = {
        "stranger": STRANGER,
        "leader": leader.id.bytes,
        "follower": follower.id.bytes,
        "missing": missing.id.bytes,
    }[sender]
    frames = [
        encode([1, before.cluster_id.bytes, speaks_as, incarnation, "127.0.0.1:9", [message]])
        for message in HOSTILE
    ]
    send_all([leader, follower], frames)
    for node in (leader, follower):
        after = status_of(node)
        assert (after.term, after.leader, after.removed) == (before.term, leader.id, False)


@pytest.mark.usefixtures("unharmed")
def test_thousands_of_forged_senders_use_few_descriptors(pair: Cluster) -> None:
    cluster = status_of(pair.leader()).cluster_id
    assert cluster is not None
    nodes = alive(pair)
    before = [descriptors_of(node) for node in nodes]
    frames = [
        encode([1, cluster.bytes, os.urandom(16), 1, f"127.0.0.1:{port}", [[1, 2, 9, 9]]])
        for port in range(20_000, 23_000)
    ]
    send_all(nodes, frames)
    for node, count in zip(nodes, before, strict=True):
        assert descriptors_of(node) < count + 200
        assert "no known member has vouched for it" in node.log()


@pytest.mark.usefixtures("unharmed")
def test_a_flood_of_joins_adds_only_a_few_removable_learners(pair: Cluster) -> None:
    leader = pair.leader()
    flood = [f"127.0.0.1:{port}" for port in range(20_000, 21_000)]

    def is_refused() -> bool:
        return any("learners_max" in reply.refusal for reply in ask_to_join(leader, flood))

    wait_until(is_refused, "no more learners are added")
    with leader.client(timeout=20) as client:
        # The refusal counts a learner that is not committed yet.
        wait_until(lambda: len(learners_of(client)) >= LEARNERS_MAX, "all learners are added")
        learners = learners_of(client)
        assert len(learners) == LEARNERS_MAX
        assert descriptors_of(leader) < 200
        for learner in learners:
            client.remove_node(learner)
        assert all(member.voter for member in client.members())


@pytest.mark.usefixtures("unharmed")
def test_a_stranger_cannot_replace_a_responsive_member(pair: Cluster) -> None:
    leader = pair.leader()
    before = status_of(leader).members
    addresses = [node.address for node in alive(pair) for _ in range(20)]
    for _ in range(5):
        replies = ask_to_join(leader, addresses, rejoin=True)
        assert not any(reply.accepted for reply in replies)
        time.sleep(0.2)  # for heartbeats to arrive
    assert status_of(leader).members == before


@pytest.mark.usefixtures("unharmed")
def test_a_flood_of_foreign_invitations_is_logged_at_most_twice(pair: Cluster) -> None:
    leader = pair.leader()
    frames = [
        encode([1, b"f" * 16, os.urandom(16), 1, "127.0.0.1:9", [[16, f"127.0.0.1:{port}"]]])
        for port in range(20_000, 21_000)
    ]
    send_all([leader], frames)
    assert 1 <= leader.log().count("declined an invitation") <= 2


@pytest.mark.usefixtures("unharmed")
def test_concurrent_invitations_beyond_the_limit_are_refused(pair: Cluster) -> None:
    leader = pair.leader()
    before = descriptors_of(leader)
    with RawClient(leader) as client:
        invitations = [AddNode(f"127.0.0.1:{port}") for port in range(20_000, 21_100)]
        outcomes = client.ask(*invitations, seconds=1.0)
    codes = Counter(each.code for each in outcomes if isinstance(each, Failed))
    invited = ADMIN_REQUESTS_MAX  # without a node at these addresses
    assert codes == {FailureCode.OVERLOADED: 1100 - invited, FailureCode.NO_STANDBY: invited}
    assert descriptors_of(leader) < before + 200


def learners_of(client: Client) -> list[uuid.UUID]:
    return [member.id for member in client.members() if not member.voter]


def test_an_oversized_membership_is_tolerated_and_can_be_reduced(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        (node,) = cluster.nodes
        with node.client() as client:
            client.insert("before", 1)
        node.terminate()
        dead = [
            Member(os.urandom(16), f"127.0.0.1:{port}", voter=False)
            for port in range(20_000, 20_600)
        ]
        founder = Member(node.id.bytes, node.address, voter=True)
        crowd = Membership(tuple(sorted([founder, *dead], key=lambda member: member.id)))
        append_to(node.directory, EntryKind.MEMBERSHIP, encode(MembershipChange(crowd)), crowd)
        node.start()
        gone = [str(uuid.UUID(bytes=member.id)) for member in dead[:20]]
        removed = run("member", "remove", *gone, "--url", node.address, "--timeout", "20")
        assert removed.returncode == 0, removed.stderr
        with node.client(timeout=20) as client:
            client.insert("after", 2)
            assert len(client.members()) == len(crowd.members) - len(gone)
        assert descriptors_of(node) < 600
        assert node.is_running


def descriptors_of(node: Node) -> int:
    """Return the replicator's open descriptors, or 0 where the system does not list them."""
    place = Path(f"/proc/{node.actor_pids['log_replicator']}/fd")
    return len(list(place.iterdir())) if place.exists() else 0


def test_a_committed_entry_is_not_replaced(pair: Cluster, broken: StandIn) -> None:
    leader = pair.leader()
    before = status_of(leader)
    replacing = LogEntry(before.commit_index, before.term + 1, EntryKind.NO_OP)
    broken.say(AppendEntries(before.term + 1, replacing.index - 1, before.term, (replacing,), 0))
    wait_until(lambda: "is committed; it was refused" in leader.log(), "it is told")
    with pair.client(timeout=20) as client:
        assert client.get("guard", str) in ("before", "after")
        client.insert("guard", "after")


@pytest.mark.parametrize("kind", [EntryKind.BATCH, EntryKind.MEMBERSHIP])
def test_a_log_with_an_undecodable_entry_is_tolerated(tmp_path: Path, kind: EntryKind) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        (node,) = cluster.nodes
        with node.client() as client:
            client.insert("before", 1)
        node.terminate()
        append_to(node.directory, kind, b"garbage")
        for _ in range(2):
            node.start()
            with node.client(timeout=20) as client:
                assert client.get("before", int) == 1
                client.insert("after", 2)
            assert f"cannot be decoded as {kind.name}" in node.log()
            node.terminate()


def append_to(
    directory: Path, kind: EntryKind, payload: bytes, members: Membership | None = None
) -> None:
    """Append an entry to the log of a stopped node's directory."""
    locked = DataDirectory(str(directory))
    database = RocksDatabase(locked.database, create=False)
    try:
        store = LogStore(database, NodeConfig().log_limits)
        entry = LogEntry(store.last_index + 1, store.last_term, kind, payload)
        at = None if members is None else (MembershipAt(entry.index, members),)
        store.append(Append(0, None, (entry,), at))
        database.write(sync=True)
    finally:
        database.close()
        locked.close()
