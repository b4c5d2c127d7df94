"""Secure sockets: who gets in at each port of a node, on the sockets that the actors use."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec
import pytest
import zmq

from actors.connections import Connections
from actors.port import Port
from actors.sockets import Sockets
from actors.zap_handler import ZapHandler
from protocol.connection_limits import HANDSHAKE_BYTES
from protocol.security import z85
from protocol.security.gatekeeper import Decision, Gatekeeper
from protocol.security.keys import ClusterKeys, KeyPair
from skiff.testing import free_port, wait_until
from tests.faults.raw_connection import COMMAND, SECURE_GREETING, head
from tests.harness.curve_client import CurveClient, new_pair

PATIENCE = 10.0  # seconds; what is awaited takes much less
HANDSHAKE_MS = 150
PASSWORD = {int(zmq.PLAIN_USERNAME): b"admin", int(zmq.PLAIN_PASSWORD): b"secret"}

CLUSTER, FORMER, OTHER_CLUSTER, USER, STRANGER = (new_pair() for _ in range(5))
KEYS = ClusterKeys(CLUSTER, (FORMER.public,))


class Door(msgspec.Struct):
    """One listening port of a node, and how to connect to it."""

    kind: str
    sockets: Sockets
    port: Port
    endpoint: str

    @property
    def client_kind(self) -> int:
        return zmq.SUB if self.kind == "subscriber" else zmq.DEALER

    def connect(self, pair: KeyPair | None, server_key: bytes = CLUSTER.public) -> CurveClient:
        return CurveClient(self.client_kind, self.endpoint, pair, server_key)

    def judge(self, client: CurveClient) -> bool:
        """Run the actor's loop until the handshake has ended; return whether anything got in."""
        deadline = time.monotonic() + PATIENCE
        succeeded = None
        while succeeded is None:
            assert time.monotonic() < deadline, "the handshake did not end"
            self.sockets.wait(0.005)
            succeeded = client.succeeded()
        while succeeded and not (got_in := self.has_received()):
            assert time.monotonic() < deadline, "nothing came through"
            self.sockets.wait(0.005)
        return got_in if succeeded else self.has_received()

    def has_received(self) -> bool:
        """Return whether a client's message or subscription has come in."""
        return bool({b"message", b"\1topic"} & {frames[-1] for frames in self.port.drain()})

    def admits(self, pair: KeyPair | None, server_key: bytes = CLUSTER.public) -> bool:
        with self.connect(pair, server_key) as client:
            return self.judge(client)


def open_door(kind: str, sockets: Sockets) -> Door:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    openers: dict[str, Callable[[], Port]] = {
        "client": lambda: sockets.client_router([endpoint]),
        "subscriber": lambda: sockets.publisher(endpoint),
        "peer": lambda: sockets.peer_router(endpoint),
    }
    return Door(kind, sockets, openers[kind](), endpoint)


@pytest.fixture(params=["client", "subscriber", "peer"])
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr("actors.sockets.HANDSHAKE_MS", HANDSHAKE_MS)
    sockets = Sockets(KEYS)
    yield open_door(request.param, sockets)
    sockets.close()


def gatekeeper_of(door: Door) -> Gatekeeper:
    assert door.sockets.gatekeeper is not None
    return door.sockets.gatekeeper


def zap_port(door: Door) -> Port:
    (port,) = door.sockets._reactions
    return port


# --- who gets in


@pytest.mark.parametrize("pair", [CLUSTER, FORMER], ids=["current", "accepted"])
def test_the_keys_of_the_cluster_open_every_port(door: Door, pair: KeyPair) -> None:
    assert door.admits(pair)


def test_a_user_gets_in_as_a_client_and_never_as_a_peer(door: Door) -> None:
    gatekeeper_of(door).admit_users([USER.public])
    assert door.admits(USER) == (door.kind != "peer")
    gatekeeper_of(door).admit_users([])
    assert not door.admits(USER)


REFUSED: dict[str, tuple[KeyPair | None, bytes]] = {
    "no key, mechanism NULL": (None, b""),
    "an unknown key": (STRANGER, CLUSTER.public),
    "another server key": (CLUSTER, OTHER_CLUSTER.public),
    "an accepted key as server key": (CLUSTER, FORMER.public),
    "public and secret swapped": (KeyPair(CLUSTER.secret, CLUSTER.public), CLUSTER.public),
    "another's public key": (KeyPair(CLUSTER.public, STRANGER.secret), CLUSTER.public),
    "both ends swapped": (KeyPair(STRANGER.public, STRANGER.secret), STRANGER.public),
}


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_else_gets_in(door: Door, case: str) -> None:
    assert not door.admits(*REFUSED[case])
    assert door.admits(CLUSTER), "the port goes on"


