"""Sender of a peer connection: the node that opened it, as its first message says.

Bytes are those of ZMTP 3: a greeting, then frames, each with a byte of flags and its length. Each
message of a peer is one frame of skiff, which carries the address of its sender.
"""

from protocol.wire import Malformed, decode_peer_frame

GREETING_BYTES = 64
LONG, COMMAND = 2, 4  # flags: the length has eight bytes; the frame is no message
SHORT_HEAD, LONG_HEAD = 2, 9  # bytes of flags and length


class Sender:
    """The sender of one connection, from the bytes that it sends."""

    def __init__(self, address: str = "") -> None:
        """Begin before the first byte, unless the address is known."""
        self.address = address  # host:port of the node; empty until a message was complete
        self._is_open = not address  # whether it may still be found
        self._unread = bytearray()
        self._skip = GREETING_BYTES

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._is_open:
            self._unread += data
            while self._take_frame():
                pass

    def _take_frame(self) -> bool:
        """Process a frame; return False if it is not complete, or no more are needed."""
        start = self._skip
        head = self._unread[start : start + LONG_HEAD]
        is_long = bool(head) and bool(head[0] & LONG)
        size = LONG_HEAD if is_long else SHORT_HEAD
        if len(head) < size:
            return False
        end = start + size + int.from_bytes(head[1:size], "big")
        if len(self._unread) < end:
            return False
        if not head[0] & COMMAND:
            self._take_message(bytes(self._unread[start + size : end]))
        del self._unread[:end]
        self._skip = 0
        return self._is_open

    def _take_message(self, body: bytes) -> None:
        """Find the sender; where the first message has none, it is not known."""
        self._is_open = False
        try:
            self.address = decode_peer_frame(body).address
        except Malformed:
            return
