"""One REQ socket to one node, which notices when the node is gone."""

import os
import time
from collections.abc import Callable
from typing import cast

import zmq

from protocol.wire import PEER_FRAME_BYTES_MAX

SLICE_MS = 40  # how often a waiting client looks whether its node is still there
LOST_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
CONNECT_SECONDS = 0.5  # a node that is there accepts sooner; another one may be asked instead
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
    """Asks one question at a time. Belongs to one thread."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self.endpoint = endpoint
        self._socket = context.socket(zmq.REQ)
        self._pid = os.getpid()
        self._monitor = self._socket.get_monitor_socket(LOST_EVENTS)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # a request never waits for a node to come back
        self._socket.setsockopt(zmq.RCVTIMEO, SLICE_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, PEER_FRAME_BYTES_MAX)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        self._socket.connect(endpoint)
        # Past what pyzmq looks for in each call on behalf of other kinds of sockets.
        self._send = cast(Callable[[bytes, int], None], super(zmq.Socket, self._socket).send)
        self._ask_monitor = cast(Callable[[int], int], self._monitor.getsockopt)
        self._connected = False
        self.welcomed_at = float("-inf")

    def __del__(self) -> None:
        """Close the socket of a thread that has ended, not that of a parent process."""
        if self._pid == os.getpid() and not self._socket.closed:
            self.close()

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
            ConnectionLost: the node is not there, or did not answer by the deadline.
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
                if self.is_lost() or time.monotonic() >= deadline:
                    raise ConnectionLost(sent=True) from None

    def is_lost(self) -> bool:
        """Whether the node is gone, or was for a moment."""
        return bool(self._ask_monitor(EVENTS) & POLLIN)

    def close(self) -> None:
        """Close the socket; once more does no harm."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close(0)

    def _wait_for_connection(self, deadline: float) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLOUT)
        poller.register(self._monitor, zmq.POLLIN)
        ready = dict(poller.poll(max(0, int((deadline - time.monotonic()) * 1000))))
        if self._socket not in ready:
            raise ConnectionLost(sent=False)
        self._connected = True
