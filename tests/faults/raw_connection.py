"""RawConnection: ZeroMQ's protocol byte by byte, as no library sends it (ZMTP 3.0)."""

import socket
import struct
from types import TracebackType
from typing import Self

SIGNATURE = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00"
GREETING = SIGNATURE + b"NULL".ljust(20, b"\0") + bytes(32)
SECURE_GREETING = SIGNATURE + b"CURVE".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4
BUFFER_BYTES = 4096


class RawConnection:
    """A TCP connection to one of a node's endpoints; it reads only on demand."""

    def __init__(self, endpoint: str, kind: bytes = b"") -> None:
        """Connect, with a ZMTP handshake if a socket type is given."""
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.socket.settimeout(10)
        self.socket.connect((host, int(port)))
        if kind:
            try:
                self._greet(kind)
            except OSError:
                self.socket.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def _greet(self, kind: bytes) -> None:
        self.socket.sendall(GREETING)
        self.send(b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind, COMMAND)
        self._read(len(GREETING))
        _, size = self._read(2)
        self._read(size)  # READY, which must come before any message

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError("closed by the node")
            data += part
        return data

    def send(self, body: bytes, flags: int = 0) -> None:
        """Send a frame."""
        self.socket.sendall(frame(body, flags))

    def subscribe(self, topic: bytes) -> None:
        """Send a subscription."""
        self.send(b"\1" + topic)

    def answer_ping(self) -> None:
        """Send a pong, even without a ping."""
        self.send(b"\4PONG", COMMAND)

    def is_closed(self) -> bool:
        """Read all that has arrived; return whether the node has closed the connection."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(1 << 20):
                pass
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return the bytes of a frame."""
    if len(body) > 255:
        return head(len(body), flags) + body
    return struct.pack("BB", flags, len(body)) + body


def head(size: int, flags: int = 0) -> bytes:
    """Return what announces a long frame of this many bytes."""
    return struct.pack(">BQ", flags | LONG, size)
