"""Transport: a client's ZeroMQ context, which may be closed while other threads use it.

Sockets belong to the process that opened them. A forked child opens its own and never touches
its parent's, because they share their wake-up descriptors.
"""

import os
import threading
from types import TracebackType
from typing import Self

import zmq

from protocol.wire import PEER_FRAME_BYTES_MAX
from skiff.errors import ClientClosed, ClientConnectFailed, InvalidAddress

SLICE_MS = 40  # between two checks of a waiting call for a closed client or a lost node
CLOSE_SECONDS = 1.0  # for calls in progress to end; each notices within ``SLICE_MS``
# ZeroMQ would reconnect by itself, perhaps to another node at the same address. With reconnection
# off, it would discard received messages together with a lost connection, and abort the whole
# program if it was lost in the middle of a message.
NEVER_MS = (1 << 31) - 1
SOCKETS_MAX = 16_384  # ZeroMQ's default of 1023 is too few for 400 threads at three sockets each


class Transport:
    """The sockets of a client's calls, subscribers and backups. Threads may share it.

    Every use of a socket is inside ``with transport``. After ``close``, the last use to end closes
    the sockets, so that none is closed while a thread uses it.
    """

    def __init__(self) -> None:
        self.closed = False
        self._begin()

    def _begin(self) -> None:
        """Reset sockets and locks, which a forked child must not share with its parent."""
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._uses = 0
        self.lock = threading.RLock()  # reentrant for signal handlers and finalizers
        self._unused = threading.Condition(self.lock)
        self._closing = threading.Event()
        if self.closed:
            self._closing.set()
        self._pid = os.getpid()  # last, as other threads of the child check it

    def __enter__(self) -> Self:
        """Begin to use sockets.

        Raises:
            ClientClosed: the client is closed.
        """
        if self._pid != os.getpid():
            self._begin()
        with self.lock:
            if self.closed:
                raise ClientClosed("the client is closed; this call did nothing")
            self._uses += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.lock:
            self._uses -= 1
            if self.closed and not self._uses:
                self._release()
                self._unused.notify_all()

    def close(self) -> None:
        """Refuse further calls and end those in progress; returns within a second."""
        self.closed = True
        if self._pid != os.getpid():
            return
        self._closing.set()
        with self.lock:
            if self._unused.wait_for(lambda: not self._uses, CLOSE_SECONDS):
                self._release()

    def pause(self, seconds: float) -> None:
        """Wait ``seconds``, or until the client is closed."""
        self._closing.wait(seconds)

    def open(self, kind: int) -> "zmq.Socket[bytes]":
        """Return a new socket, which discards unsent messages when it is closed.

        Raises:
            zmq.ZMQError: the process has too many sockets or descriptors.
        """
        with self.lock:
            if self._context is None:
                context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
                context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
                context.setsockopt(zmq.LINGER, 0)
                self._context = context
            return self._context.socket(kind)

    def _release(self) -> None:
        """Close all sockets, which no thread uses any more."""
        if self._context is not None:
            self._context.destroy()
            self._context = None


class Channel:
    """A socket to one node and the monitor of its connection. Used by one thread at a time."""

    def __init__(self, transport: Transport, kind: int, lost_events: int) -> None:
        """Open the socket; the monitor becomes readable at the first of ``lost_events``.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        self._pid = os.getpid()
        self._transport = transport
        try:
            self.socket = transport.open(kind)
            self.monitor = self.socket.get_monitor_socket(lost_events)
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
        self.socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise InvalidAddress(f"cannot connect to {endpoint}: {error.strerror}") from None

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self.is_inherited:
            return
        with self._transport.lock:
            if not self.socket.closed:
                self.socket.disable_monitor()
                self.monitor.close(0)
                self.socket.close(0)
