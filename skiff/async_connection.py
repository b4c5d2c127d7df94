"""AsyncConnection: one DEALER socket to one node, for concurrent requests of an event loop.

Requests issued in one turn of the loop share frames. The loop watches the descriptors of the
socket and of its monitor; ``ZMQ_FD`` is edge-triggered, so the socket is drained after each send,
too.
"""

import asyncio
from typing import TypeAlias

import zmq

from protocol.client.multiplexer import NO_REQUEST, Frame, Multiplexer, Waiting
from protocol.client.steps import GRACE_SECONDS, Answered, Ask, Lost
from protocol.deadlines import NEVER
from protocol.security.handshakes import Trouble
from protocol.wire import Malformed, decode_reply
from skiff.channel import Channel
from skiff.connection import (
    CONNECT_SECONDS,
    HEARTBEAT_MS,
    HEARTBEAT_TIMEOUT_MS,
    LOST_EVENTS,
)
from skiff.endings import unencodable
from skiff.errors import RPCCallFailed
from skiff.transport import Transport

AskResult: TypeAlias = "asyncio.Future[Answered | Lost]"


class PendingAsk(Waiting):
    """A request and the future of its result."""

    __slots__ = ("future",)

    def __init__(self, ask: Ask, future: AskResult) -> None:
        super().__init__(ask)
        self.future = future

    @property
    def is_over(self) -> bool:
        """Whether the call was cancelled, or has its result."""
        return self.future.done()

    def resolve(self, result: Answered | Lost) -> None:
        """Set the result, unless the call was cancelled."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, reason: str) -> None:
        """Raise an error from the call, unless it was cancelled."""
        if not self.future.done():
            self.future.set_exception(RPCCallFailed(f"{self.ask.endpoint} {reason}"))

    def reject(self, reason: str) -> None:
        """Raise an error about the request from the call, unless it was cancelled."""
        if not self.future.done():
            self.future.set_exception(unencodable(reason))


class AsyncConnection:
    """A connection to one node, used by one event loop."""

    def __init__(self, transport: Transport, endpoint: str) -> None:
        """Connect in the background.

        Raises:
            ClientConnectFailed: the process has too many sockets or descriptors.
        """
        self.is_lost = False
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(transport, zmq.DEALER, LOST_EVENTS)
        self._socket, self._monitor = self._channel.socket, self._channel.monitor
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # never queue a request for a node that is gone
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._channel.connect(endpoint)
        self._requests = Multiplexer()
        self._timers: dict[int, asyncio.TimerHandle] = {}  # of the deadlines, by request number
        self._connected = False
        self._flush_planned = False
        for descriptor, react in zip(
            self._channel.descriptors, (self._on_socket, self._on_monitor), strict=True
        ):
            self._loop.add_reader(descriptor, react)
            self._loop.call_soon(react)  # ZeroMQ signals nothing before the first look
        self._connecting = self._loop.call_later(CONNECT_SECONDS, self._expect_connection)

    def ask(self, ask: Ask) -> PendingAsk:
        """Send operations in this turn of the loop; the future always gets a result."""
        waiting = PendingAsk(ask, self._loop.create_future())
        self._requests.add(waiting)
        self._plan_flush()
        if self._requests.has_full_frame:
            self._flush()
        return waiting

    def close(self, trouble: Trouble | None = None) -> None:
        """Close the socket; pending requests count as lost, because of ``trouble`` if given."""
        if self.is_lost:
            return
        self.is_lost = True
        for descriptor in self._channel.descriptors:
            self._loop.remove_reader(descriptor)
        self._channel.close()
        self._connecting.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self._loop.is_closed():  # else its tasks, which wait, never go on
            self._requests.lose(trouble)

    # --- sending

    def _plan_flush(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._flush_planned = False
        self._flush()

    def _flush(self) -> None:
        if self.is_lost or not self._is_writable():
            return  # flushed again when the connection is accepted
        if self._requests.flush(self._loop.time(), self._send):
            self._drain()
            self._on_monitor()
        else:
            self.close()

    def _send(self, frame: Frame) -> bool:
        """Send a frame; return False if the connection is lost."""
        try:
            self._socket.send(frame.encoded, zmq.NOBLOCK)
        except zmq.Again:
            return False
        if frame.deadline != NEVER:
            number, at = frame.request.id, frame.deadline + GRACE_SECONDS
            self._timers[number] = self._loop.call_at(at, self._expire, number)
        return True

    def _is_writable(self) -> bool:
        if not self._connected:
            self._connected = _has_event(self._socket, zmq.POLLOUT)
            if self._connected:
                self._channel.note_connected()
        return self._connected

    # --- receiving

    def _on_socket(self) -> None:
        # Draining processes the socket's commands, the acceptance among them, and so takes the edge
        # that tells of it: the state is looked at afterwards.
        self._drain()
        if not self._connected:
            self._flush()

    def _drain(self) -> None:
        while not self.is_lost:
            try:
                body = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if body:
                self._take(body)

    def _take(self, body: bytes) -> None:
        try:
            reply = decode_reply(body)
        except Malformed as error:
            self._fail(f"gave no valid reply: {error}")
            return
        if reply.id == NO_REQUEST:
            self._fail(f"could not read a request: {reply.outcomes}")
            return
        timer = self._timers.pop(reply.id, None)
        if timer is not None:
            timer.cancel()
        self._requests.take_reply(reply)
        if self._requests.has_unsent:
            self._plan_flush()

    def _fail(self, reason: str) -> None:
        self._requests.fail(reason)
        self.close()

    # --- losses

    def _on_monitor(self) -> None:
        if not self.is_lost and _has_event(self._monitor, zmq.POLLIN):
            self._drain()  # replies that arrived before the loss count
            if not self.is_lost:
                self.close(self._channel.why_lost())

    def _expect_connection(self) -> None:
        self._flush()
        if not self._connected:
            self.close()

    def _expire(self, number: int) -> None:
        del self._timers[number]
        self._requests.expire(number)


def _has_event(socket: "zmq.Socket[bytes]", event: int) -> bool:
    return bool(int(socket.getsockopt(zmq.EVENTS)) & event)