def test_a_password_opens_nothing(door: Door) -> None:
    with CurveClient(door.client_kind, door.endpoint, options=PASSWORD) as client:
        assert not door.judge(client)


# --- when the decision fails


def test_without_a_handler_nothing_gets_in(door: Door) -> None:
    door.sockets.forget(zap_port(door))
    assert not door.admits(CLUSTER)
    assert not door.admits(STRANGER)


def test_while_the_handler_does_not_answer_nothing_gets_in(door: Door) -> None:
    door.sockets._reactions[zap_port(door)] = lambda: None
    assert not door.admits(CLUSTER)


def test_an_exception_in_the_decision_refuses_and_harms_no_other_connection(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Gatekeeper, "decide", lambda *_: 1 / 0)
        assert not door.admits(CLUSTER)
    assert door.admits(CLUSTER)


def test_a_reply_that_admits_without_a_user_id_is_no_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Gatekeeper, "decide", lambda *_: Decision(b"200", ""))
    with closing(Sockets(KEYS)) as sockets:
        door = open_door("client", sockets)
        with door.connect(STRANGER) as client:
            (user_id,) = [user_id for _, user_id in receive(door, client)]
        assert gatekeeper_of(door).user_of(user_id) is None


def test_every_port_names_a_domain_and_enforces_it(door: Door) -> None:
    """Without a domain, ZeroMQ asks no handler, and admits all, even if that is enforced."""
    domain = b"skiff-peer" if door.kind == "peer" else b"skiff-client"
    assert door.port.socket.getsockopt(zmq.ZAP_DOMAIN) == domain
    assert door.port.socket.getsockopt(zmq.ZAP_ENFORCE_DOMAIN) == 1
    assert door.port.socket.getsockopt(zmq.CURVE_SERVER) == 1
    assert door.port.socket.getsockopt(zmq.MECHANISM) == zmq.CURVE


# --- refusals are counted and logged


