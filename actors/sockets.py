"""Sockets: the wiring of a node, each socket with its type, direction and limits.

    client        --REQ/DEALER->  ROUTER  client gateway    tcp port, ipc
    subscriber    --SUB------->   XPUB    client gateway    tcp port + 1
    peer          --DEALER---->   ROUTER  log replicator    tcp port + 2
    actor         --PUSH------>   PULL    actor's inbox     ipc, one inbox an actor
    ZeroMQ        --REQ------->   ROUTER  ZAP handler       inproc, if the node has keys

With keys, CURVE is set for the first three here, and nowhere else. ZeroMQ fails open: unless a
domain is named and enforced, it admits any key while no handler is bound (``_secure``). Besides
this module, only ``port`` imports zmq.
"""

import errno
import select
from collections.abc import Callable, Iterable
from math import ceil

import zmq

from actors.port import Pollable, Port, Readable
from actors.zap_handler import ZapHandler
from protocol.deadlines import NEVER
from protocol.security import handshakes
from protocol.security.gatekeeper import CLIENT_DOMAIN, PEER_DOMAIN, Gatekeeper
from protocol.security.keys import ClusterKeys
from protocol.wire import PEER_FRAME_BYTES_MAX, REQUEST_BYTES_MAX, SUBSCRIPTION_BYTES_MAX

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
KEEPALIVE_SECONDS = 1  # of silence, after which the kernel probes a subscriber's connection,
KEEPALIVE_PROBES = 3  # and the probes without an answer, after which it ends
ACTOR_RECONNECT_MS = 5  # the actors of a node start concurrently, in any order
RECONNECT_MS = 50
RECONNECT_MAX_MS = 250

ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # where ZeroMQ asks who may connect
ACCEPTED, DISCONNECTED = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_DISCONNECTED)

STRANGE_HOST = (errno.ENODEV, errno.EADDRNOTAVAIL)  # neither an interface nor its address


class BindFailed(OSError):
    """An endpoint that cannot be bound."""


class ConnectFailed(OSError):
    """An endpoint that can never be connected to."""


