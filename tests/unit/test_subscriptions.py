"""Subscriptions: the topics of subscribers, and the maximum per connection."""

from protocol.client.changes import ChangeStream
from protocol.gateway.subscriptions import (
    GONE,
    TOPIC_BYTES_MAX,
    TOPICS_MAX,
    TOTAL_TOPIC_BYTES_MAX,
    Subscriptions,
)
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, MARK_TOPIC, PREV_TOPIC

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
    assert subscriptions._bytes == 0


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
