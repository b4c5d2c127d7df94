"""RollCall: asks all addresses of a client at once which cluster they belong to."""

import threading
import time

import zmq

from protocol.client.census import UNDECIDED, Census
from protocol.client.routing import address_of
from protocol.client.steps import Counted, TakeCensus
from protocol.deadlines import NEVER
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Hello,
    Outcome,
    Request,
)
from protocol.wire import Malformed, decode_reply, encode
from skiff.channel import Channel
from skiff.connection import LOST_EVENTS
from skiff.transport import SLICE_MS, Transport

TIMEOUT_MS = 5000  # sent to the node; the client itself waits less


class RollCall:
    """Asks until the cluster is decided. Threads may share it."""

    def __init__(self, transport: Transport, endpoints: list[str]) -> None:
        self._transport = transport
        self._endpoints = endpoints
        self._census = Census(map(address_of, endpoints))
        self._lock = threading.RLock()  # of which a thread knows whether it holds it

    def take(self, step: TakeCensus) -> Counted:
        """Return the cluster that the addresses name, given one node's greeting.

        Asks no other address if that node's cluster has members at all of them. The result is
        undecided at the step's deadline, also while another thread asks, and when the client is
        closed.
        """
        left = min(max(0.0, step.deadline - time.monotonic()), threading.TIMEOUT_MAX)
        try:
            if not self._lock.acquire(timeout=left):
                return Counted(b"", UNDECIDED)
            self._census.begin(address_of(step.greeted), step.welcome, time.monotonic())
            return self._count(step.deadline) or self._ask(step)
        finally:
            try:  # noqa: SIM105 - an interrupt may come within ``suppress``, and before the call
                self._lock.release()
            except RuntimeError:  # its turn has not come
                pass

    def _count(self, deadline: float) -> Counted | None:
        now = NEVER if self._transport.closed else time.monotonic()
        return self._census.count(now, deadline)

    def _ask(self, step: TakeCensus) -> Counted:
        """Ask all addresses except the greeted one concurrently."""
        channels = {each: self._call(each) for each in self._endpoints if each != step.greeted}
        try:
            while (counted := self._count(step.deadline)) is None:
                self._hear(channels)
            return counted
        finally:
            for channel in channels.values():
                channel.close()

    def _call(self, endpoint: str) -> Channel:
        channel = Channel(self._transport, zmq.REQ, LOST_EVENTS)
        channel.connect(endpoint)
        channel.socket.send(encode(Request(CLIENT_PROTOCOL_VERSION, 1, TIMEOUT_MS, (Hello(),))))
        return channel

    def _hear(self, channels: dict[str, Channel]) -> None:
        """Note the replies that arrive within a slice; close the channels that have answered."""
        poller = zmq.Poller()
        for channel in channels.values():
            poller.register(channel.socket, zmq.POLLIN)
            poller.register(channel.monitor, zmq.POLLIN)
        ready = dict(poller.poll(SLICE_MS))
        for endpoint, channel in list(channels.items()):
            if channel.socket in ready:
                outcome = _outcome(channel.socket.recv())
            elif channel.monitor in ready:
                channel.why_lost()  # notes the failure of a handshake
                outcome = None
            else:
                continue
            self._census.note_outcome(address_of(endpoint), outcome)
            channels.pop(endpoint).close()


def _outcome(frame: bytes) -> Outcome | None:
    """Return the outcome of a greeting, or None if the frame is no valid reply."""
    try:
        outcomes = decode_reply(frame).outcomes
    except Malformed:
        return None
    return outcomes[0] if outcomes else None
