"""AsyncConnection: one DEALER socket to one node, for concurrent requests of an event loop.

Requests issued in one turn of the loop share a frame, which makes many small operations nearly as
cheap as a few. Nothing polls: the loop watches the descriptors of the socket and of its monitor.
``ZMQ_FD`` is edge-triggered, so the socket is drained after each send, too.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import zmq

from protocol.client.steps import GRACE_SECONDS, Answered, Ask, Lost
from protocol.commands import Insert, Write
from protocol.deadlines import NEVER
from protocol.gateway.batching import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Failed,
    FailureCode,
    Operation,
    Reply,
    Request,
)
from protocol.wire import Malformed, decode_reply, encode
from skiff.channel import Channel
from skiff.connection import (
    CONNECT_SECONDS,
    HEARTBEAT_MS,
    HEARTBEAT_TIMEOUT_MS,
    LONGEST_SECONDS,
    LOST_EVENTS,
)
from skiff.errors import RPCCallFailed
from skiff.transport import Transport

NO_REQUEST = 0  # id of the reply to a frame that a node cannot decode
DEADLINE_STEPS = 50  # per second; requests with deadlines in one step share a frame

AskResult: TypeAlias = "asyncio.Future[Answered | Lost]"


class Waiting(msgspec.Struct):
    """A request and the future of its result."""

    ask: Ask
    future: AskResult
    is_sent: bool = False  # and has no reply yet
    on_end: Callable[[], None] | None = None  # called when it is no longer sent

    def resolve(self, result: Answered | Lost) -> None:
        """Set the result, unless the call was cancelled."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Raise an error from the call, unless it was cancelled."""
        if not self.future.done():
            self.future.set_exception(error)


