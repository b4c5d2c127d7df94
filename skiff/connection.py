"""Connection: a REQ socket to one node, and detection of its loss."""

import time
from collections.abc import Callable
from typing import cast

import zmq

from protocol.security.handshakes import Trouble
from skiff.channel import Channel
from skiff.transport import SLICE_MS, Transport

LOST_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
CONNECT_SECONDS = 0.5  # a running node accepts sooner; else another node is tried
HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 2000

# Plain ints: converting pyzmq's enumerations costs more than the calls that take them.
NOBLOCK, EVENTS, POLLIN = int(zmq.NOBLOCK), int(zmq.EVENTS), int(zmq.POLLIN)


class ConnectionLost(Exception):
    """No reply arrived over this connection; ``sent`` tells whether the request left.

    ``trouble`` is what a failed handshake says of the node.
    """

    def __init__(self, *, sent: bool, trouble: Trouble | None = None) -> None:
        super().__init__()
        self.sent = sent
        self.trouble = trouble


class Connection:
    """Sends one request at a time. Used by one thread at a time, within a use of the transport."""

    def __init__(self, transport: Transport, endpoint: str) -> None:
        """Connect in the background.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
            InvalidAddress: ZeroMQ does not understand the endpoint.
        """
        self.endpoint = endpoint
        self._transport = transport
        self._channel = Channel(transport, zmq.REQ, LOST_EVENTS)
        self._socket, self._monitor = self._channel.socket, self._channel.monitor
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # never queue a request for a node that is gone
        self._socket.setsockopt(zmq.RCVTIMEO, SLICE_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._channel.connect(endpoint)
        # Bypass pyzmq's Python wrappers of these methods, which cost time in each call.
        self._send = cast(Callable[[bytes, int], None], super(zmq.Socket, self._socket).send)
        self._ask_monitor = cast(Callable[[int], int], self._monitor.getsockopt)
        self._connected = False

    def open(self, deadline: float) -> None:
        """Wait until the node has accepted the connection.

        Raises:
            ConnectionLost: the node is down, or did not accept within ``CONNECT_SECONDS``.
        """
        if not self._connected:
            self._wait_for_connection(min(deadline, time.monotonic() + CONNECT_SECONDS))

    def ask(self, request: bytes, deadline: float) -> bytes:
        """Return the reply to a request, from the node of the first connection only.

        Raises:
            ConnectionLost: the node is down, or did not reply before the deadline or before the
                client was closed.
        """
        self.open(deadline)
        try:
            self._send(request, NOBLOCK)
        except zmq.Again:
            raise ConnectionLost(sent=False) from None
        while True:
            try:
                return self._socket.recv()
            except zmq.Again:
                if self._is_over(deadline) or self.is_lost():
                    raise ConnectionLost(sent=True) from None

    def is_lost(self) -> bool:
        """Whether the connection was lost at any time since it was opened."""
        return bool(self._ask_monitor(EVENTS) & POLLIN)

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._channel.close()

    def _is_over(self, deadline: float) -> bool:
        """Whether the deadline has passed or the client is closed."""
        return self._transport.closed or time.monotonic() >= deadline

    def _wait_for_connection(self, deadline: float) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLOUT)
        poller.register(self._monitor, zmq.POLLIN)
        ready: dict[object, int] = {}
        while not ready:
            if self._is_over(deadline):
                raise ConnectionLost(sent=False)
            remaining_ms = int((deadline - time.monotonic()) * 1000) + 1
            ready = dict(poller.poll(min(SLICE_MS, remaining_ms)))
        if self._socket not in ready:
            raise ConnectionLost(sent=False, trouble=self._channel.why_lost())
        self._channel.note_connected()
        self._connected = True
