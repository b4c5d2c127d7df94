"""Watch: every change once and in order, over streams that end and pages of history."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.client.changes import ChangeStream, OlderNode, StreamBroken
from protocol.client.watch import Need, Place, Watch
from protocol.messages.client import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    PREV_TOPIC,
    WHOLE,
    ChangePage,
    Established,
    Mark,
    Published,
)
from protocol.state.commands import Event
from protocol.wire import encode

NOW = 100.0


def stream_after(revision: int) -> ChangeStream:
    """Return a stream that a node has confirmed."""
    stream = ChangeStream(b"k/", b"nonce", NOW)
    stream.take((ESTABLISHED_TOPIC + b"nonce", encode(Established(0, revision))), NOW)
    return stream


def change(revision: int, position: int = 0) -> Event:
    return Event(revision, f"k/{revision}", b"v", 0, position)


def hear(watch: Watch, revision: int, position: int = 0, *, last: bool = True) -> Event | None:
    """Let a watch receive a published change."""
    event = change(revision, position)
    body = Published(0, revision, event.key, event.value, 0, position, last)
    return watch.take((EVENT_TOPIC + event.key.encode(), encode(body)), NOW)


def hear_mark(watch: Watch, revision: int) -> None:
    assert watch.take((MARK_TOPIC, encode(Mark(0, revision))), NOW) is None


def needs(watch: Watch) -> Need:
    return watch.need


def fetched(watch: Watch) -> list[Event]:
    """Deliver all fetched changes."""
    found: list[Event] = []
    while (event := watch.next_fetched()) is not None:
        found.append(event)
    return found


def test_a_watch_begins_with_its_first_stream() -> None:
    watch = Watch("k/")
    assert (watch.need, watch.is_established, watch.revision) == (Need.STREAM, False, 0)
    watch.begin_stream(stream_after(5))
    assert (watch.need, watch.is_established, watch.revision) == (Need.MESSAGES, True, 5)
    assert hear(watch, 5) is None
    assert hear(watch, 7) == change(7)
    assert watch.revision == 7


def test_after_another_stream_it_first_needs_what_it_missed() -> None:
    watch = Watch("k/")
    watch.begin_stream(stream_after(5))
    watch.end_stream()
    assert needs(watch) is Need.STREAM
    watch.begin_stream(stream_after(9))
    assert needs(watch) is Need.CHANGES
    request = watch.request()
    assert (request.after, request.position, request.min_revision) == (5, WHOLE, 9)
    watch.take_page(ChangePage((change(6), change(9)), 9, WHOLE, more=False))
    assert fetched(watch) == [change(6), change(9)]
    assert (watch.need, watch.revision) == (Need.MESSAGES, 9)


def test_nothing_is_missed_by_a_stream_from_before_the_place() -> None:
    watch = Watch("k/", since=9)
    watch.begin_stream(stream_after(5))
    watch.take_page(ChangePage((), 9, WHOLE, more=False))
    assert watch.need is Need.MESSAGES
    assert [hear(watch, revision) for revision in (6, 9)] == [None, None]
    assert hear(watch, 10) == change(10)


def test_a_revision_to_begin_after_is_checked_by_a_node_first() -> None:
    watch = Watch("k/", since=9)
    watch.begin_stream(stream_after(9))
    assert (watch.need, watch.is_established) == (Need.CHANGES, False)
    assert watch.request().min_revision == 9
    watch.take_page(ChangePage((), 12, WHOLE, more=False))
    assert (watch.need, watch.is_established, watch.revision) == (Need.MESSAGES, True, 12)


def test_a_page_of_a_node_that_is_further_covers_what_the_stream_sends_again() -> None:
    watch = Watch("k/", since=5)
    watch.begin_stream(stream_after(7))
    watch.take_page(ChangePage((change(7), change(8)), 8, WHOLE, more=False))
    assert fetched(watch) == [change(7), change(8)]
    assert [hear(watch, 8), hear(watch, 9)] == [None, change(9)]


def test_pages_continue_within_a_revision() -> None:
    watch = Watch("k/", since=5)
    watch.begin_stream(stream_after(6))
    watch.take_page(ChangePage((change(6, 0), change(6, 1)), 6, 1, more=True))
    assert fetched(watch) == [change(6, 0), change(6, 1)]
    assert (watch.need, watch.revision) == (Need.CHANGES, 5)
    assert (watch.request().after, watch.request().position) == (6, 1)
    watch.take_page(ChangePage((change(6, 2),), 6, WHOLE, more=False))
    assert fetched(watch) == [change(6, 2)]
    assert (watch.need, watch.revision) == (Need.MESSAGES, 6)


def test_between_the_changes_of_a_revision_the_one_before_is_resumed_from() -> None:
    watch = Watch("k/")
    watch.begin_stream(stream_after(5))
    assert hear(watch, 6, 0, last=False) == change(6, 0)
    assert watch.revision == 5
    assert hear(watch, 6, 2, last=True) == change(6, 2)
    assert watch.revision == 6


def test_a_mark_completes_the_revisions_before_it() -> None:
    watch = Watch("k/")
    watch.begin_stream(stream_after(5))
    hear(watch, 6, 0, last=False)
    hear_mark(watch, 6)
    assert watch.revision == 6
    hear_mark(watch, 40)
    hear_mark(watch, 30)
    assert watch.revision == 40


def test_the_entries_of_a_revision_come_before_a_mark_and_the_changes_after_it() -> None:
    watch = Watch("k/")
    watch.begin_stream(stream_after(5))
    watch.begin_with([Event(3, "k/a", b"v", 0)], 7)
    assert watch.revision == 5
    assert fetched(watch) == [Event(3, "k/a", b"v", 0), Event(7, "", None, 0)]
    assert [hear(watch, revision) for revision in (6, 7, 8)] == [None, None, change(8)]


@given(st.integers())
def test_any_sequence_of_streams_and_pages_delivers_each_change_once(seed: int) -> None:
    chance, last = Random(seed), 12
    log = [change(revision, place) for revision in range(1, last + 1) for place in range(2)]
    since = chance.randint(0, last)
    watch, heard = Watch("k/", since=since), list[Event]()
    published: list[Event] = []
    while len(heard) < 2 * (last - since):
        if watch.need is Need.STREAM:
            begin = chance.randint(0, last)
            watch.begin_stream(stream_after(begin))
            published = log[2 * begin :]
        elif watch.need is Need.CHANGES:
            heard += _fetch(watch, log, chance.randint(1, 5))
        elif published and chance.random() < 0.8:
            event = published.pop(0)
            got = hear(watch, event.revision, event.position, last=event.position == 1)
            heard += [] if got is None else [got]
        else:
            watch.end_stream()
    assert heard == log[2 * since :]


def _fetch(watch: Watch, log: list[Event], count: int) -> list[Event]:
    """Serve a page of up to ``count`` changes; return what it delivers."""
    request = watch.request()
    start = Place(request.after, request.position)
    left = [each for each in log if (each.revision, each.position) > start]
    events = tuple(left[:count])
    if len(left) > count:
        place = Place(events[-1].revision, events[-1].position)
    else:
        place = Place(log[-1].revision)
    watch.take_page(ChangePage(events, *place, more=len(left) > count))
    return fetched(watch)


def test_a_watch_of_previous_values_subscribes_to_them_and_asks_for_them() -> None:
    stream = ChangeStream(b"k/", b"nonce", NOW, prev_value=True)
    assert stream.topics[0] == PREV_TOPIC + b"k/"
    confirmation = encode(Established(0, 5, prev_values=True))
    stream.take((ESTABLISHED_TOPIC + b"nonce", confirmation), NOW)
    watch = Watch("k/", since=4, prev_value=True)
    watch.begin_stream(stream)
    assert watch.request().prev_value
    event = Event(5, "k/a", b"new", 3, prev_value=b"old")
    watch.take_page(ChangePage((event,), 5, WHOLE, more=False, prev_values=True))
    assert fetched(watch) == [event]
    body = encode(Published(0, 6, "k/a", None, 5, prev_value=b"new"))
    heard = watch.take((PREV_TOPIC + b"k/a", body), NOW)
    assert heard == Event(6, "k/a", None, 5, prev_value=b"new")


def test_a_watch_of_previous_values_takes_neither_streams_nor_pages_of_an_older_node() -> None:
    stream = ChangeStream(b"k/", b"nonce", NOW, prev_value=True)
    with pytest.raises(OlderNode, match="older version"):
        stream.take((ESTABLISHED_TOPIC + b"nonce", encode((0, 5))), NOW)
    assert not stream.is_established
    watch = Watch("k/", since=4, prev_value=True)
    watch.begin_stream(stream_after(5))
    with pytest.raises(OlderNode):
        watch.take_page(ChangePage((change(5),), 5, WHOLE, more=False))
    assert (watch.is_established, fetched(watch)) == (False, [])


def test_a_loss_ends_the_stream_only() -> None:
    watch = Watch("k/")
    watch.begin_stream(stream_after(5))
    with pytest.raises(StreamBroken):
        watch.take((MARK_TOPIC, encode(Mark(1, 9))), NOW)
    assert watch.revision == 5