class _Frame(msgspec.Struct):
    """Requests sent in one frame, and the timer of their deadline."""

    group: list[Waiting]
    timer: asyncio.TimerHandle | None


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
        self._endpoint = endpoint
        self._ids = itertools.count(1)
        self._unsent: list[Waiting] = []
        self._sent: dict[int, _Frame] = {}  # by request number
        self._connected = False
        self._flush_planned = False
        self._is_full = False  # whether the node has answered STORAGE_FULL
        for descriptor, react in zip(
            self._channel.descriptors, (self._on_socket, self._on_monitor), strict=True
        ):
            self._loop.add_reader(descriptor, react)
        self._loop.call_later(CONNECT_SECONDS, self._expect_connection)

    def ask(self, ask: Ask) -> Waiting:
        """Send operations at the end of this turn of the loop; the future always gets a result."""
        waiting = Waiting(ask, self._loop.create_future())
        self._unsent.append(waiting)
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._flush)
        return waiting

    def close(self) -> None:
        """Close the socket; pending requests count as lost."""
        if self.is_lost:
            return
        self.is_lost = True
        for descriptor in self._channel.descriptors:
            self._loop.remove_reader(descriptor)
        self._channel.close()
        for waiting in self._unsent:
            waiting.resolve(Lost(sent=False))
        self._unsent.clear()
        for number in list(self._sent):
            for waiting in self._end(number):
                waiting.resolve(Lost(sent=True))

    # --- sending

    def _flush(self) -> None:
        self._flush_planned = False
        if self.is_lost or not self._is_writable():
            return  # flushed again when the connection is accepted
        unsent, self._unsent = self._unsent, []
        by_deadline: dict[int, list[Waiting]] = {}
        for waiting in unsent:
            if not waiting.future.done():
                step = int(min(waiting.ask.deadline, 1e12) * DEADLINE_STEPS)
                by_deadline.setdefault(step, []).append(waiting)
        for group in by_deadline.values():
            if self._is_full:
                self._send_growing_alone(group)
            else:
                self._send(group)
        self._drain()
        self._on_monitor()

    def _send_growing_alone(self, group: list[Waiting]) -> None:
        """Send each request with an insert in its own frame: a refusal includes later writes."""
        shrinking = [each for each in group if not _grows(each)]
        if shrinking:
            self._send(shrinking)
        for waiting in filter(_grows, group):
            self._send([waiting])

    def _send(self, group: list[Waiting]) -> None:
        """Send requests in one frame, or in several if they exceed one log entry."""
        if self.is_lost:
            for waiting in group:
                waiting.resolve(Lost(sent=False))
            return
        operations = tuple(itertools.chain(*[waiting.ask.operations for waiting in group]))
        deadline = min(waiting.ask.deadline for waiting in group)
        number = next(self._ids)
        encoded = self._encode(number, operations, deadline)
        is_large = len(encoded) > BATCH_BYTES_MAX or len(operations) > BATCH_OPERATIONS_MAX
        if is_large and len(group) > 1:
            half = len(group) // 2
            self._send(group[:half])
            self._send(group[half:])
        else:
            self._send_frame(number, encoded, group, deadline)

    def _send_frame(
        self, number: int, encoded: bytes, group: list[Waiting], deadline: float
    ) -> None:
        timer = None
        if deadline != NEVER:
            timer = self._loop.call_at(deadline + GRACE_SECONDS, self._expire, number)
        self._sent[number] = _Frame(group, timer)
        for waiting in group:
            waiting.is_sent = True
        try:
            self._socket.send(encoded, zmq.NOBLOCK)
        except zmq.Again:  # the connection is lost
            for waiting in self._end(number):
                waiting.resolve(Lost(sent=False))
            self.close()

    def _end(self, number: int) -> list[Waiting]:
        """Stop waiting for a frame's reply; return its requests."""
        frame = self._sent.pop(number, _Frame([], None))
        if frame.timer is not None:
            frame.timer.cancel()
        for waiting in frame.group:
            waiting.is_sent = False
            if waiting.on_end is not None:
                waiting.on_end()
        return frame.group

    def _encode(self, number: int, operations: tuple[Operation, ...], deadline: float) -> bytes:
        left = max(0.0, min(deadline - self._loop.time(), LONGEST_SECONDS))
        return encode(Request(CLIENT_PROTOCOL_VERSION, number, int(left * 1000), operations))

    def _is_writable(self) -> bool:
        if not self._connected:
            self._connected = _has_event(self._socket, zmq.POLLOUT)
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
            text = f"{self._endpoint} gave no valid reply: {error}"
            self._fail_all(text)
            return
        if reply.id == NO_REQUEST:
            self._fail_all(f"{self._endpoint} could not read a request: {reply.outcomes}")
            return
        group = self._end(reply.id)
        if group:  # else the reply came after the deadline
            self._share_out(reply, group)

    def _fail_all(self, text: str) -> None:
        """Close the connection; pending requests fail, because none knows its reply."""
        for number in list(self._sent):
            for waiting in self._end(number):
                waiting.fail(RPCCallFailed(text))
        self.close()

    def _share_out(self, reply: Reply, group: Sequence[Waiting]) -> None:
        count = sum(len(waiting.ask.operations) for waiting in group)
        if len(reply.outcomes) != count:
            text = f"{self._endpoint} answered {count} operations with {len(reply.outcomes)}"
            for waiting in group:
                waiting.fail(RPCCallFailed(text))
            return
        place = 0
        for waiting in group:
            end = place + len(waiting.ask.operations)
            outcomes = reply.outcomes[place:end]
            place = end
            codes = {each.code for each in outcomes if isinstance(each, Failed)}
            self._is_full = self._is_full or FailureCode.STORAGE_FULL in codes
            if len(group) > 1 and FailureCode.TOO_LARGE in codes and not waiting.future.done():
                self._send([waiting])  # its outcome did not fit into the shared reply
            else:
                waiting.resolve(Answered(outcomes))

    # --- losses

    def _on_monitor(self) -> None:
        if not self.is_lost and _has_event(self._monitor, zmq.POLLIN):
            self._drain()  # replies that arrived before the loss count
            self.close()

    def _expect_connection(self) -> None:
        self._flush()
        if not self._connected:
            self.close()

    def _expire(self, number: int) -> None:
        """Give up on a frame without a reply shortly after its deadline."""
        for waiting in self._end(number):
            waiting.resolve(Lost(sent=True))


def _grows(waiting: Waiting) -> bool:
    """Return whether any of the operations is an insert."""
    return any(
        isinstance(each, Write) and isinstance(each.command, Insert)
        for each in waiting.ask.operations
    )


def _has_event(socket: "zmq.Socket[bytes]", event: int) -> bool:
    return bool(int(socket.getsockopt(zmq.EVENTS)) & event)
