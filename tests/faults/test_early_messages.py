"""Early messages: actors start concurrently, so some get messages before they are ready."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from actors.lifeline import Ready, Start, open_lifeline
from protocol.config import NodeConfig
from protocol.membership import Member, Membership
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Hello, Request, Welcome
from protocol.messages.gateway import Leadership, Opened
from protocol.state.levels import STATE_LEVEL
from protocol.status import RoleName
from protocol.wire import decode_reply, encode
from skiff.testing import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.plain]

NODE, CLUSTER = b"n" * 16, b"c" * 16
PATIENCE_MS = 20_000
GATEWAY = """
from actors.actor import run
from actors.client_gateway import ClientGateway
run("client_gateway", ClientGateway)
"""


@pytest.fixture
def names() -> Iterator[Path]:
    """A directory with a path short enough for ipc sockets."""
    with tempfile.TemporaryDirectory(prefix="early-") as place:
        yield Path(place)


def test_the_gateway_keeps_a_leadership_message_that_arrives_before_it_is_ready(
    names: Path,
) -> None:
    config = NodeConfig(dir=str(names / "data"), port=free_port())
    address = str(config.address)
    membership = Membership((Member(NODE, address, True),))
    leads = Leadership(CLUSTER, 2, RoleName.LEADER, NODE, address, membership, False, False)
    lifeline, theirs = open_lifeline()
    gateway = subprocess.Popen([sys.executable, "-P", "-c", GATEWAY], stdin=theirs.fileno())
    theirs.close()
    try:
        lifeline.order(Start(config, str(names), None))
        with zmq.Context[zmq.Socket[bytes]]() as context:
            with context.socket(zmq.PUSH) as inbox:
                inbox.connect(f"ipc://{names}/gateway")
                for message in (leads, Opened(NODE, CLUSTER, 1)):
                    inbox.send(encode([message]))
                assert lifeline.reports() == [Ready(NODE.hex())]
            assert greet(context, config) == Welcome(
                CLUSTER,
                NODE,
                config.address.publish_endpoint,
                NODE,
                address,
                membership,
                STATE_LEVEL,
            )
    finally:
        end(gateway)
        lifeline.close()


def greet(context: "zmq.Context[zmq.Socket[bytes]]", config: NodeConfig) -> object:
    """Return the gateway's reply to a client's greeting."""
    with context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.connect(config.address.client_endpoint)
        client.send(encode(Request(CLIENT_PROTOCOL_VERSION, 1, PATIENCE_MS, (Hello(),))))
        assert client.poll(PATIENCE_MS), "the gateway does not answer"
        return decode_reply(client.recv()).outcomes[0]


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
