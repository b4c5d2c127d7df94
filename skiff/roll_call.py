"""Roll call: all addresses that a client was given, asked at once which cluster they belong to."""

import threading
import time

import zmq

from protocol.client.census import Census
from protocol.client.routing import address_of
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Hello,
    Outcome,
    Request,
    Welcome,
)
from protocol.wire import Malformed, decode_reply, encode
from skiff.connection import LOST_EVENTS
from skiff.transport import SLICE_MS, Channel, Transport

UNDECIDED = "too few addresses answered to know which cluster is meant"
TIMEOUT_MS = 5000  # for a node to answer; a client waits less


class RollCall:
    """Asks until it is decided which cluster counts. Safe to share by threads."""

    def __init__(self, transport: Transport, endpoints: list[str]) -> None:
        self._transport = transport
        self._endpoints = endpoints
        self._census = Census(map(address_of, endpoints))
        self._began = float("inf")  # seconds of a steady clock
        self._lock = threading.Lock()

    def take(self, greeted: str, welcome: Welcome, deadline: float) -> bytes:
        """Return the cluster that counts; a node that was greeted already belongs to some cluster.

        Nobody else is asked where that node's cluster has members at all addresses. Returns
        nothing if it is still undecided at the deadline, or when the client is closed.

        Raises:
            DividedCensus: the addresses name several clusters.
        """
        with self._lock:
            self._began = min(self._began, time.monotonic())
            self._census.note_outcome(address_of(greeted), welcome)
            return self._decide() or self._ask(greeted, deadline)

    def _decide(self) -> bytes:
        return self._census.decide(time.monotonic() - self._began)

    def _ask(self, greeted: str, deadline: float) -> bytes:
        """Ask all nodes but the greeted one, side by side."""
        cluster = b""
        channels = {each: self._call(each) for each in self._endpoints if each != greeted}
        try:
            while not (cluster or self._transport.closed or time.monotonic() >= deadline):
                self._hear(channels)
                cluster = self._decide()
        finally:
            for channel in channels.values():
                channel.close()
        return cluster

    def _call(self, endpoint: str) -> Channel:
        channel = Channel(self._transport, zmq.REQ, LOST_EVENTS)
        channel.connect(endpoint)
        channel.socket.send(encode(Request(CLIENT_PROTOCOL_VERSION, 1, TIMEOUT_MS, (Hello(),))))
        return channel

    def _hear(self, channels: dict[str, Channel]) -> None:
        """Take in what arrives within a slice; who has answered is not listened to any more."""
        poller = zmq.Poller()
        for channel in channels.values():
            poller.register(channel.socket, zmq.POLLIN)
            poller.register(channel.monitor, zmq.POLLIN)
        ready = dict(poller.poll(SLICE_MS))
        for endpoint, channel in list(channels.items()):
            if channel.socket in ready:
                outcome = _outcome(channel.socket.recv())
            elif channel.monitor in ready:
                outcome = None
            else:
                continue
            self._census.note_outcome(address_of(endpoint), outcome)
            channels.pop(endpoint).close()


def _outcome(frame: bytes) -> Outcome | None:
    """Return what a node answers to a greeting, None where that is no reply."""
    try:
        outcomes = decode_reply(frame).outcomes
    except Malformed:
        return None
    return outcomes[0] if outcomes else None
