"""The wiring of a node: every socket, who binds and who connects, with all its limits.

    client        --REQ/DEALER->  ROUTER  client gateway    tcp port, ipc
    subscriber    --SUB------->   XPUB    client gateway    tcp port + 1
    peer          --DEALER---->   ROUTER  log replicator    tcp port + 2
    actor         --PUSH------>   PULL    actor's inbox     ipc, one inbox an actor

No other module of this package imports zmq.
"""

import errno
import select
from collections.abc import Callable, Container, Iterable, Iterator
from math import ceil
from typing import Protocol, cast

import zmq

from protocol.deadlines import NEVER
from protocol.wire import PEER_FRAME_BYTES_MAX, REQUEST_BYTES_MAX, SUBSCRIPTION_BYTES_MAX

DRAIN_MAX = 512  # messages taken in one turn from one socket, so that no other one starves
BACKLOG = 1024
SOCKETS_MAX = 4096  # of ZeroMQ in one process; by itself it would allow 1023
HANDSHAKE_MS = 3000  # a connection that says nothing is closed after this
CLIENT_HWM = 10_000  # messages waiting for one client or subscriber; what they weigh is bounded too
SUBSCRIBER_BUFFER_BYTES = 16 << 10  # for what a subscriber sends; it sends little
CLIENT_STUCK_MS = 10_000  # a client that takes no byte of what was sent for so long is gone
# A peer that is cut off must not find old messages waiting when it is back: see the options
# of a peer link. Its high-water mark only bounds what waits for the operating system.
PEER_HWM = 256
PEER_HEARTBEAT_MS = 300
PEER_TIMEOUT_MS = 1000
ACTOR_RECONNECT_MS = 5  # the actors of a node start side by side, in any order
RECONNECT_MS = 50
RECONNECT_MAX_MS = 250

# As plain numbers: the enumerations cost more than the calls that they are passed to.
NOBLOCK, MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
ACCEPTED, DISCONNECTED = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_DISCONNECTED)
EVENTS, RCVMORE, POLLIN = int(zmq.EVENTS), int(zmq.RCVMORE), int(zmq.POLLIN)


STRANGE_HOST = (errno.ENODEV, errno.EADDRNOTAVAIL)  # no interface's name, no address of one

Frames = list[bytes]


class BindFailed(OSError):
    """An address that cannot be listened on."""


class ConnectFailed(OSError):
    """An address that can never be connected to."""


class Pollable(Protocol):
    """What a poller can wait for besides ZeroMQ sockets."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""


class Tracker(Protocol):
    """What ZeroMQ makes of a message that was not copied."""

    @property
    def done(self) -> bool:
        """Whether it was handed to the operating system, or dropped with its connection."""


class Port:
    """One ZeroMQ socket that is never waited for.

    The descriptor that ZeroMQ has for a socket tells of news only once: whoever waits for it
    must have read everything before, and must look again after having sent.
    """

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self.socket = socket
        self.monitor: Port | None = None  # tells of the connections that a bound one accepts
        self._ask = cast(Callable[[int], int], socket.getsockopt)
        # Past what pyzmq looks for in each call on behalf of other kinds of sockets.
        self._send = cast(Callable[[bytes, int], None], super(zmq.Socket, socket).send)
        self.descriptor = self._ask(zmq.FD)
        self.may_hold_unread = True  # if not, nothing can be read before the descriptor says so

    def drain(self) -> Iterator[Frames]:
        """Yield the messages that have arrived, as many as one turn should take."""
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

        It is -1 where the connection is gone.
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
        """Yield messages of a ROUTER that have arrived, as ``drain`` does.

        Those from connections that are not known come with the connection's descriptor, all
        others with -1.
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
        """Return the messages that have arrived, each of one frame, as many as a turn takes."""
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
        """Send a message; return False where it would have to wait or has nowhere to go."""
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
        """Send a message whose last frame is not copied; return None where it cannot be sent."""
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
        """Whether something can be read without the descriptor telling of it."""
        self.may_hold_unread = bool(self._ask(EVENTS) & POLLIN)
        return self.may_hold_unread

    def set_lossy(self, *, lossy: bool) -> None:
        """Let a publisher drop what a subscriber cannot take, instead of refusing to send it."""
        self.socket.setsockopt(zmq.XPUB_NODROP, int(not lossy))

    def close(self) -> None:
        """Close the socket; what was not sent yet is dropped."""
        self.socket.close()


Readable = list[Port | Pollable]


