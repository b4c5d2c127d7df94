"""Port: one ZeroMQ socket of an actor, used without blocking."""

from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from typing import Protocol, cast

import zmq

DRAIN_MAX = 512  # messages from one socket in a turn, so that no other one starves

# As plain integers: the enumerations cost more than the calls they are passed to.
NOBLOCK, MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
EVENTS, RCVMORE, POLLIN = int(zmq.EVENTS), int(zmq.RCVMORE), int(zmq.POLLIN)

SUBSCRIBES = b"\1"  # first byte of a frame that an XPUB socket reads

Frames = list[bytes]


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
        self.monitor: Port | None = None  # reports connections, and failed handshakes
        self.is_secure = False  # whether all connections are encrypted and authenticated
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

    def drain_with_users(self) -> Iterator[tuple[Frames, str]]:
        """Yield the messages of a ROUTER, as ``drain`` does, with their connections' user ids.

        They are read of each message: a connection may come under the identity of an earlier one.
        The user id is empty if the connection is not authenticated.
        """
        receive, ask = self.socket.recv, self._ask
        self.may_hold_unread = True
        for _ in range(DRAIN_MAX):
            try:
                identity = receive(NOBLOCK, copy=False)
            except zmq.Again:
                self.may_hold_unread = False
                return
            frames = [identity.bytes]
            while ask(RCVMORE):
                frames.append(receive(NOBLOCK))
            yield frames, _user_id_of(identity)
            if not ask(EVENTS) & POLLIN:
                self.may_hold_unread = False
                return

    def drain_from(self) -> Iterator[tuple[bytes, int, str]]:
        """Yield frames that have arrived, with the descriptor and the user id of their connection.

        The descriptor is -1 if the connection is closed, the user id empty if it has none.
        """
        receive = self.socket.recv
        self.may_hold_unread = True
        for _ in range(DRAIN_MAX):
            try:
                frame = receive(NOBLOCK, copy=False)
            except zmq.Again:
                self.may_hold_unread = False
                return
            user_id = _user_id_of(frame) if self.is_secure else ""
            yield frame.bytes, _descriptor_of(frame), user_id

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
        if self.monitor is not None:
            self.socket.disable_monitor()
        self.socket.close()


Readable = list[Port | Pollable]


def _descriptor_of(frame: zmq.Frame) -> int:
    try:
        return int(frame.get("__fd"))
    except (zmq.ZMQError, ValueError):
        return -1


def _user_id_of(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except (zmq.ZMQError, ValueError):
        return ""
