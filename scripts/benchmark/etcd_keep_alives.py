"""etcd keep-alives: any number in flight over one stream, as etcd's own clients send them."""

import asyncio
from collections import deque
from typing import Any

import grpc.aio

from scripts.benchmark import etcd_messages as messages


def keep_alive_stream(channel: Any) -> Any:
    """Return the function that opens a stream of keep-alives."""
    return channel.stream_stream(
        f"/{messages.PACKAGE}.Lease/LeaseKeepAlive",
        request_serializer=messages.LeaseKeepAliveRequest.SerializeToString,
        response_deserializer=messages.LeaseKeepAliveResponse.FromString,
    )


class EtcdKeepAlives:
    """A stream to one node, which answers in order."""

    def __init__(self, channel: Any, lease: int) -> None:
        """Keep one lease alive."""
        self._stream = keep_alive_stream(channel)()
        self._request = messages.LeaseKeepAliveRequest(ID=lease)
        self._awaited: deque[asyncio.Future[None]] = deque()
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())

    async def send(self) -> None:
        """Keep the lease alive; return once the node has answered."""
        answered = asyncio.get_running_loop().create_future()
        async with self._writing:
            self._awaited.append(answered)
            await self._stream.write(self._request)
        await answered

    async def close(self) -> None:
        """End the stream."""
        self._stream.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        while (answer := await self._stream.read()) is not grpc.aio.EOF:
            future = self._awaited.popleft()
            if answer.TTL <= 0:
                future.set_exception(RuntimeError("the lease has expired"))
            elif not future.done():
                future.set_result(None)
