"""StandIn: takes a dead node's place on the network, and sends given messages to its peers."""

import time
from types import TracebackType
from typing import Self, TypeVar

import zmq

from protocol.address import parse_address
from protocol.messages.peer import PEER_PROTOCOL_VERSION, PeerFrame, PeerMessage
from protocol.wire import decode_peer_frame, encode
from skiff.testing import Node
from tests.cluster.keyed import secure_client, secure_server

MessageT = TypeVar("MessageT")

INCARNATION = 500  # newer than any incarnation of the real node
SECONDS = 15.0
REPEAT_MS = 50  # a peer drops replies until it has connected


class StandIn:
    """A member that is down, impersonated towards one other member."""

    def __init__(self, missing: Node, other: Node, cluster: bytes) -> None:
        self._cluster = cluster
        self._id = missing.id.bytes
        self._address = missing.address
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._heard = self._context.socket(zmq.ROUTER)
        secure_server(self._heard)
        self._heard.bind(parse_address(missing.address).peer_endpoint)
        self._link = self._context.socket(zmq.DEALER)
        secure_client(self._link)
        self._link.connect(parse_address(other.address).peer_endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._context.destroy(linger=0)

    def say(self, message: PeerMessage) -> None:
        """Send the other member a message."""
        frame = PeerFrame(
            PEER_PROTOCOL_VERSION, self._cluster, self._id, INCARNATION, self._address, (message,)
        )
        self._link.send(encode(frame))

    def hear(self, kind: type[MessageT]) -> MessageT:
        """Wait for the next message of one kind."""
        message = self._next(kind, time.monotonic() + SECONDS)
        assert message is not None, f"no {kind.__name__} was heard"
        return message

    def forget(self) -> None:
        """Drop all unread messages."""
        while self._heard.poll(0):
            self._heard.recv_multipart()

    def ask(self, request: PeerMessage, kind: type[MessageT]) -> MessageT:
        """Send a message repeatedly until a reply of one kind arrives."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.say(request)
            answer = self._next(kind, time.monotonic() + REPEAT_MS / 1000)
            if answer is not None:
                return answer
        raise AssertionError(f"{request} was not answered")

    def _next(self, kind: type[MessageT], deadline: float) -> MessageT | None:
        while (left := deadline - time.monotonic()) > 0:
            if not self._heard.poll(int(left * 1000) + 1):
                continue
            frame = decode_peer_frame(self._heard.recv_multipart()[-1])
            for message in frame.messages:
                if isinstance(message, kind):
                    return message
        return None
