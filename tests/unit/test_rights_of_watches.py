"""Rights of watches: a subscription takes effect only if the user may watch its whole prefix."""

import pytest
import zmq

from actors.port import Port
from actors.sockets import Sockets
from protocol.audit import fingerprint
from protocol.gateway.change_feed import ChangeFeed
from protocol.gateway.subscriptions import GONE, Subscriptions
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, MARK_TOPIC, PREV_TOPIC
from protocol.messages.gateway import RightsUpdate
from protocol.state.rights import Rights
from protocol.state.user_commands import Right, Role, User
from skiff.testing import free_port

ON, OFF = b"\1", b"\0"
BOB, CAROL = b"b" * 32, b"c" * 32
USERS = (User("bob", (BOB,), ("clerk",)),)
ROLES = (Role("clerk", ((Right.WATCH, "jobs/"),)),)


@pytest.fixture
def subscriptions() -> Subscriptions:
    """Return subscriptions that know a user of some rights."""
    subscriptions = Subscriptions()
    assert subscriptions.learn_rights(Rights(USERS, ROLES)) == []
    return subscriptions


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        (EVENT_TOPIC + b"jobs/", True),
        (PREV_TOPIC + b"jobs/1", True),
        (EVENT_TOPIC + b"jobs", False),
        (PREV_TOPIC + b"jobs2/", False),
        (EVENT_TOPIC, False),
        (b"", False),
        (EVENT_TOPIC + b"jobs/\xd0", False),
        (MARK_TOPIC, True),
        (ESTABLISHED_TOPIC + b"nonce", True),
    ],
)
def test_a_user_may_subscribe_to_prefixes_under_its_own(
    subscriptions: Subscriptions, topic: bytes, allowed: bool
) -> None:
    assert subscriptions.denies(ON + topic, 1, BOB) != allowed
    assert not subscriptions.denies(ON + topic, 2, b"")
    assert subscriptions.denies(ON + topic, 3, CAROL), "no user has the key"


def test_nothing_more_is_accepted_of_a_connection_that_was_denied(
    subscriptions: Subscriptions,
) -> None:
    assert subscriptions.denies(ON + EVENT_TOPIC, 1, BOB)
    assert subscriptions.denies(ON + MARK_TOPIC, 1, BOB)
    subscriptions.forget(1)
    assert not subscriptions.denies(ON + MARK_TOPIC, 1, BOB)


def test_a_denied_subscription_is_recorded_once_for_its_connection(
    subscriptions: Subscriptions,
) -> None:
    for topic in (EVENT_TOPIC + b"jobs/", MARK_TOPIC):
        assert not subscriptions.denies(ON + topic, 1, BOB)
    assert subscriptions.take_records() == []
    for prefix in (b"secret/", b"others/"):
        assert subscriptions.denies(ON + EVENT_TOPIC + prefix, 1, BOB)
    assert subscriptions.denies(ON + PREV_TOPIC + b"\xd0", GONE, BOB)
    assert subscriptions.denies(ON + MARK_TOPIC, 3, CAROL)
    records = subscriptions.take_records()
    assert [(each.user, each.target, each.outcome) for each in records] == [
        ("bob", "watch secret/", "denied"),
        ("bob", "watch \ufffd", "denied"),
        ("", "known user", "denied"),
    ]
    assert {each.operation for each in records} == {"Subscribe"}
    assert [each.key for each in records] == [fingerprint(each) for each in (BOB, BOB, CAROL)]
    assert subscriptions.take_records() == []


def test_a_connection_is_closed_when_a_right_to_one_of_its_topics_is_lost() -> None:
    feed = ChangeFeed()
    feed.step(RightsUpdate(USERS, ROLES), 0.0)
    for connection, topic, user in (
        (1, EVENT_TOPIC + b"jobs/", BOB),
        (2, MARK_TOPIC, BOB),
        (3, EVENT_TOPIC, b""),
    ):
        feed.subscriptions.take(ON + topic, connection, user=user)
    feed.step(RightsUpdate(USERS, ROLES), 0.0)
    assert feed.take_denied() == []
    feed.step(RightsUpdate(USERS, (Role("clerk", ((Right.READ, "jobs/"),)),)), 0.0)
    assert feed.take_denied() == [1]
    feed.step(RightsUpdate((), ()), 0.0)
    assert feed.take_denied() == [2]


# --- with real sockets


def read_frames(sockets: Sockets, port: Port, count: int) -> list[bytes]:
    frames: list[bytes] = []
    while len(frames) < count:
        assert sockets.wait(5.0)
        assert port.monitor is not None
        for _ in port.monitor.drain():
            pass  # new connections
        for frame, _, _ in port.drain_from():
            if frame != ON + b"refused":
                port.admit(frame)
            frames.append(frame)
    return frames


def test_a_manual_publisher_sends_nothing_to_a_subscription_that_is_not_admitted() -> None:
    sockets, context = Sockets(), zmq.Context()
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    try:
        port = sockets.publisher(endpoint, manual=True)
        refused, admitted = context.socket(zmq.SUB), context.socket(zmq.SUB)
        for socket, topic in ((refused, b"refused"), (admitted, b"")):
            socket.setsockopt(zmq.SUBSCRIBE, topic)
            socket.connect(endpoint)
        assert sorted(read_frames(sockets, port, 2)) == [ON, ON + b"refused"]
        assert port.send(b"refused", b"body")
        assert admitted.poll(5000)
        assert not refused.poll(50)
        admitted.setsockopt(zmq.UNSUBSCRIBE, b"")
        admitted.setsockopt(zmq.SUBSCRIBE, b"other")
        assert sorted(read_frames(sockets, port, 2)) == [OFF, ON + b"other"]
        admitted.recv_multipart()
        assert port.send(b"refused", b"body")
        assert port.send(b"other", b"body")
        assert admitted.recv_multipart() == [b"other", b"body"]
    finally:
        context.destroy(linger=0)
        sockets.close()
