"""Bad input: malformed, oversized and foreign input on every port does no harm."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from protocol.address import Address, parse_address
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Failed,
    FailureCode,
    Get,
    GetMany,
    ListKeys,
    ReadChanges,
    ReadSnapshot,
    Reply,
    Scan,
)
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    AppendEntries,
    JoinRequest,
    PeerFrame,
    RequestVote,
)
from protocol.state.commands import (
    Check,
    Increment,
    Insert,
    Remove,
    RemovePrefix,
    Transact,
    Write,
)
from protocol.wire import (
    PEER_FRAME_BYTES_MAX,
    REQUEST_BYTES_MAX,
    SUBSCRIPTION_BYTES_MAX,
    decode_reply,
    encode,
)
from skiff import Client, InvalidRequest, SerializeFailed
from skiff.testing import Cluster, Node, wait_until
from tests.cluster.keyed import secure_client

pytestmark = pytest.mark.cluster

Socket = zmq.Socket[bytes]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Cluster(1, directory=tmp_path_factory.mktemp("bad-input")) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
def address(node: Node) -> Address:
    return parse_address(node.address)


@pytest.fixture(autouse=True)
def unharmed(node: Node) -> Iterator[None]:
    """Check after every test that the same four actors run, with the same data, and serve."""
    pids = node.actor_pids
    with node.client() as client:
        client.insert("guard", "before")
        revision = client.status().revision
    yield
    with node.client() as client:
        assert client.get("guard", str) == "before"
        assert client.status().revision == revision, "something was written"
    assert node.actor_pids == pids


@pytest.fixture
def connect() -> Iterator[Callable[[int, str], Socket]]:
    context: zmq.Context[Socket] = zmq.Context()
    every: list[Socket] = []

    def open_socket(kind: int, endpoint: str) -> Socket:
        opened = context.socket(kind)
        every.append(opened)
        opened.setsockopt(zmq.LINGER, 0)
        opened.setsockopt(zmq.RCVTIMEO, 5000)
        opened.setsockopt(zmq.SNDTIMEO, 5000)
        secure_client(opened)
        if endpoint:
            opened.connect(endpoint)
        return opened

    yield open_socket
    for each in every:
        each.disable_monitor()
        each.close()
    context.destroy(linger=0)


def ask(connect: Callable[[int, str], Socket], address: Address, body: bytes) -> Reply:
    asking = connect(zmq.REQ, address.client_endpoint)
    asking.send(body)
    return decode_reply(asking.recv())


def refusal(reply: Reply) -> Failed:
    (outcome,) = reply.outcomes
    assert isinstance(outcome, Failed)
    return outcome


def request(*operations: object, version: int = CLIENT_PROTOCOL_VERSION) -> bytes:
    return encode([version, 1, 2000, operations])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x91" * 5000,
        encode("text"),
        encode({"a": 1}),
        encode([1, 2]),
        request([99, "unknown operation"]),
        request([12, b"key that is no text"]),
        encode([1, 1, 2000, "no operations"]),
    ],
)
def test_a_malformed_request_gets_an_error_reply(
    connect: Callable[[int, str], Socket], address: Address, body: bytes
) -> None:
    failed = refusal(ask(connect, address, body))
    assert failed.code is FailureCode.INVALID
    assert "malformed" in failed.message


def test_a_client_of_another_protocol_version_is_refused(
    connect: Callable[[int, str], Socket], address: Address
) -> None:
    failed = refusal(ask(connect, address, request(Get("key"), version=77)))
    assert failed.code is FailureCode.UNSUPPORTED


@pytest.mark.parametrize(
    "operation",
    [
        Get(""),
        Get("a\0b"),
        Get("k" * 4097),
        ListKeys("", 0),
        ListKeys("", -1),
        ListKeys("x" * 5000, 1),
        Write(1, 1, 1, Insert("", b"")),
        Write(1, 1, 1, Insert("key", b"x" * ((1 << 20) + 1))),
        Write(1, 1, 1, Insert("key", b"", if_revision=-1)),
        Write(-1, 1, 1, Insert("key", b"")),
        Write(1, 1, 2, Insert("key", b"")),
        Write(1, 10_000, 1, Insert("key", b"")),
        Write(1 << 63, 1, 1, Insert("key", b"")),
        Write(1, 1, 1, RemovePrefix("a\0b")),
        Write(1, 1, 1, Increment("key", 1 << 63)),
        Write(1, 1, 1, Transact((), ())),
        Write(1, 1, 1, Transact((), (Remove("k"),) * 2)),
        Write(1, 1, 1, Transact((Check("key"),) * 1001, ())),
        Write(1, 1, 1, Transact((Check("key", version=-1),), ())),
        Write(1, 1, 1, Transact((), (Insert("key", b"", if_revision=1),))),
        GetMany(("key",) * 1001),
        GetMany(("key",), min_revision=1 << 40),
        Get("key", max_staleness_ms=-1),
        Scan(b"sixteen bytes...", "a\0b", 1),
        Scan(b"fifteen bytes..", "", 1),
        ReadChanges("", -1, 0),
        ReadChanges("", 1 << 40, 0),
        ReadSnapshot(b"fifteen bytes..", None),
        ReadSnapshot(b"seventeen bytes..", None),
    ],
    ids=lambda operation: repr(operation)[:60],
)
def test_an_operation_outside_the_limits_is_refused_by_the_node(
    connect: Callable[[int, str], Socket], address: Address, operation: object
) -> None:
    assert refusal(ask(connect, address, request(operation))).code is FailureCode.INVALID


def test_an_invalid_operation_does_not_fail_the_others_of_its_request(
    connect: Callable[[int, str], Socket], address: Address
) -> None:
    bad, good = ask(connect, address, request(Get(""), Get("guard"))).outcomes
    assert isinstance(bad, Failed)
    assert not isinstance(good, Failed)


@pytest.mark.parametrize("frames", [[b"a", b"b", b"c"], [b"", b"", b""], [b"x"] * 50])
def test_a_request_with_too_many_frames_is_refused(
    connect: Callable[[int, str], Socket], address: Address, frames: list[bytes]
) -> None:
    asking = connect(zmq.DEALER, address.client_endpoint)
    asking.send_multipart(frames)
    assert refusal(decode_reply(asking.recv_multipart()[-1])).code is FailureCode.INVALID


@pytest.mark.parametrize(
    ("endpoint", "limit"),
    [
        ("client_endpoint", REQUEST_BYTES_MAX),
        ("peer_endpoint", PEER_FRAME_BYTES_MAX),
        ("publish_endpoint", SUBSCRIPTION_BYTES_MAX),
    ],
)
def test_an_oversized_frame_closes_the_connection(
    connect: Callable[[int, str], Socket], address: Address, endpoint: str, limit: int
) -> None:
    flooding = connect(zmq.DEALER if endpoint != "publish_endpoint" else zmq.SUB, "")
    monitor = flooding.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    monitor.setsockopt(zmq.RCVTIMEO, 10_000)
    flooding.connect(getattr(address, endpoint))
    if endpoint == "publish_endpoint":
        flooding.setsockopt(zmq.SUBSCRIBE, b"x" * (limit + 1))
    else:
        flooding.send(b"x" * (limit + 1))
    try:
        assert monitor.recv_multipart()
    finally:
        monitor.close()


@pytest.mark.parametrize("endpoint", ["client_endpoint", "peer_endpoint", "publish_endpoint"])
def test_bytes_that_are_not_zeromq_are_harmless(address: Address, endpoint: str) -> None:
    port = int(getattr(address, endpoint).rpartition(":")[2])
    chance = random.Random(port)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(chance.randbytes(chance.randint(1, 2000)))


def test_random_frames_to_peers_and_clients_are_harmless(
    connect: Callable[[int, str], Socket], address: Address
) -> None:
    chance = random.Random(7)
    to_peers = connect(zmq.DEALER, address.peer_endpoint)
    to_clients = connect(zmq.DEALER, address.client_endpoint)
    for _ in range(500):
        frame = chance.randbytes(chance.randint(0, 200))
        to_peers.send(frame)
        to_clients.send(frame)
    assert to_clients.recv_multipart()


@pytest.mark.parametrize("cluster", [b"", os.urandom(16)], ids=["of none", "of another"])
def test_a_frame_of_another_cluster_changes_nothing(
    connect: Callable[[int, str], Socket], address: Address, node: Node, cluster: bytes
) -> None:
    before = node.status()
    messages = (RequestVote(1000, 1000, 1000), AppendEntries(1000, 0, 0, (), 0))
    stranger = os.urandom(16)
    frame = PeerFrame(PEER_PROTOCOL_VERSION, cluster, stranger, 1, "127.0.0.1:9", messages)
    peer = connect(zmq.DEALER, address.peer_endpoint)
    for _ in range(20):
        peer.send(encode(frame))
    name = cluster.hex() or stranger.hex()[:8]
    wait_until(lambda: name in node.log(), "one log line tells of it")
    after = node.status()
    assert before is not None
    assert after is not None
    assert (after.term, after.role) == (before.term, before.role)
    assert node.log().count(name) == 1


def test_a_node_of_another_version_does_not_become_a_member(
    connect: Callable[[int, str], Socket], address: Address, node: Node
) -> None:
    request = JoinRequest("127.0.0.1:9")
    stranger = PeerFrame(PEER_PROTOCOL_VERSION + 1, b"", b"x" * 16, 1, "127.0.0.1:9", (request,))
    peer = connect(zmq.DEALER, address.peer_endpoint)
    peer.send(encode(stranger))
    wait_until(lambda: "peer protocol version" in node.log(), "it is told")
    status = node.status()
    assert status is not None
    assert [member.id for member in status.members] == [node.id]


def test_the_client_refuses_invalid_arguments(node: Node) -> None:
    with node.client() as client:
        for key in ("", "a\0b", "k" * 4097, "\ud800", 7):
            with pytest.raises(InvalidRequest):
                client.insert(key, 1)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="1048576"):
            client.insert("large", b"x" * (1 << 20))
        with pytest.raises(InvalidRequest, match="no node takes more than 4194304"):
            client.insert("larger than any node allows", b"x" * (4 << 20))
        for name in (5, "", "\ud800"):
            with pytest.raises(InvalidRequest, match="start_after"):
                client.list_keys(start_after=name)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="decoded"):
            client.get("guard", list[int] | tuple[int])
        with pytest.raises(SerializeFailed, match="'odd'"):
            client.insert("odd", object())
        for revision in (1 << 63, -1, 1.0, "1", True):
            with pytest.raises(InvalidRequest, match="if_revision"):
                client.insert("odd", 1, if_revision=revision)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="if_revision"):
                client.remove("guard", if_revision=revision)  # type: ignore[arg-type]
        for seconds in (0, -2, float("nan")):
            with pytest.raises(InvalidRequest, match="positive"):
                client.get("guard", timeout=seconds)
            with pytest.raises(InvalidRequest, match="positive"):
                Client(node.address, timeout=seconds)
        assert client.list_keys() == ["guard"]


def test_a_value_of_the_largest_size_is_stored(tmp_path: Path) -> None:
    value = b"x" * ((1 << 20) - 5)  # MessagePack's overhead counts, too
    with Cluster(1, directory=tmp_path) as cluster, Client(cluster.addresses) as client:
        client.insert("large", value)
        assert client.get("large", bytes) == value


def test_values_are_stored_as_plain_messagepack(node: Node) -> None:
    """Other languages can read the values that Python has written."""
    with node.client() as client:
        stored = client.get("guard", msgspec.Raw)
    assert isinstance(stored, msgspec.Raw)
    assert bytes(stored) == msgspec.msgpack.encode("before")
