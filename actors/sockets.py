"""Sockets: the wiring of a node, each socket with its type, direction and limits.

    client        --REQ/DEALER->  ROUTER  client gateway    tcp port, ipc
    subscriber    --SUB------->   XPUB    client gateway    tcp port + 1
    peer          --DEALER---->   ROUTER  log replicator    tcp port + 2
    actor         --PUSH------>   PULL    actor's inbox     ipc, one inbox an actor

No other module of this package imports zmq.
"""

import errno
import select
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from math import ceil
from typing import Protocol, cast

import zmq

from protocol.deadlines import NEVER
from protocol.wire import PEER_FRAME_BYTES_MAX, REQUEST_BYTES_MAX, SUBSCRIPTION_BYTES_MAX

DRAIN_MAX = 512  # messages from one socket in a turn, so that no other one starves
BACKLOG = 1024
SOCKETS_MAX = 4096  # ZeroMQ sockets in one process; its default is 1023
HANDSHAKE_MS = 3000  # for the handshake of a new connection
CLIENT_HWM = 10_000  # messages queued for one client or subscriber, besides limits on bytes
SUBSCRIBER_BUFFER_BYTES = 16 << 10  # receive buffer: a subscriber sends little
CLIENT_STUCK_MS = 10_000  # without an acknowledged byte, after which a client is disconnected
# A peer that reconnects must not receive old messages: see the options of a peer link. The
# high-water mark only bounds what is queued for the operating system.
PEER_HWM = 256
PEER_HEARTBEAT_MS = 300
PEER_TIMEOUT_MS = 1000
ACTOR_RECONNECT_MS = 5  # the actors of a node start concurrently, in any order
RECONNECT_MS = 50
RECONNECT_MAX_MS = 250

# As plain integers: the enumerations cost more than the calls they are passed to.
NOBLOCK, MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
ACCEPTED, DISCONNECTED = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_DISCONNECTED)
EVENTS, RCVMORE, POLLIN = int(zmq.EVENTS), int(zmq.RCVMORE), int(zmq.POLLIN)


SUBSCRIBES = b"\1"  # first byte of a frame that an XPUB socket reads
STRANGE_HOST = (errno.ENODEV, errno.EADDRNOTAVAIL)  # neither an interface nor its address

Frames = list[bytes]


class BindFailed(OSError):
    """An endpoint that cannot be bound."""


class ConnectFailed(OSError):
    """An endpoint that can never be connected to."""


class Pollable(Protocol):
    """A file descriptor that a poller can wait for."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""


class Tracker(Protocol):
    """ZeroMQ's tracker of a message that was sent without copying."""

    @property
    def done(self) -> bool:
        """Whether the message was handed to the operating system or dropped."""


