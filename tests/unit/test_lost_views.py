"""Lost views: a count, or the entries of a watch, are read anew when a node has lost their view."""

from collections.abc import Callable

import pytest

from protocol.client.initial_entries import ATTEMPTS_MAX
from protocol.client.routing import Route
from protocol.messages.client import Page, Scan
from skiff import StreamClosed, reads
from skiff.arguments import ReadMode
from skiff.method import Idempotent, Method, anchored

ROUTE = Route(["tcp://127.0.0.1:1"], follow_leader=False)
METHODS: list[Callable[[], Method[object]]] = [
    lambda: reads.count("", ReadMode()),
    lambda: reads.entries(""),
]


def scan_of(request: object) -> Scan:
    assert isinstance(request, Idempotent)
    assert isinstance(request.operation, Scan)
    return request.operation


@pytest.mark.parametrize("method", METHODS)
def test_a_lost_view_begins_a_new_scan_at_any_node(method: Callable[[], Method[object]]) -> None:
    requests = method()
    first = next(requests)
    assert isinstance(first, Idempotent)
    assert first.anchor is not None
    anchored(first.anchor, ROUTE)
    following = requests.send(Page(5, (), 7, "k", more=True))
    assert (scan_of(following).revision, scan_of(following).start_after) == (5, "k")
    again = requests.throw(StreamClosed("the view is gone"))
    assert isinstance(again, Idempotent)
    assert again.anchor is not None
    assert (scan_of(again).revision, scan_of(again).start_after) == (0, None)
    assert (scan_of(again).scan == scan_of(first).scan, again.anchor.link) == (False, None)
    with pytest.raises(StopIteration) as ended:
        requests.send(Page(6, (), 3, "k", more=False))
    assert ended.value.value == 3 or ended.value.value.revision == 6


@pytest.mark.parametrize("method", METHODS)
def test_a_view_that_is_lost_each_time_ends_it(method: Callable[[], Method[object]]) -> None:
    requests = method()
    next(requests)
    for _ in range(ATTEMPTS_MAX - 1):
        requests.throw(StreamClosed("the view is gone"))
    with pytest.raises(StreamClosed):
        requests.throw(StreamClosed("the view is gone"))
