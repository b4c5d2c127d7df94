"""Subscriptions: the topics of subscribers, and the maximum per connection."""

from typing import Any

import pytest

from protocol.client.changes import ChangeStream
from protocol.gateway.shares import SHARE
from protocol.gateway.subscriptions import (
    GONE,
    TOPIC_BYTES_MAX,
    TOPICS_MAX,
    TOTAL_TOPIC_BYTES_MAX,
    Subscriptions,
)
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, MARK_TOPIC, PREV_TOPIC
from protocol.state.rights import Rights
from protocol.state.user_commands import User

ON, OFF = b"\1", b"\0"


def watched(subscriptions: Subscriptions) -> bool:
    return subscriptions.has_watchers


def test_a_subscription_returns_its_nonce_and_registers_a_watcher() -> None:
    subscriptions = Subscriptions()
    assert not watched(subscriptions)
    assert subscriptions.take(ON + MARK_TOPIC, 1) is None
    assert subscriptions.take(ON + EVENT_TOPIC + b"jobs/", 1) is None
    assert subscriptions.take(ON + ESTABLISHED_TOPIC + b"nonce", 1) == b"nonce"
    assert watched(subscriptions)


def test_a_topic_of_two_subscribers_ends_with_the_second() -> None:
    subscriptions = Subscriptions()
    for connection in (1, 2):
        subscriptions.take(ON + EVENT_TOPIC, connection)
    subscriptions.take(OFF + EVENT_TOPIC, 1)
    assert watched(subscriptions)
    subscriptions.forget(2)
    assert watched(subscriptions)  # until ZeroMQ takes it back
    subscriptions.take(OFF + EVENT_TOPIC, GONE)
    assert not watched(subscriptions)
    assert not subscriptions


def test_a_topic_may_be_taken_back_before_its_connection_is_reported_lost() -> None:
    subscriptions = Subscriptions()
    for connection in (1, 2):
        subscriptions.take(ON + EVENT_TOPIC, connection)
    subscriptions.take(ON + MARK_TOPIC, 1)
    for _ in range(3):  # of which two have no subscription, or belong to another connection
        subscriptions.take(OFF + MARK_TOPIC, GONE)
    subscriptions.take(OFF + EVENT_TOPIC, GONE)
    assert watched(subscriptions)
    subscriptions.forget(1)
    assert watched(subscriptions)
    subscriptions.take(OFF + EVENT_TOPIC, GONE)  # the second loss, likewise
    subscriptions.forget(2)
    assert not watched(subscriptions)
    assert not subscriptions
    assert not subscriptions._lost
    assert not subscriptions._early


def test_nothing_is_left_of_lost_connections_once_none_is_open() -> None:
    subscriptions = Subscriptions()
    subscriptions.take(ON + EVENT_TOPIC, 2)
    subscriptions.take(ON + EVENT_TOPIC, 1, is_lost=True)
    subscriptions.forget(2)
    subscriptions.take(OFF + EVENT_TOPIC, GONE)
    subscriptions.take(ON + EVENT_TOPIC, 1, is_lost=True)  # which ZeroMQ counts once
    subscriptions.take(OFF + EVENT_TOPIC, GONE)
    assert watched(subscriptions)
    subscriptions.drop_lost()
    assert not subscriptions
    assert subscriptions._topics.bytes == 0


def test_previous_values_are_wanted_while_a_subscriber_has_a_topic_of_theirs() -> None:
    subscriptions = Subscriptions()
    seen: list[tuple[bool, bool]] = []
    for frame in (ON + EVENT_TOPIC, ON + PREV_TOPIC + b"jobs/", OFF + EVENT_TOPIC):
        subscriptions.take(frame, 1)
        seen.append((watched(subscriptions), subscriptions.wants_prev_values))
    assert seen == [(True, False), (True, True), (True, True)]
    subscriptions.take(OFF + PREV_TOPIC + b"jobs/", 1)
    assert not subscriptions
    assert (watched(subscriptions), subscriptions.wants_prev_values) == (False, False)


def test_a_connection_has_a_bounded_number_of_topics() -> None:
    subscriptions = Subscriptions()
    for number in range(TOPICS_MAX):
        subscriptions.take(ON + EVENT_TOPIC + b"%d" % number, 1)
    assert not subscriptions.is_excessive(1)
    assert subscriptions.take(ON + ESTABLISHED_TOPIC + b"nonce", 1) is None
    assert subscriptions.is_excessive(1)
    subscriptions.take(ON + EVENT_TOPIC, 2)
    assert not subscriptions.is_excessive(2)