class Sockets:
    """All sockets of one actor, and their poller."""

    def __init__(self, keys: ClusterKeys | None = None) -> None:
        """Encrypt all connections over TCP by these keys, and authenticate them."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._poll = select.poll()
        self._watched: dict[int, Port | Pollable] = {}
        self._ports: list[Port] = []
        self._reactions: dict[Port, Callable[[], None]] = {}
        self.keys = keys
        self.gatekeeper = None if keys is None else self._bind_zap_handler(Gatekeeper(keys.known))

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
        return self._react(readable) if self._reactions else readable

    def _react(self, readable: Readable) -> Readable:
        """Serve the ports that have a reaction; return the others."""
        for port in self._reactions.keys() & set(readable):
            if port in self._reactions:  # else another reaction has forgotten it
                self._reactions[port]()
        return [each for each in readable if each not in self._reactions]

    def watch(self, port: Port, react: Callable[[], None] | None = None) -> None:
        """Include a port in ``wait``, which calls ``react`` if given, and else returns it."""
        self._ports.append(port)
        self._watch(port.descriptor, port)
        if react is not None:
            self._reactions[port] = react

    def forget(self, port: Port) -> None:
        """Remove a port from ``wait``, and close it."""
        self._reactions.pop(port, None)
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
        self._secure(port, CLIENT_DOMAIN)
        self._open(port, REQUEST_BYTES_MAX, endpoints)
        self.watch(port)
        return port

    def publisher(self, endpoint: str, *, manual: bool = False) -> Port:
        """Bind the socket that publishes changes and receives subscriptions.

        With ``manual``, a subscription takes effect only once it is admitted.
        """
        # A short receive queue, so that a connection with too many subscriptions is closed in time.
        # With keys, ZeroMQ counts the user id as one more message, which it never takes out again.
        port = self._port(zmq.XPUB, sndhwm=CLIENT_HWM, rcvhwm=1 if self.keys is None else 2)
        port.socket.setsockopt(zmq.RCVBUF, SUBSCRIBER_BUFFER_BYTES)
        port.socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # report each connection's subscriptions
        port.socket.setsockopt(zmq.XPUB_MANUAL, int(manual))
        port.is_manual = manual
        port.socket.setsockopt(zmq.XPUB_NODROP, 1)  # report subscribers that are too slow
        port.socket.setsockopt(zmq.TCP_MAXRT, CLIENT_STUCK_MS)
        port.socket.copy_threshold = 0
        # Not ZeroMQ's heartbeats: libzmq 4.3 aborts if one is due while a connection that has ended
        # still has subscriptions that were not read.
        port.socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        port.socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_SECONDS)
        port.socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_SECONDS)
        port.socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_PROBES)
        self._secure(port, CLIENT_DOMAIN)
        self._open(port, SUBSCRIPTION_BYTES_MAX, [endpoint])
        self.watch(port)
        return port

    def peer_router(self, endpoint: str) -> Port:
        """Bind the socket that receives from peers."""
        port = self._port(zmq.ROUTER, rcvhwm=PEER_HWM, sndhwm=PEER_HWM)
        self._set_peer_options(port)
        self._secure(port, PEER_DOMAIN)
        self._open(port, PEER_FRAME_BYTES_MAX, [endpoint])
        self.watch(port)
        return port

    def peer_dealer(self, endpoint: str, server_key: bytes = b"") -> Port:
        """Connect to a peer; messages that cannot be sent at once are dropped.

        With keys, it must prove to hold the ``server_key``. The port has a monitor of handshakes.
        """
        port = self._port(zmq.DEALER, rcvhwm=PEER_HWM, sndhwm=PEER_HWM)
        self._set_peer_options(port)
        # No queue exists before the connection, and a lost connection drops its queue.
        port.socket.setsockopt(zmq.IMMEDIATE, 1)
        port.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        port.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        port.socket.setsockopt(zmq.CONNECT_TIMEOUT, PEER_TIMEOUT_MS)
        self._limit(port, PEER_FRAME_BYTES_MAX, endpoint)
        if self.keys is not None:
            self._set_keys(port, self.keys)
            port.socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
        self._monitor(port, handshakes.FAILED | handshakes.SUCCEEDED)
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

    # --- security

    def _bind_zap_handler(self, gatekeeper: Gatekeeper) -> Gatekeeper:
        """Have a gatekeeper asked for each connection; before any socket is bound for others."""
        port = self._port(zmq.ROUTER)
        port.socket.bind(ZAP_ENDPOINT)
        self.watch(port, ZapHandler(port, gatekeeper).answer)
        return gatekeeper

    def _secure(self, port: Port, domain: bytes) -> None:
        """Accept only connections that prove to hold a key of the domain, if there are keys."""
        if self.keys is None:
            return
        self._set_keys(port, self.keys)
        port.socket.setsockopt(zmq.CURVE_SERVER, 1)
        port.socket.setsockopt(zmq.ZAP_DOMAIN, domain)
        # Without it, or with an empty domain, ZeroMQ admits all when it finds no handler.
        port.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        port.is_secure = True

    def _set_keys(self, port: Port, keys: ClusterKeys) -> None:
        port.socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.pair.public)
        port.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.pair.secret)

    # ---

    def _monitor(self, port: Port, events: int) -> Port:
        """Return the monitor of a port's connections, from the first one on."""
        endpoint = f"inproc://connections-{port.descriptor}"
        port.socket.monitor(endpoint, events)
        port.monitor = self._port(zmq.PAIR)
        port.monitor.socket.connect(endpoint)
        return port.monitor

    def _limit(self, port: Port, bytes_max: int, endpoint: str) -> None:
        port.socket.setsockopt(zmq.MAXMSGSIZE, bytes_max)
        port.socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        port.socket.setsockopt(zmq.BACKLOG, BACKLOG)
        port.socket.setsockopt(zmq.IPV6, int("[" in endpoint))

    def _open(self, port: Port, bytes_max: int, endpoints: list[str]) -> None:
        failed = handshakes.FAILED if port.is_secure else 0
        self.watch(self._monitor(port, ACCEPTED | DISCONNECTED | failed))
        for endpoint in endpoints:
            self._limit(port, bytes_max, endpoint)
            try:
                port.socket.bind(endpoint)
            except zmq.ZMQError as error:
                raise BindFailed(_not_bound(endpoint, error.errno or 0)) from error


def check_free(endpoints: Iterable[str], keys: ClusterKeys | None) -> None:
    """Check that endpoints can be bound; they are free again when this returns.

    Raises:
        BindFailed: one of them cannot be bound.
    """
    sockets = Sockets(keys)  # which may be connected to meanwhile
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
