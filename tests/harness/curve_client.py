"""CurveClient: a socket of ZeroMQ with any keys, and what becomes of its handshake."""

from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import zmq
from zmq.utils import z85

from protocol.security.handshakes import FAILED, SUCCEEDED
from protocol.security.keys import KeyPair

EVENT_BYTES = 2


def new_pair() -> KeyPair:
    """Return a new key pair."""
    public, secret = map(z85.decode, zmq.curve_keypair())
    return KeyPair(public, secret)


class CurveClient:
    """A DEALER or SUB that connects at once; its monitor tells of the handshake alone."""

    def __init__(
        self,
        kind: int,
        endpoint: str,
        pair: KeyPair | None = None,
        server_key: bytes = b"",
        *,
        options: Mapping[int, bytes] | None = None,
        first: bytes = b"message",
    ) -> None:
        """Connect; a DEALER sends a ``first`` message, if it is not empty."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        if pair is not None:
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
        for option, value in (options or {}).items():
            self.socket.setsockopt(option, value)
        self._monitor = self.socket.get_monitor_socket(FAILED | SUCCEEDED)
        if kind == zmq.SUB:
            self.socket.subscribe(b"topic")
        self.socket.connect(endpoint)
        if kind == zmq.DEALER and first:
            with suppress(zmq.Again):  # the handshake has failed already, and there is no pipe
                self.socket.send(first, zmq.NOBLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.disable_monitor()
        self._context.destroy(linger=0)

    def succeeded(self) -> bool | None:
        """Return whether the handshake has succeeded; None while that is open."""
        if not self._monitor.poll(0):
            return None
        event = int.from_bytes(self._monitor.recv_multipart()[0][:EVENT_BYTES], "little")
        return event == SUCCEEDED
