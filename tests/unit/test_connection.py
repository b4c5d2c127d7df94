"""Connection: requests reach one node only, even if another takes over its address."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
import zmq

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
    with zmq.Context[zmq.Socket[bytes]]() as context, transport:
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