def test_refusals_are_counted_and_logged_once_for_each_address(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    connections = Connections(door.port)
    for pair, server_key in ((STRANGER, CLUSTER.public), (CLUSTER, OTHER_CLUSTER.public)) * 2:
        assert not door.admits(pair, server_key)
    deadline = time.monotonic() + PATIENCE
    while connections.refused < 4:
        assert time.monotonic() < deadline
        door.sockets.wait(0.005)
        connections.take_in(0.0)
    assert (
        caplog.messages.count(f"refused 127.0.0.1: unknown key {z85.encode(STRANGER.public)}") == 1
    )
    other = {each for each in caplog.messages if "not the one of this node" in each}
    who = "refused 127.0.0.1: ", "refused a connection: "  # if it has ended too soon to be asked
    assert other
    assert all(each.startswith(who) for each in other)
    assert len(caplog.messages) == 1 + len(other)


# --- strangers


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells what a connection brings")
def test_a_stranger_that_sends_more_than_a_handshake_is_closed_and_no_authenticated_link(
    door: Door,
) -> None:
    connections = Connections(door.port)
    with door.connect(CLUSTER) as member:
        assert door.judge(member)
        connections.take_in(0.0)
        assert (len(connections), connections.handshakes) == (1, 1)
        assert connections.break_off(0.0) == []
        assert (len(connections), connections.handshakes) == (1, 0)
        with socket.create_connection(("127.0.0.1", int(door.endpoint.rpartition(":")[2]))) as raw:
            raw.sendall(SECURE_GREETING)
            wait_until(lambda: bool(connections.take_in(0.0)) or len(connections) > 1, "accepted")
            assert connections.break_off(0.0) == []
            assert connections.handshakes == 1
            raw.sendall(head(HANDSHAKE_BYTES, COMMAND) + bytes(HANDSHAKE_BYTES - 1))
            wait_until(lambda: connections.break_off(0.0) == ["127.0.0.1"], "it is broken off")
            assert (len(connections), connections.handshakes) == (1, 0)
        assert dict(connections.take_refused()) == {"127.0.0.1": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells what a connection brings")
def test_a_connection_is_in_its_handshake_until_it_is_admitted(door: Door) -> None:
    connections = Connections(door.port)
    door.sockets._reactions[zap_port(door)] = lambda: None
    with door.connect(CLUSTER):
        wait_until(lambda: bool(connections.take_in(0.0)) or len(connections) > 0, "accepted")
        assert connections.break_off(0.0) == []
        assert connections.handshakes == 1, "as no one has answered yet"


# --- users


def receive(door: Door, client: CurveClient) -> list[tuple[list[bytes], str]]:
    """Run the actor's loop until messages arrive; return them with their user ids."""
    deadline = time.monotonic() + PATIENCE
    while not (arrived := list(door.port.drain_with_users())):
        assert time.monotonic() < deadline, f"nothing came from {client}"
        door.sockets.wait(0.005)
    return arrived


def test_an_identity_that_another_user_had_brings_none_of_their_rights() -> None:
    with closing(Sockets(KEYS)) as sockets:
        door = open_door("client", sockets)
        gatekeeper_of(door).admit_users([USER.public, STRANGER.public])
        seen = []
        for pair in (USER, STRANGER, CLUSTER):
            arguments = (zmq.DEALER, door.endpoint, pair, CLUSTER.public)
            with CurveClient(*arguments, options={zmq.ROUTING_ID: b"same"}) as client:
                ((frames, user_id),) = receive(door, client)
            assert frames == [b"same", b"message"]
            seen.append(gatekeeper_of(door).user_of(user_id))
        assert seen == [USER.public, STRANGER.public, b""]


def test_subscriptions_tell_their_user() -> None:
    with closing(Sockets(KEYS)) as sockets:
        door = open_door("subscriber", sockets)
        gatekeeper_of(door).admit_users([USER.public])
        with door.connect(USER):
            deadline = time.monotonic() + PATIENCE
            while not (arrived := list(door.port.drain_from())):
                assert time.monotonic() < deadline
                sockets.wait(0.005)
        ((frame, _, user_id),) = arrived
        assert (frame, gatekeeper_of(door).user_of(user_id)) == (b"\1topic", USER.public)


# --- a recorded session


def record(door: Door) -> tuple[bytes, bytes]:
    """Let a client in through a wire that keeps its bytes; return its first and its other ones."""
    host, _, port = door.endpoint.removeprefix("tcp://").rpartition(":")
    with socket.create_server((host, 0)) as listener:
        listener.settimeout(PATIENCE)
        place = f"tcp://{host}:{listener.getsockname()[1]}"
        with CurveClient(door.client_kind, place, CLUSTER, CLUSTER.public) as client:
            accepted, _ = listener.accept()
            onward = socket.create_connection((host, int(port)))
            with accepted, onward:
                accepted.setblocking(False)
                onward.setblocking(False)
                sent = _pass_on(door, client, accepted, onward)
    return sent[:64], sent[64:]


def _pass_on(
    door: Door, client: CurveClient, accepted: socket.socket, onward: socket.socket
) -> bytes:
    sent, deadline, arrived = b"", time.monotonic() + PATIENCE, False
    while not arrived:
        assert time.monotonic() < deadline, "the recorded client was not let in"
        door.sockets.wait(0.005)
        for source, drain in ((accepted, onward), (onward, accepted)):
            try:
                data = source.recv(1 << 16)
            except BlockingIOError:
                continue
            drain.sendall(data)
            sent += data if source is accepted else b""
        arrived = door.has_received()
    return sent


def test_a_recorded_session_that_is_sent_again_brings_nothing_in(door: Door) -> None:
    greeting, rest = record(door)
    host, _, port = door.endpoint.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port))) as replay:
        replay.sendall(greeting)
        replay.sendall(rest)
        replay.setblocking(False)
        deadline = time.monotonic() + PATIENCE
        while not _is_closed(replay):
            assert time.monotonic() < deadline, "the connection was kept"
            door.sockets.wait(0.005)
    assert not door.has_received()
    assert door.admits(CLUSTER)


def _is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def test_the_zap_handler_drops_no_request(door: Door) -> None:
    """A malformed one is answered, too: ZeroMQ would wait for ever."""
    sent: list[tuple[bytes, ...]] = []

    class Asked:
        def drain(self) -> Iterator[list[bytes]]:
            yield from ([b"id", b""], [b"id", b"", b"1.0", b"7"], [b"id", b"", *[b"x"] * 9])

        def send(self, *frames: bytes) -> None:
            sent.append(frames)

    ZapHandler(Asked(), gatekeeper_of(door)).answer()  # type: ignore[arg-type]
    assert [frames[3:5] for frames in sent] == [(b"", b"500"), (b"7", b"500"), (b"x", b"500")]
