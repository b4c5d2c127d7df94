"""Relay: the way to the nodes of a test cluster, which can be cut between some of them.

It listens at the nodes' advertised addresses and passes all bytes on, in a thread of its own. Only
connections between peers are ever cut: what they carry is dropped, as by a network. When they are
healed, they are closed, as some of their bytes are lost, and the nodes open others.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from protocol.address import PEER_PORT_OFFSET
from skiff.testing.sender import Sender

HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
ORDER_SECONDS = 10.0  # for the thread to do what it is asked

ReturnT = TypeVar("ReturnT")


class Relay:
    """Relay of one cluster. Addresses are ``host:port``, as nodes advertise them."""

    def __init__(self, find_sender: Callable[[int], str] | None = None) -> None:
        """Start the thread.

        ``find_sender`` returns the address of the node that has opened a connection from a port,
        empty if that is unknown; without it, senders are found by what they send.
        """
        self._find_sender = find_sender
        self._groups: tuple[frozenset[str], ...] = ()  # that are cut off from each other
        self._connections: set[_Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._is_closing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="skiff relay", daemon=True
        )
        self._thread.start()

    def open(self, port: int, to: int) -> None:
        """Pass connections to a node's advertised ports on to those at which it listens."""
        self._run(self._open(port, to))

    def cut(self, groups: Iterable[Iterable[str]]) -> None:
        """Drop what the nodes of different groups send each other; heal the cuts before that."""
        self._run(self._cut(tuple(frozenset(group) for group in groups)))

    def close(self) -> None:
        """Close all connections and end the thread; idempotent."""
        if not self._loop.is_closed():
            self._run(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(ORDER_SECONDS)
            self._loop.close()

    def _run(self, order: Coroutine[Any, Any, ReturnT]) -> ReturnT:
        return asyncio.run_coroutine_threadsafe(order, self._loop).result(ORDER_SECONDS)

    # --- in the thread

    async def _open(self, port: int, to: int) -> None:
        for offset in range(PEER_PORT_OFFSET + 1):
            node = f"{HOST}:{port}" if offset == PEER_PORT_OFFSET else ""

            async def accept(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                node: str = node,
                to: int = to + offset,
            ) -> None:
                if self._is_closing:
                    writer.transport.abort()
                    return
                sender = Sender(self._sender_of(writer) if node else "")
                await self._pass_on(_Connection(reader, writer, node, sender), to)

            self._servers.append(await asyncio.start_server(accept, HOST, port + offset))

    def _sender_of(self, writer: asyncio.StreamWriter) -> str:
        return self._find_sender(writer.get_extra_info("peername")[1]) if self._find_sender else ""

    async def _cut(self, groups: tuple[frozenset[str], ...]) -> None:
        self._groups = groups
        for connection in self._connections:
            if connection.has_losses and not self._is_cut(connection):
                connection.abort()

    async def _close(self) -> None:
        self._is_closing = True
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.abort()
        # A connection that was just accepted begins another task.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others, return_exceptions=True)

    def _is_cut(self, connection: "_Connection") -> bool:
        if not connection.node or not connection.sender.address:
            return False
        here, there = (
            next((group for group in self._groups if address in group), None)
            for address in (connection.sender.address, connection.node)
        )
        return here is not there

    async def _pass_on(self, connection: "_Connection", to: int) -> None:
        self._connections.add(connection)
        try:
            await connection.open(to)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(connection, is_reply=False))
                both.create_task(self._pump(connection, is_reply=True))
        except* OSError:
            pass  # one end is gone
        finally:
            connection.abort()
            self._connections.discard(connection)

    async def _pump(self, connection: "_Connection", *, is_reply: bool) -> None:
        """Pass on what one end sends, until it ends."""
        source, drain = connection.ends(is_reply=is_reply)
        while data := await source.read(CHUNK_BYTES):
            if not is_reply:
                connection.sender.feed(data)
            if self._is_cut(connection):
                connection.has_losses = True
                continue
            drain.write(data)
            await drain.drain()
        connection.abort()


class _Connection:
    """A connection to the relay, and the one from there to the node."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        node: str,
        sender: Sender,
    ) -> None:
        """Take a connection; ``node`` is the peer that it reaches, empty for other ports."""
        self.node = node
        self.sender = sender
        self.has_losses = False
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._is_aborted = False

    async def open(self, to: int) -> None:
        """Connect to the node.

        Raises:
            OSError: it does not listen.
        """
        self._server = await asyncio.open_connection(HOST, to)
        if self._is_aborted:
            self.abort()

    def ends(self, *, is_reply: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return where the bytes of one direction come from, and where they go."""
        assert self._server is not None
        if is_reply:
            return self._server[0], self._client[1]
        return self._client[0], self._server[1]

    def abort(self) -> None:
        """Close both ends at once."""
        self._is_aborted = True
        for _, writer in filter(None, (self._client, self._server)):
            writer.transport.abort()