class Sockets:
    """All sockets of one actor, and the waiting for them."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._poll = select.poll()
        self._watched: dict[int, Port | Pollable] = {}
        self._ports: list[Port] = []

    def wait(self, timeout: float) -> Readable:
        """Wait at most so many seconds; return what can be read."""
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
        """Wait for this port from now on."""
        self._ports.append(port)
        self._watch(port.descriptor, port)

    def forget(self, port: Port) -> None:
        """Wait for this port no more, and close it."""
        self._ports.remove(port)
        self._poll.unregister(port.descriptor)
        del self._watched[port.descriptor]
        port.close()

    def watch_descriptor(self, pollable: Pollable) -> None:
        """Wait for a file descriptor from now on."""
        self._watch(pollable.fileno(), pollable)

    def _watch(self, descriptor: int, what: Port | Pollable) -> None:
        self._watched[descriptor] = what
        self._poll.register(descriptor, select.POLLIN)

    def close(self) -> None:
        """Close everything without waiting for anybody."""
        self._context.destroy(linger=0)

    # --- between the actors of a node: bounded by what the gateway admits, never dropped

    def inbox(self, name: str) -> Port:
        """Bind the inbox of this actor."""
        port = self._port(zmq.PULL, rcvhwm=0)
        port.socket.bind(f"ipc://{name}")
        self.watch(port)
        return port

    def outbox(self, name: str) -> Port:
        """Connect to the inbox of another actor, which may not be there yet."""
        port = self._port(zmq.PUSH, sndhwm=0)
        port.socket.setsockopt(zmq.RECONNECT_IVL, ACTOR_RECONNECT_MS)
        port.socket.connect(f"ipc://{name}")
        return port

    # --- open to the network

    def client_router(self, endpoints: list[str]) -> Port:
        """Bind the socket on which clients ask."""
        # The thread that notices the end of tracked messages wants descriptors of its own.
        zmq.Frame(b"tracked", track=True, copy=False, copy_threshold=0)
        port = self._port(zmq.ROUTER, sndhwm=CLIENT_HWM, rcvhwm=CLIENT_HWM)
        port.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a client that is gone is not waited for
        port.socket.setsockopt(zmq.TCP_MAXRT, CLIENT_STUCK_MS)
        port.socket.copy_threshold = 0  # whatever is sent tracked is not copied
        self._open(port, REQUEST_BYTES_MAX, endpoints)
        self.watch(port)
        return port

    def publisher(self, endpoint: str) -> Port:
        """Bind the socket on which changes are published; subscriptions can be read from it."""
        # It reads few subscriptions ahead, so that one with too many is closed in time.
        port = self._port(zmq.XPUB, sndhwm=CLIENT_HWM, rcvhwm=1)
        port.socket.setsockopt(zmq.RCVBUF, SUBSCRIBER_BUFFER_BYTES)
        port.socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # every connection's topics are counted
        port.socket.setsockopt(zmq.XPUB_NODROP, 1)  # learn of a subscriber that is too slow
        port.socket.setsockopt(zmq.TCP_MAXRT, CLIENT_STUCK_MS)
        port.socket.copy_threshold = 0
        port.socket.setsockopt(zmq.HEARTBEAT_IVL, PEER_HEARTBEAT_MS)
        port.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * PEER_TIMEOUT_MS)
        self._open(port, SUBSCRIPTION_BYTES_MAX, [endpoint])
        self.watch(port)
        return port

    def peer_router(self, endpoint: str) -> Port:
        """Bind the socket on which peers are heard."""
        port = self._port(zmq.ROUTER, rcvhwm=PEER_HWM, sndhwm=PEER_HWM)
        self._set_peer_options(port)
        self._open(port, PEER_FRAME_BYTES_MAX, [endpoint])
        self.watch(port)
        return port

    def peer_dealer(self, endpoint: str) -> Port:
        """Connect to a peer; what cannot be sent now is never sent."""
        port = self._port(zmq.DEALER, rcvhwm=PEER_HWM, sndhwm=PEER_HWM)
        self._set_peer_options(port)
        # Without a connection there is no queue, and a lost connection takes its queue along.
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
        """Give up a connection, and all it holds, within about a second of silence."""
        port.socket.setsockopt(zmq.HEARTBEAT_IVL, PEER_HEARTBEAT_MS)
        port.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, PEER_TIMEOUT_MS)
        port.socket.setsockopt(zmq.TCP_MAXRT, PEER_TIMEOUT_MS)

    def _monitor(self, port: Port) -> None:
        """Learn of the connections that a port accepts, from the first one on."""
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
    """Listen at these endpoints for a moment; no trace of that is left when this returns.

    Raises:
        BindFailed: one of them cannot be listened on.
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