class Port:
    """One ZeroMQ socket, used without blocking.

    A socket's ``ZMQ_FD`` is edge-triggered: before polling it, the socket must have been drained,
    and its events must be checked again after each send.
    """

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self.socket = socket
        self.monitor: Port | None = None  # reports accepted and lost connections of a bound socket
        self._ask = cast(Callable[[int], int], socket.getsockopt)
        # Bypasses pyzmq's Python wrapper of ``send``, which is slow.
        self._send = cast(Callable[[bytes, int], None], super(zmq.Socket, socket).send)
        self.descriptor = self._ask(zmq.FD)
        self.may_hold_unread = True  # if False, the descriptor signals the next message
        self.is_manual = False  # whether a publisher's subscriptions take effect only by ``admit``

    def drain(self) -> Iterator[Frames]:
        """Yield the messages that have arrived, up to the limit of one turn."""
        receive, ask = self.socket.recv, self._ask
        self.may_hold_unread = True
        for _ in range(DRAIN_MAX):
            try:
                frames = [receive(NOBLOCK)]
            except zmq.Again:
                self.may_hold_unread = False
                return
            while ask(RCVMORE):
                frames.append(receive(NOBLOCK))
            yield frames
            if not ask(EVENTS) & POLLIN:
                self.may_hold_unread = False
                return

    def drain_from(self) -> Iterator[tuple[bytes, int]]:
        """Yield frames that have arrived, with the descriptor of their connection.

        The descriptor is -1 if the connection is closed.
        """
        receive = self.socket.recv
        self.may_hold_unread = True
        for _ in range(DRAIN_MAX):
            try:
                frame = receive(NOBLOCK, copy=False)
            except zmq.Again:
                self.may_hold_unread = False
                return
            yield frame.bytes, _descriptor_of(frame)

    def drain_with(self, known: Container[bytes]) -> Iterator[tuple[Frames, int]]:
        """Yield the messages of a ROUTER, as ``drain`` does, with connections' descriptors.

        The descriptor is -1 for connections in ``known``, and for closed ones.
        """
        receive, ask = self.socket.recv, self._ask
        self.may_hold_unread = True
        for _ in range(DRAIN_MAX):
            try:
                frames, descriptor = [receive(NOBLOCK)], -1
            except zmq.Again:
                self.may_hold_unread = False
                return
            while ask(RCVMORE):
                if frames[0] in known:
                    frames.append(receive(NOBLOCK))
                else:
                    frame = receive(NOBLOCK, copy=False)
                    descriptor = _descriptor_of(frame)
                    frames.append(frame.bytes)
            yield frames, descriptor
            if not ask(EVENTS) & POLLIN:
                self.may_hold_unread = False
                return

    def drain_single(self) -> list[bytes]:
        """Return the single-frame messages that have arrived, up to the limit of one turn."""
        receive, ask = self.socket.recv, self._ask
        try:
            arrived = [receive(NOBLOCK)]
        except zmq.Again:
            self.may_hold_unread = False
            return []
        self.may_hold_unread = True
        while len(arrived) < DRAIN_MAX:
            if not ask(EVENTS) & POLLIN:
                self.may_hold_unread = False
                break
            arrived.append(receive(NOBLOCK))
        return arrived

    def send(self, *frames: bytes) -> bool:
        """Send a message; return False if the queue is full or there is no connection."""
        self.may_hold_unread = True
        try:
            for frame in frames[:-1]:
                self._send(frame, MORE)
            self._send(frames[-1], NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        return True

    def send_tracked(self, *frames: bytes) -> Tracker | None:
        """Send a message without copying its last frame; return None if it cannot be sent."""
        self.may_hold_unread = True
        try:
            for frame in frames[:-1]:
                self._send(frame, MORE)
            return self.socket.send(frames[-1], NOBLOCK, copy=False, track=True)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return None
            raise

    def holds_unread(self) -> bool:
        """Whether a message can be read although the descriptor may not signal it."""
        self.may_hold_unread = bool(self._ask(EVENTS) & POLLIN)
        return self.may_hold_unread

    def set_lossy(self, *, lossy: bool) -> None:
        """Set whether a publisher drops messages for full subscribers, or refuses to send."""
        self.socket.setsockopt(zmq.XPUB_NODROP, int(not lossy))

    def admit(self, frame: bytes) -> None:
        """Let the subscription, or its cancellation, that was read last take effect."""
        option = zmq.SUBSCRIBE if frame[:1] == SUBSCRIBES else zmq.UNSUBSCRIBE
        with suppress(zmq.ZMQError):  # its connection is lost
            self.socket.setsockopt(option, frame[1:])

    def close(self) -> None:
        """Close the socket; unsent messages are dropped."""
        self.socket.close()


Readable = list[Port | Pollable]


class Sockets:
    """All sockets of one actor, and their poller."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._poll = select.poll()
        self._watched: dict[int, Port | Pollable] = {}
        self._ports: list[Port] = []

    def wait(self, timeout: float) -> Readable:
        """Wait for at most ``timeout`` seconds; return what is readable."""
        readable: Readable = []
        for port in self._ports:
            if port.may_hold_unread and port.holds_unread():
                readable.append(port)
                timeout = 0.0
        milliseconds = None if timeout == NEVER else max(0, ceil(timeout * 1000))
        for descriptor, _ in self._poll.poll(milliseconds):
            readable.append(self._watched[descriptor])
        return readable

    def watch(self, port: Port) -> None:
        """Include a port in ``wait``."""
        self._ports.append(port)
        self._watch(port.descriptor, port)

    def forget(self, port: Port) -> None:
        """Remove a port from ``wait``, and close it."""
        self._ports.remove(port)
        self._poll.unregister(port.descriptor)
        del self._watched[port.descriptor]
        port.close()

    def watch_descriptor(self, pollable: Pollable) -> None:
        """Include a file descriptor in ``wait``."""
        self._watch(pollable.fileno(), pollable)

    def _watch(self, descriptor: int, what: Port | Pollable) -> None:
        self._watched[descriptor] = what
        self._poll.register(descriptor, select.POLLIN)

    def close(self) -> None:
        """Close all sockets without sending what is queued."""
        self._context.destroy(linger=0)

    # --- between the actors of a node: never dropped; the gateway's limits bound the queues

    def inbox(self, name: str) -> Port:
        """Bind the inbox of this actor."""
        port = self._port(zmq.PULL, rcvhwm=0)
        port.socket.bind(f"ipc://{name}")
        self.watch(port)
        return port

    def outbox(self, name: str) -> Port:
        """Connect to the inbox of another actor, which may not exist yet."""
        port = self._port(zmq.PUSH, sndhwm=0)
        port.socket.setsockopt(zmq.RECONNECT_IVL, ACTOR_RECONNECT_MS)
        port.socket.connect(f"ipc://{name}")
        return port

    # --- open to the network

    def client_router(self, endpoints: list[str]) -> Port:
        """Bind the socket for clients' requests."""
        # Starts pyzmq's tracking thread now: it needs descriptors of its own.
        zmq.Frame(b"tracked", track=True, copy=False, copy_threshold=0)
        port = self._port(zmq.ROUTER, sndhwm=CLIENT_HWM, rcvhwm=CLIENT_HWM)
        port.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # report a closed connection
        port.socket.setsockopt(zmq.TCP_MAXRT, CLIENT_STUCK_MS)
        port.socket.copy_threshold = 0  # tracked messages are not copied
        self._open(port, REQUEST_BYTES_MAX, endpoints)
        self.watch(port)
        return port

    def publisher(self, endpoint: str, *, manual: bool = False) -> Port:
        """Bind the socket that publishes changes and receives subscriptions.

        With ``manual``, a subscription takes effect only once it is admitted.
        """
        # A short receive queue, so that a connection with too many subscriptions is closed in time.
        port = self._port(zmq.XPUB, sndhwm=CLIENT_HWM, rcvhwm=1)
        port.socket.setsockopt(zmq.RCVBUF, SUBSCRIBER_BUFFER_BYTES)
        port.socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # report each connection's subscriptions
        port.socket.setsockopt(zmq.XPUB_MANUAL, int(manual))
        port.is_manual = manual
        port.socket.setsockopt(zmq.XPUB_NODROP, 1)  # report subscribers that are too slow
        port.socket.setsockopt(zmq.TCP_MAXRT, CLIENT_STUCK_MS)
        port.socket.copy_threshold = 0
        port.socket.setsockopt(zmq.HEARTBEAT_IVL, PEER_HEARTBEAT_MS)
        port.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * PEER_TIMEOUT_MS)
        self._open(port, SUBSCRIPTION_BYTES_MAX, [endpoint])
        self.watch(port)
        return port

    def peer_router(self, endpoint: str) -> Port:
        """Bind the socket that receives from peers."""
        port = self._port(zmq.ROUTER, rcvhwm=PEER_HWM, sndhwm=PEER_HWM)
        self._set_peer_options(port)
        self._open(port, PEER_FRAME_BYTES_MAX, [endpoint])
        self.watch(port)
        return port

    def peer_dealer(self, endpoint: str) -> Port:
        """Connect to a peer; messages that cannot be sent at once are dropped."""
        port = self._port(zmq.DEALER, rcvhwm=PEER_HWM, sndhwm=PEER_HWM)
        self._set_peer_options(port)
        # No queue exists before the connection, and a lost connection drops its queue.
        port.socket.setsockopt(zmq.IMMEDIATE, 1)
        port.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        port.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        port.socket.setsockopt(zmq.CONNECT_TIMEOUT, PEER_TIMEOUT_MS)
        self._limit(port, PEER_FRAME_BYTES_MAX, endpoint)
        try:
            port.socket.connect(endpoint)
        except zmq.ZMQError as error:
            port.close()
            raise ConnectFailed(f"{endpoint}: {zmq.strerror(error.errno or 0)}") from error
        return port

    def _port(self, kind: int, *, sndhwm: int = 0, rcvhwm: int = 0) -> Port:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, sndhwm)
        socket.setsockopt(zmq.RCVHWM, rcvhwm)
        return Port(socket)

    def _set_peer_options(self, port: Port) -> None:
        """Drop a silent connection, and its queue, within about a second."""
        port.socket.setsockopt(zmq.HEARTBEAT_IVL, PEER_HEARTBEAT_MS)
        port.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, PEER_TIMEOUT_MS)
        port.socket.setsockopt(zmq.TCP_MAXRT, PEER_TIMEOUT_MS)

    def _monitor(self, port: Port) -> None:
        """Monitor the connections that a port accepts, from the first one on."""
        endpoint = f"inproc://connections-{port.descriptor}"
        port.socket.monitor(endpoint, ACCEPTED | DISCONNECTED)
        port.monitor = self._port(zmq.PAIR)
        port.monitor.socket.connect(endpoint)
        self.watch(port.monitor)

    def _limit(self, port: Port, bytes_max: int, endpoint: str) -> None:
        port.socket.setsockopt(zmq.MAXMSGSIZE, bytes_max)
        port.socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        port.socket.setsockopt(zmq.BACKLOG, BACKLOG)
        port.socket.setsockopt(zmq.IPV6, int("[" in endpoint))

    def _open(self, port: Port, bytes_max: int, endpoints: list[str]) -> None:
        self._monitor(port)
        for endpoint in endpoints:
            self._limit(port, bytes_max, endpoint)
            try:
                port.socket.bind(endpoint)
            except zmq.ZMQError as error:
                raise BindFailed(_not_bound(endpoint, error.errno or 0)) from error


def _descriptor_of(frame: zmq.Frame) -> int:
    try:
        return int(frame.get("__fd"))
    except (zmq.ZMQError, ValueError):
        return -1


def check_free(endpoints: Iterable[str]) -> None:
    """Check that endpoints can be bound; they are free again when this returns.

    Raises:
        BindFailed: one of them cannot be bound.
    """
    sockets = Sockets()
    try:
        for endpoint in endpoints:
            sockets.peer_router(endpoint)
    finally:
        sockets.close()


def _not_bound(endpoint: str, number: int) -> str:
    hint = "a node needs its port and the two after it"
    if number in STRANGE_HOST:
        hint = "bind must be an address of this machine, or the name of an interface"
    return f"cannot listen on {endpoint}: {zmq.strerror(number)}; {hint}"
