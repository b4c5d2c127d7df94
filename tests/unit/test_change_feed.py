"""The change feed: its messages to storage, and the order and losses of published changes."""

import msgspec
import pytest

from protocol.gateway.change_feed import ChangeFeed
from protocol.gateway.publisher import Message
from protocol.membership import Membership
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, PREV_TOPIC, Mark
from protocol.messages.gateway import Changes, ChangesLost, Following, Leadership
from protocol.messages.storage import FollowChanges, IgnoreChanges
from protocol.state.commands import Event
from protocol.status import RoleName
from protocol.wire import decode_established, decode_published

MEMBER = Leadership(b"c" * 16, 1, RoleName.FOLLOWER, None, "", Membership(), False, False)
REMOVED = msgspec.structs.replace(MEMBER, removed=True)
SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"


@pytest.fixture
def feed() -> ChangeFeed:
    return ChangeFeed()


class Pipe:
    """Takes a number of messages."""

    def __init__(self, room: int = 100) -> None:
        self._room = room
        self.messages: list[Message] = []

    def send(self, message: Message) -> bool:
        if len(self.messages) == self._room:
            return False
        self.messages.append(message)
        return True


def published(feed: ChangeFeed, now: float) -> list[Message]:
    """Return the messages that are due, a mark among them."""
    pipe = Pipe()
    feed.publisher.mark(now, has_subscribers=True)
    feed.publisher.flush(pipe.send)
    return pipe.messages


def losses(feed: ChangeFeed, now: float) -> int:
    (message,) = published(feed, now)
    return msgspec.msgpack.decode(message.body, type=Mark).losses


def test_storage_sends_changes_only_while_there_are_watchers(feed: ChangeFeed) -> None:
    assert feed.follow([]) == []
    feed.subscriptions.take(SUBSCRIBE + EVENT_TOPIC, 7, is_lost=False)
    assert feed.follow([b"n"]) == [FollowChanges(b"n")]
    assert feed.follow([]) == []
    feed.subscriptions.take(UNSUBSCRIBE + EVENT_TOPIC, 7, is_lost=False)
    assert feed.follow([]) == [IgnoreChanges()]
    assert feed.follow([]) == []


def test_messages_of_storage_are_published_in_order(feed: ChangeFeed) -> None:
    feed.step(Changes((Event(4, "a", b"", 0),)), 0.0)
    feed.step(Following(b"n", 4), 0.0)
    topics = [message.topic for message in published(feed, 0.0)]
    assert topics == [EVENT_TOPIC + b"a", ESTABLISHED_TOPIC + b"n"]


def test_previous_values_are_published_only_to_those_who_ask_and_while_they_do(
    feed: ChangeFeed,
) -> None:
    def topics_and_values(revision: int) -> list[tuple[bytes, bytes | None]]:
        feed.step(Changes((Event(revision, "a", b"new", 1, prev_value=b"old"),)), 0.0)
        sent = published(feed, 0.0)
        return [(each.topic[:1], decode_published(each.body).prev_value) for each in sent]

    feed.subscriptions.take(SUBSCRIBE + EVENT_TOPIC, 7, is_lost=False)
    assert topics_and_values(2) == [(EVENT_TOPIC, None)]
    feed.subscriptions.take(SUBSCRIBE + PREV_TOPIC + b"else", 8, is_lost=False)
    assert topics_and_values(3) == [(EVENT_TOPIC, None), (PREV_TOPIC, b"old")]
    feed.subscriptions.take(UNSUBSCRIBE + PREV_TOPIC + b"else", 8, is_lost=False)
    assert topics_and_values(4) == [(EVENT_TOPIC, None)]


def test_a_subscriber_of_previous_values_is_a_watcher_and_learns_that_there_are_some(
    feed: ChangeFeed,
) -> None:
    feed.subscriptions.take(SUBSCRIBE + PREV_TOPIC, 7, is_lost=False)
    assert feed.follow([b"n"]) == [FollowChanges(b"n")]
    assert feed.follow([]) == []
    feed.step(Following(b"n", 4), 0.0)
    (confirmation,) = published(feed, 0.0)
    assert decode_established(confirmation.body).prev_values


def test_a_loss_is_reported_at_once(feed: ChangeFeed) -> None:
    feed.step(ChangesLost(9), 1.0)
    assert losses(feed, 1.0) == 1


def test_a_removed_node_reports_one_loss_and_confirms_no_subscription(feed: ChangeFeed) -> None:
    feed.step(MEMBER, 0.0)
    feed.step(REMOVED, 1.0)
    assert losses(feed, 1.0) == 1
    feed.step(REMOVED, 2.0)
    assert losses(feed, 2.0) == 1
    feed.subscriptions.take(SUBSCRIBE + EVENT_TOPIC, 7, is_lost=False)
    assert feed.follow([b"n"]) == []
    feed.step(MEMBER, 3.0)
    assert feed.follow([b"n"]) == [FollowChanges(b"n")]


def test_flushing_stops_at_a_full_pipe_and_resumes_there(feed: ChangeFeed) -> None:
    for revision in (1, 2, 3):
        feed.step(Changes((Event(revision, f"k{revision}", b"", 0),)), 0.0)
    feed.publisher.flush(Pipe(room=1).send)
    assert [message.topic for message in published(feed, 0.0)] == [
        EVENT_TOPIC + b"k2",
        EVENT_TOPIC + b"k3",
    ]
