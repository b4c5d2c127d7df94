"""Fuzzed gateway: it replies to any client input, and keeps nothing beyond the deadline."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.client_gateway import ClientGateway
from actors.logs import OncePerSender
from actors.port import Port
from actors.sockets import Sockets
from protocol.config import NodeConfig
from protocol.gateway.gateway import TIMEOUT_MS_MAX
from protocol.gateway.reply_budget import CONNECTIONS_NOTED_MAX
from protocol.membership import Member, Membership
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Operation, Request
from protocol.messages.gateway import Leadership, Opened
from protocol.status import RoleName
from protocol.wire import decode_reply, encode
from skiff.testing import free_port
from tests.harness.fuzzing import FUZZ, frames, messages
from tests.harness.lone_actor import surround, tell

CLUSTER, NODE, OTHER = b"c" * 16, b"A" * 16, b"B" * 16
MEMBERS = Membership((Member(NODE, "127.0.0.1:1", True), Member(OTHER, "127.0.0.1:4", True)))
LEADERSHIP = Leadership(CLUSTER, 1, RoleName.LEADER, NODE, "127.0.0.1:1", MEMBERS, False, False)

operations = st.lists(messages(Operation), min_size=1, max_size=3).map(tuple)
requests = st.builds(
    Request,
    st.just(CLIENT_PROTOCOL_VERSION),
    st.integers(0, 9),
    st.sampled_from([0, 1, 60_000, 1 << 63]),
    operations,
)
bodies = requests.map(encode) | frames(Request)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientGateway]:
    monkeypatch.chdir(tmp_path)
    sockets = Sockets()
    others = tell(sockets, "gateway", Opened(NODE, CLUSTER, 1), LEADERSHIP)
    config = NodeConfig(dir=str(tmp_path), port=free_port())
    yield ClientGateway(surround("client_gateway", config, sockets))
    others.close()
    sockets.close()


def forget_by_time(gateway: ClientGateway) -> None:
    """Let every deadline pass."""
    later = time.monotonic() + TIMEOUT_MS_MAX / 1000 + 1
    for _ in range(2):  # the second sweep ends what the first has marked
        gateway._core._sweep(later)
    gateway._core.flush(later)


def assert_nothing_is_kept(gateway: ClientGateway) -> None:
    forget_by_time(gateway)
    calls = gateway._core._acceptance.calls
    assert (calls.count, calls.operations, calls.bytes) == (0, 0, 0)
    core = gateway._core
    assert not any((core._pending, core._writes, core._reads.queues, core._admin))
    budget = gateway._core.reply_budget
    assert not budget._waiting
    assert not budget._payers
    assert not budget._held
    assert len(budget._uncounted) <= CONNECTIONS_NOTED_MAX
    assert len(gateway._malformed._senders) <= OncePerSender.SENDERS_MAX


def test_no_request_raises_and_every_call_is_freed_by_its_deadline(gateway: ClientGateway) -> None:
    @FUZZ
    @given(st.binary(min_size=5, max_size=5), st.lists(bodies, min_size=1, max_size=3))
    def fuzz(client: bytes, sent: list[bytes]) -> None:
        now = time.monotonic()
        for body in sent:
            gateway._receive([client, body], b"", now)
        gateway._send(now)

    fuzz()
    assert_nothing_is_kept(gateway)


def test_no_number_of_frames_raises(gateway: ClientGateway) -> None:
    parts = st.just(b"") | bodies

    @FUZZ
    @given(st.binary(min_size=5, max_size=5), st.lists(parts, min_size=1, max_size=5))
    def fuzz(client: bytes, sent: list[bytes]) -> None:
        now = time.monotonic()
        gateway._receive([client, *sent], b"", now)
        gateway._send(now)

    fuzz()
    assert_nothing_is_kept(gateway)


def test_replies_to_arbitrary_requests_on_a_connection_follow_the_protocol(
    gateway: ClientGateway,
) -> None:
    client = gateway._sockets.peer_dealer(gateway._context.config.address.client_endpoint)
    answers = 0

    @settings(FUZZ, max_examples=100)
    @given(frames(Request))
    def fuzz(body: bytes) -> None:
        nonlocal answers
        answers += exchange(gateway, client, body)

    fuzz()
    assert answers > 50
    assert_nothing_is_kept(gateway)


def exchange(gateway: ClientGateway, client: Port, body: bytes) -> int:
    """Send a body over a real connection; return the number of replies so far."""
    deadline = time.monotonic() + 5.0
    while not client.send(body):
        assert time.monotonic() < deadline, "no connection"
        gateway.turn(gateway._sockets.wait(0.01))
    gateway.turn(gateway._sockets.wait(0.01))
    replies = [decode_reply(frames[-1]) for frames in client.drain()]
    return len(replies)