def test_a_connection_that_keeps_changing_its_topics_is_not_excessive() -> None:
    subscriptions = Subscriptions()
    for number in range(100_000):
        subscriptions.take(ON + EVENT_TOPIC + b"%d" % number, 1)
        subscriptions.take(OFF + EVENT_TOPIC + b"%d" % number, 1)
    assert not subscriptions.is_excessive(1)
    assert not subscriptions


def test_long_topics_count_by_their_bytes() -> None:
    subscriptions = Subscriptions()
    for number in range(TOPIC_BYTES_MAX // 4000 + 1):
        subscriptions.take(ON + EVENT_TOPIC + b"%04d" % number * 1000, 1)
    assert subscriptions.is_excessive(1)


def test_the_topics_of_all_connections_together_are_bounded() -> None:
    subscriptions = Subscriptions()
    connection = 0
    while not subscriptions.is_excessive(connection):
        connection += 1
        for number in range(10):
            topic = b"%08d %d" % (connection, number) + b"x" * 4000
            subscriptions.take(ON + EVENT_TOPIC + topic, connection)
    assert connection <= TOTAL_TOPIC_BYTES_MAX // 40_000 + 1


ANN, BEN = (bytes([number]) * 32 for number in (1, 2))


@pytest.mark.parametrize(
    ("flooding", "other"),
    [
        ({"user": ANN, "host": "10.0.0.1"}, {"user": BEN, "host": "10.0.0.1"}),
        ({"host": "10.0.0.1"}, {"host": "10.0.0.2"}),
        ({"host": "10.0.0.1"}, {"user": ANN, "host": "10.0.0.1"}),
    ],
    ids=["users", "hosts", "no user and a user"],
)
def test_one_user_or_host_has_half_of_all_topics_and_others_find_room(
    flooding: dict[str, Any], other: dict[str, Any]
) -> None:
    subscriptions = Subscriptions()
    excessive = [
        connection for connection in range(100) if fill(subscriptions, connection, flooding)
    ]
    first = excessive[0]
    assert 0.9 < first * TOPIC_BYTES_MAX * SHARE / TOTAL_TOPIC_BYTES_MAX < 1.1
    for connection in excessive:
        subscriptions.forget(connection)
    subscriptions.drop_lost()
    assert not fill(subscriptions, 1000, other)
    assert fill(subscriptions, 1001, flooding)
    subscriptions.forget(0)
    subscriptions.forget(1001)
    assert not fill(subscriptions, 1002, flooding), "what it has left counts no more"


def test_a_user_has_one_share_for_both_of_its_keys() -> None:
    subscriptions = Subscriptions()
    subscriptions.learn_rights(Rights([User("ann", (ANN, BEN), ("admin",))]))
    excessive = [fill(subscriptions, each, {"user": (ANN, BEN)[each % 2]}) for each in range(40)]
    assert any(excessive)


def test_the_same_topics_of_many_connections_of_a_user_count_once() -> None:
    subscriptions = Subscriptions()
    for connection in range(1000):
        for number in range(100):
            subscriptions.take(ON + EVENT_TOPIC + b"%d" % number * 100, connection, user=ANN)
        assert not subscriptions.is_excessive(connection)


def fill(subscriptions: Subscriptions, connection: int, whose: dict[str, Any]) -> bool:
    """Subscribe to as many bytes as one connection may; return whether that is too much."""
    for number in range(16):
        topic = EVENT_TOPIC + b"%08d %02d" % (connection, number) + b"x" * 4000
        subscriptions.take(ON + topic, connection, **whose)
    return subscriptions.is_excessive(connection)


def test_unmatched_and_malformed_frames_are_ignored() -> None:
    subscriptions = Subscriptions()
    subscriptions.take(OFF + b"never begun", 1)
    subscriptions.take(b"no subscription", 1)
    subscriptions.take(b"", 1)
    assert not subscriptions


def test_a_new_connection_subscribes_to_changes_before_it_asks_for_the_confirmation() -> None:
    for prev_value in (False, True):
        topics = ChangeStream(b"jobs/", b"nonce", 0.0, prev_value=prev_value).topics
        assert min(topics) == topics[0]  # ZeroMQ sends them in the order of their bytes
