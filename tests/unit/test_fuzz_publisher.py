"""Fuzzed publisher: it survives any subscriber input within its memory bounds."""

import time
from collections.abc import Iterator

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.change_publisher import ChangePublisher
from actors.connections import Connections
from actors.sockets import Sockets
from protocol.gateway.publisher import Publisher
from protocol.gateway.subscriptions import (
    GONE,
    SUBSCRIBE,
    TOPIC_BYTES_MAX,
    TOPICS_MAX,
    TOTAL_TOPIC_BYTES_MAX,
    UNSUBSCRIBE,
    Subscriptions,
)
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, MARK_TOPIC, PREV_TOPIC
from protocol.messages.gateway import Following
from protocol.state.commands import Event
from protocol.wire import SUBSCRIPTION_BYTES_MAX
from skiff.testing import free_port
from skiff.testing.waiting import wait_until
from tests.harness.fuzzing import FUZZ, messages

TOPICS = (
    b"",
    EVENT_TOPIC,
    PREV_TOPIC,
    ESTABLISHED_TOPIC,
    MARK_TOPIC,
    b"x" * (SUBSCRIPTION_BYTES_MAX - 1),
)
topics = st.sampled_from(TOPICS) | st.builds(
    bytes.__add__, st.sampled_from(TOPICS[:5]), st.binary(max_size=8)
)
orders = st.builds(bytes.__add__, st.sampled_from([SUBSCRIBE, UNSUBSCRIBE]), topics)
subscriptions = orders | st.binary(max_size=20)


@given(st.lists(st.tuples(subscriptions, st.integers(0, 3)), max_size=40))
@FUZZ
def test_no_subscription_raises_and_a_closed_connection_drops_its_own(
    sent: list[tuple[bytes, int]],
) -> None:
    subject = Subscriptions()
    held: set[tuple[bytes, int]] = set()
    for frame, connection in sent:
        subject.take(frame, connection)
        change = {SUBSCRIBE: held.add, UNSUBSCRIBE: held.discard}.get(frame[:1])
        if change is not None:
            change((frame[1:], connection))
    assert bool(subject) is bool(held)
    watched = {topic[:1] for topic, _ in held}
    assert subject.has_watchers is bool(watched & {EVENT_TOPIC, PREV_TOPIC})
    assert subject.wants_prev_values is (PREV_TOPIC in watched)
    for connection in range(4):
        subject.forget(connection)
    for topic, _ in held:  # as ZeroMQ does, once the connections are gone
        subject.take(UNSUBSCRIBE + topic, GONE)
    assert not subject
    assert (subject.has_watchers, subject._topics.bytes, subject._connections, subject._payers) == (
        False,
        0,
        {},
        {},
    )
    assert not subject._lost


def test_a_connection_is_excessive_before_its_topics_use_much_memory() -> None:
    @FUZZ
    @given(st.lists(topics, min_size=1, max_size=5))
    def fuzz(chosen: list[bytes]) -> None:
        subject = Subscriptions()
        for number in range(TOPICS_MAX + 1):
            subject.take(SUBSCRIBE + chosen[number % len(chosen)] + b"%03d" % number, 7)
            if subject.is_excessive(7):
                break
        assert subject.is_excessive(7)
        longest = max(map(len, chosen)) + 100
        assert subject._topics.bytes <= min(TOPIC_BYTES_MAX, TOTAL_TOPIC_BYTES_MAX) + longest

    fuzz()


@given(st.lists(messages(Event) | messages(Following), max_size=10), st.floats(0, 1e6))
@FUZZ
def test_the_count_of_queued_bytes_returns_to_zero_for_any_messages(
    published: list[Event | Following], now: float
) -> None:
    subject = Publisher()
    for message in published:
        match message:
            case Event():
                subject.publish((message,), now)
            case Following():
                subject.establish(message, now)
        subject.mark(now, has_subscribers=True)
    subject.flush(bool)
    assert subject._queued_bytes == 0


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    sockets.close()


def test_a_real_subscriber_that_sends_arbitrary_frames_leaves_no_state(sockets: Sockets) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    port = sockets.publisher(endpoint)
    connections = Connections(port)
    subject = ChangePublisher(port, connections, 8, None)

    @settings(FUZZ, max_examples=10)
    @given(st.lists(st.lists(subscriptions, min_size=1, max_size=3), max_size=20))
    def fuzz(sent: list[list[bytes]]) -> None:
        with zmq.Context() as context, context.socket(zmq.XSUB) as subscriber:
            subscriber.linger = 0
            subscriber.connect(endpoint)
            for frames in [*sent, [SUBSCRIBE + ESTABLISHED_TOPIC + b"last"]]:
                subscriber.send_multipart(frames)
            exchange(subject, sockets)
        wait_until(lambda: is_idle(subject, sockets), "what a subscriber had is taken back")

    fuzz()
    kept = subject._subscriptions
    assert (len(connections), kept._connections, kept._lost) == (0, {}, {})


def test_a_host_with_its_share_of_all_topics_is_closed_and_another_one_is_not(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocol.gateway.subscriptions.TOTAL_TOPIC_BYTES_MAX", 300)
    port = free_port()
    publisher = sockets.publisher(f"tcp://127.0.0.1:{port}")
    connections = Connections(publisher)
    subject = ChangePublisher(publisher, connections, 8, None)
    with zmq.Context() as context, context.socket(zmq.SUB) as flood, context.socket(zmq.SUB) as one:
        for socket, host, topics in ((flood, "127.0.0.1", 4), (one, "127.0.0.2", 2)):
            socket.linger, socket.reconnect_ivl = 0, -1
            for number in range(topics):
                socket.subscribe(EVENT_TOPIC + host.encode() + b"%d" % number + b"x" * 20)
            socket.connect(f"tcp://{host}:0;127.0.0.1:{port}")
        held = subject._subscriptions

        def is_alone() -> bool:
            exchange(subject, sockets)
            return held._payers.keys() == {b"\x00127.0.0.2"}

        wait_until(is_alone, "one host is closed")
        assert len(connections) == 1
        assert not held.is_excessive(next(iter(held._connections)))


def is_idle(subject: ChangePublisher, sockets: Sockets) -> bool:
    """Let the publisher handle everything that has arrived; return whether nothing is left."""
    exchange(subject, sockets)
    return not subject._subscriptions and not subject._connections


def exchange(subject: ChangePublisher, sockets: Sockets) -> None:
    """Let the publisher handle everything that has arrived."""
    now = time.monotonic()
    readable = sockets.wait(0.02)
    subject.take_nonces(now)
    subject.turn(readable, now)
