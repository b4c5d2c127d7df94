"""etcd's watches in the benchmark: bytes of the messages, and events by their watch.

Skipped where gRPC and protobuf, which the extra `bench` brings, are not installed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

messages = pytest.importorskip("scripts.benchmark.etcd_messages")
watches = pytest.importorskip("scripts.benchmark.etcd_watches")


class Stream:
    """Both the channel and its stream: replies are put by the test, None ends them."""

    def __init__(self, eof: object) -> None:
        self.sent: list[Any] = []
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self._eof = eof

    def stream_stream(self, method: str, **_: object) -> Callable[[], "Stream"]:
        assert method == "/etcdserverpb.Watch/Watch"
        return lambda: self

    async def write(self, request: Any) -> None:
        self.sent.append(request)
        self.replies.put_nowait(messages.WatchResponse(watch_id=len(self.sent), created=True))

    async def read(self) -> Any:
        return await self.replies.get() or self._eof

    def cancel(self) -> None:
        self.replies.put_nowait(None)


def an_event(watch_id: int, *values: bytes) -> Any:
    events = [{"kv": {"key": b"a/1", "value": each}} for each in values]
    return messages.WatchResponse(watch_id=watch_id, events=events)


def test_a_watch_is_requested_in_etcds_bytes() -> None:
    begin, end = messages.range_of("a/")
    create = messages.WatchCreateRequest(key=begin, range_end=end)
    request = messages.WatchRequest(create_request=create)
    assert request.SerializeToString() == b"\x0a\x08\x0a\x02a/\x12\x02a0"


def test_an_event_is_read_from_etcds_bytes() -> None:
    # A put of a/1 with revisions, which are not described; then the same in a response.
    event = b"\x08\x00\x12\x0c\x0a\x03a/1\x10\x05\x18\x05\x2a\x01v"
    answer = messages.WatchResponse.FromString(b"\x10\x07\x5a" + bytes([len(event)]) + event)
    assert (answer.watch_id, answer.created, answer.events[0].kv.value) == (7, False, b"v")


def test_events_reach_their_watch_and_the_end_of_the_stream_reaches_all() -> None:
    async def run() -> list[list[bytes]]:
        stream = Stream(watches.grpc.aio.EOF)
        shared = watches.EtcdWatches(stream)
        created = await shared.create("a/", 2)
        for reply in (an_event(2, b"x", b"y"), an_event(1, b"x")):
            stream.replies.put_nowait(reply)
        await shared.close()
        return [[change.value async for change in watch] for watch in created]

    assert asyncio.run(run()) == [[b"x"], [b"x", b"y"]]
