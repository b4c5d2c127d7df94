"""Connection: one REQ socket to one node, which notices when the node is gone."""

import time
from collections.abc import Callable
from typing import cast

import zmq

from skiff.transport import SLICE_MS, Channel, Transport

LOST_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
CONNECT_SECONDS = 0.5  # a node that is there accepts sooner; another one may be asked instead
LONGEST_SECONDS = 3600.0  # a node keeps no request for longer; the client asks again
HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 2000

# As plain numbers: the enumerations cost more than the calls that they are passed to.
NOBLOCK, EVENTS, POLLIN = int(zmq.NOBLOCK), int(zmq.EVENTS), int(zmq.POLLIN)


class ConnectionLost(Exception):
    """No answer came over this connection; ``sent`` tells whether the node may have acted."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class Connection:
    """Asks one question at a time. Used by one thread at a time, inside ``with transport``."""

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
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # a request never waits for a node to come back
        self._socket.setsockopt(zmq.RCVTIMEO, SLICE_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._channel.connect(endpoint)
        # Past what pyzmq looks for in each call on behalf of other kinds of sockets.
        self._send = cast(Callable[[bytes, int], None], super(zmq.Socket, self._socket).send)
        self._ask_monitor = cast(Callable[[int], int], self._monitor.getsockopt)
        self._connected = False

    def open(self, deadline: float) -> None:
        """Wait until the node has accepted the connection.

        Raises:
            ConnectionLost: the node is not there, or did not accept it soon.
        """
        if not self._connected:
            self._wait_for_connection(min(deadline, time.monotonic() + CONNECT_SECONDS))

    def ask(self, request: bytes, deadline: float) -> bytes:
        """Return the reply to a request, from the very node that was connected to first.

        Raises:
            ConnectionLost: the node is not there, or did not answer by the deadline or before the
                client was closed.
        """
        self.open(deadline)
        try:
            self._send(request, NOBLOCK)
        except zmq.Again:
            raise ConnectionLost(sent=False) from None
        # ZeroMQ connects again by itself, perhaps to another node that has taken the address. It
        # tells of the loss before, so that what is sent before any loss went to the first node.
        if self.is_lost():
            raise ConnectionLost(sent=True)
        while True:
            try:
                return self._socket.recv()
            except zmq.Again:
                if self._is_over(deadline) or self.is_lost():
                    raise ConnectionLost(sent=True) from None

    def is_lost(self) -> bool:
        """Whether the node is gone, or was for a moment."""
        return bool(self._ask_monitor(EVENTS) & POLLIN)

    def close(self) -> None:
        """Close the socket; once more does no harm."""
        self._channel.close()

    def _is_over(self, deadline: float) -> bool:
        """Whether there is nothing more to wait for."""
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
            raise ConnectionLost(sent=False)
        self._connected = True
