"""etcd watches: any number over one stream, as etcd's own clients have them."""

import asyncio
from typing import Any, Self

import grpc.aio

from scripts.benchmark import etcd_messages as messages


class EtcdWatch:
    """The changes of one watch, in order."""

    def __init__(self) -> None:
        self.unread: asyncio.Queue[Any] = asyncio.Queue()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Return the key and value of the next change."""
        change = await self.unread.get()
        if change is None:
            raise StopAsyncIteration
        return change


class EtcdWatches:
    """A stream to one node, and the watches that receive its events."""

    def __init__(self, channel: Any) -> None:
        self._stream = channel.stream_stream(
            f"/{messages.PACKAGE}.Watch/Watch",
            request_serializer=messages.WatchRequest.SerializeToString,
            response_deserializer=messages.WatchResponse.FromString,
        )()
        self._watches: dict[int, EtcdWatch] = {}
        self._created: asyncio.Queue[EtcdWatch] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def create(self, prefix: str, watches: int) -> list[EtcdWatch]:
        """Watch a prefix a number of times; return when the node has confirmed all."""
        begin, end = messages.range_of(prefix)
        create = messages.WatchCreateRequest(key=begin, range_end=end)
        for _ in range(watches):
            await self._stream.write(messages.WatchRequest(create_request=create))
        return [await self._created.get() for _ in range(watches)]

    async def close(self) -> None:
        """End the stream, and with it all watches."""
        self._stream.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            while (answer := await self._stream.read()) is not grpc.aio.EOF:
                self._take(answer)
        finally:
            for watch in self._watches.values():
                watch.unread.put_nowait(None)

    def _take(self, answer: Any) -> None:
        if answer.created:
            watch = self._watches[answer.watch_id] = EtcdWatch()
            self._created.put_nowait(watch)
            return
        unread = self._watches[answer.watch_id].unread
        for event in answer.events:
            unread.put_nowait(event.kv)
