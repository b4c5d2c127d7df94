"""Channel: a socket to one node, with the monitor of its connection and its handshake."""

import os

import zmq

from protocol.security.handshakes import FAILED, Failure, Trouble, failure_of, read_event
from protocol.wire import PEER_FRAME_BYTES_MAX
from skiff.errors import ClientConnectFailed, InvalidAddress
from skiff.transport import Transport

# ZeroMQ would reconnect by itself, perhaps to another node at the same address. With reconnection
# off, it would discard received messages together with a lost connection, and abort the whole
# program if it was lost in the middle of a message.
NEVER_MS = (1 << 31) - 1


class Channel:
    """A socket to one node and the monitor of its connection. Used by one thread at a time."""

    def __init__(self, transport: Transport, kind: int, lost_events: int) -> None:
        """Open the socket; the monitor becomes readable at the first of ``lost_events``.

        So it does when the handshake fails.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        self._pid = os.getpid()
        self._endpoint = ""
        self._server_key = b""
        self._transport = transport
        self._sockets = transport.sockets
        try:
            with transport.lock:
                self.socket, self.monitor = self._sockets.open(kind, lost_events | FAILED)
        except zmq.ZMQError as error:
            raise ClientConnectFailed(f"no socket can be opened: {error.strerror}") from None
        self.socket.setsockopt(zmq.MAXMSGSIZE, PEER_FRAME_BYTES_MAX)
        self.socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)

    def __del__(self) -> None:
        """Close the socket of a thread that has ended."""
        if hasattr(self, "monitor"):  # else the constructor failed to open a socket
            self.close()

    @property
    def is_inherited(self) -> bool:
        """Whether the channel was opened by the parent process of this fork."""
        return self._pid != os.getpid()

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors that become readable on events of the socket and of the monitor.

        ``ZMQ_FD`` is edge-triggered: it signals once, and does not tell whether a message is there.
        """
        socket, monitor = self.socket.getsockopt(zmq.FD), self.monitor.getsockopt(zmq.FD)
        return int(socket), int(monitor)

    def connect(self, endpoint: str) -> None:
        """Connect to a node in the background.

        Raises:
            InvalidAddress: ZeroMQ does not understand the endpoint.
        """
        self._endpoint = endpoint
        self._secure(endpoint)
        self.socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise InvalidAddress(f"cannot connect to {endpoint}: {error.strerror}") from None

    def _secure(self, endpoint: str) -> None:
        """Set the keys, if there are any: the one place where a client's sockets get theirs."""
        keys = self._transport.keys
        if keys is None:
            return
        self._server_key = self._transport.server_keys.choose(endpoint)
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.pair.public)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.pair.secret)
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_key)

    def note_connected(self) -> None:
        """Record that the handshake has succeeded."""
        self._transport.server_keys.note_success(self._endpoint)

    def why_lost(self) -> Trouble | None:
        """Return what a failed handshake says of the node; None if there was none, or nothing.

        Reads the monitor: to be called once, when it has become readable.
        """
        said = None
        while int(self.monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            event, value = read_event(self.monitor.recv_multipart()[0])
            failure = failure_of(event, value)
            if failure is not None:
                said = self._note_failure(failure) or said
        return said

    def _note_failure(self, failure: Failure) -> Trouble | None:
        greetings = self._transport.greetings
        offered = greetings.take(self._endpoint)
        if failure is Failure.BROKEN_OFF:
            greetings.ask(self._endpoint)  # for the next attempt
        return self._transport.server_keys.note_failure(
            self._endpoint, self._server_key, failure, offered
        )

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self.is_inherited:
            return
        with self._transport.lock:
            if not self.socket.closed:
                self.socket.disable_monitor()
                self._sockets.close(self.monitor)
                self._sockets.close(self.socket)
