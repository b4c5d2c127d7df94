"""Users of requests: the gateway knows who sends each one, and drops what has no user."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import zmq

from actors.client_gateway import ClientGateway
from actors.sockets import Sockets
from protocol.config import NodeConfig
from protocol.gateway.gateway import Gateway
from protocol.gateway.pending import Call
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Hello, Request, Welcome
from protocol.messages.gateway import Opened
from protocol.security.gatekeeper import Gatekeeper
from protocol.security.keys import ClusterKeys, KeyPair
from protocol.wire import decode_reply, encode
from skiff.testing import free_port
from tests.harness.curve_client import CurveClient, new_pair
from tests.harness.lone_actor import surround, tell

CLUSTER, USER = new_pair(), new_pair()
GREETING = encode(Request(CLIENT_PROTOCOL_VERSION, 1, 1000, (Hello(),)))
PATIENCE = 10.0  # seconds


class Lone(msgspec.Struct):
    """A gateway without the other actors of its node, and the users that it has heard."""

    gateway: ClientGateway
    sockets: Sockets
    endpoint: str
    users: list[bytes]

    def greet(self, client: CurveClient) -> list[bytes]:
        """Send a greeting, and return the reply."""
        client.socket.send_multipart([b"", GREETING])
        deadline = time.monotonic() + PATIENCE
        while not client.socket.poll(0):
            assert time.monotonic() < deadline, "no reply"
            self.gateway.turn(self.sockets.wait(0.005))
        return client.socket.recv_multipart()

    def drains_all(self) -> None:
        """Run the loop until nothing has arrived for a while."""
        while readable := self.sockets.wait(0.05):
            self.gateway.turn(readable)


@pytest.fixture
def lone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lone]:
    monkeypatch.chdir(tmp_path)
    users: list[bytes] = []
    real = Gateway.receive

    def receive(*arguments: object) -> int:
        users.append(arguments[-1])  # type: ignore[arg-type]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Gateway, "receive", receive)
    with closing(Sockets(ClusterKeys(CLUSTER))) as sockets:
        others = tell(sockets, "gateway", Opened(b"n" * 16, b"c" * 16, 1))
        config = NodeConfig(dir=str(tmp_path), port=free_port(), key="of the node")
        gateway = ClientGateway(surround("client_gateway", config, sockets))
        assert sockets.gatekeeper is not None
        sockets.gatekeeper.admit_users([USER.public])
        yield Lone(gateway, sockets, config.bind_address.client_endpoint, users)
        others.close()


def connect(lone: Lone, pair: KeyPair) -> CurveClient:
    return CurveClient(zmq.DEALER, lone.endpoint, pair, CLUSTER.public, first=b"")


def test_each_request_comes_with_its_user(lone: Lone) -> None:
    for pair, user in ((USER, USER.public), (CLUSTER, b"")):
        with connect(lone, pair) as client:
            for _ in range(2):
                _, body = lone.greet(client)
                assert isinstance(decode_reply(body).outcomes[0], Welcome)
                assert lone.users.pop() == user


def test_a_call_keeps_its_user(lone: Lone) -> None:
    core = lone.gateway._core
    kept: list[bytes] = []
    finish = core._finish

    def keep(call: Call) -> None:
        kept.append(call.user)
        finish(call)

    core._finish = keep  # type: ignore[method-assign]
    with connect(lone, USER) as client:
        lone.greet(client)
    assert kept == [USER.public]


def test_a_request_without_a_user_is_dropped(lone: Lone, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(lone, USER) as client:
        lone.greet(client)
        lone.users.clear()
        with monkeypatch.context() as patch:
            patch.setattr("actors.port._user_id_of", lambda _: "")
            client.socket.send_multipart([b"", GREETING])
            lone.drains_all()
        assert lone.users == []
        lone.greet(client)
        assert lone.users == [USER.public]


def test_a_subscription_without_a_user_is_dropped_and_its_connection_closed(
    lone: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = lone.gateway._publisher.feed.subscriptions
    publish_endpoint = lone.gateway._context.config.bind_address.publish_endpoint
    monkeypatch.setattr(Gatekeeper, "user_of", lambda *_: None)
    with CurveClient(zmq.SUB, publish_endpoint, USER, CLUSTER.public) as client:
        deadline = time.monotonic() + PATIENCE
        succeeded: bool | None = None
        while succeeded is None or lone.gateway._subscribers._accepted:
            assert time.monotonic() < deadline
            lone.gateway.turn(lone.sockets.wait(0.005))
            succeeded = client.succeeded() or succeeded
    assert not subscriptions
