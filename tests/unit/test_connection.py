"""Connections: requests reach one node only, and soon."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
import zmq

from protocol.client.multiplexer import FULL_FRAME_REQUESTS
from protocol.client.steps import Ask
from protocol.messages.client import Get
from protocol.wire import decode_request
from skiff.async_connection import AsyncConnection
from skiff.connection import CONNECT_SECONDS, Connection, ConnectionLost
from skiff.testing import wait_until
from skiff.transport import Transport

SECONDS = 10.0
POLL_MS = 20


@contextmanager
def answering(context: "zmq.Context[zmq.Socket[bytes]]", port: int, answer: bytes) -> Iterator[int]:
    """Reply to all requests at a port, 0 for any; yield the port."""
    with context.socket(zmq.REP) as socket:
        if port:
            socket.bind(f"tcp://127.0.0.1:{port}")
        else:
            port = socket.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            while not over.is_set():
                if socket.poll(POLL_MS):
                    socket.recv()
                    socket.send(answer)

        over = Event()
        thread = Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            thread.join()


def test_a_connection_never_reconnects_to_another_node_at_its_address() -> None:
    transport = Transport()
    with zmq.Context[zmq.Socket[bytes]]() as context, transport.use():
        with answering(context, 0, b"first") as port:
            connection = Connection(transport, f"tcp://127.0.0.1:{port}")
            assert connection.ask(b"who?", time.monotonic() + SECONDS) == b"first"
            assert not connection.is_lost()
        wait_until(connection.is_lost, "the loss is noticed")
        with answering(context, port, b"second"):
            with pytest.raises(ConnectionLost):
                connection.ask(b"who?", time.monotonic() + SECONDS)
            connection.close()
            fresh = Connection(transport, f"tcp://127.0.0.1:{port}")
            assert fresh.ask(b"who?", time.monotonic() + SECONDS) == b"second"
            fresh.close()
    transport.close()


def test_an_event_loop_notices_at_once_that_a_connection_is_refused() -> None:
    async def use() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        connection = AsyncConnection(transport, "tcp://127.0.0.1:1")
        while not connection.is_lost:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
        return loop.time() - began

    transport = Transport()
    assert asyncio.run(use()) < CONNECT_SECONDS / 2
    transport.close()


def test_requests_that_fill_a_frame_leave_before_the_turn_of_the_loop_ends() -> None:
    async def use(router: "zmq.Socket[bytes]", endpoint: str) -> None:
        connection = AsyncConnection(transport, endpoint)

        def ask(count: int) -> None:
            deadline = asyncio.get_running_loop().time() + 9  # one: others share no frame
            for _ in range(count):
                connection.ask(Ask(endpoint, (Get("key"),), deadline))

        ask(1)
        while not router.poll(0):  # noqa: ASYNC110 - until the connection is accepted
            await asyncio.sleep(0.001)
        assert _received(router) == 1
        ask(2 * FULL_FRAME_REQUESTS + 1)
        assert [_received(router), _received(router)] == [FULL_FRAME_REQUESTS] * 2
        assert not router.poll(POLL_MS)
        await asyncio.sleep(0)
        assert _received(router) == 1
        connection.close()

    transport = Transport()
    with zmq.Context[zmq.Socket[bytes]]() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        asyncio.run(use(router, f"tcp://127.0.0.1:{port}"))
    transport.close()


def _received(router: "zmq.Socket[bytes]") -> int:
    """Wait for a frame; return its number of operations."""
    assert router.poll(int(SECONDS * 1000))
    return len(decode_request(router.recv_multipart()[-1]).operations)
