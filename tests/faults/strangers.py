"""Strangers: connections without a key that send all they can before the handshake."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from skiff.testing import Node
from tests.faults.memory import resident_bytes
from tests.faults.raw_connection import COMMAND, MORE, SECURE_GREETING, frame, head

CHUNK_BYTES = 256 << 10
POLL_MS = 20


class Flood(msgspec.Struct, frozen=True):
    """What a stranger sends: a beginning, and then one chunk again and again."""

    beginning: bytes
    chunk: bytes
    size: int  # bytes of all chunks, after which it only waits


def huge_command(size: int) -> Flood:
    """Announce a command of this many bytes, and send all but its end."""
    return Flood(SECURE_GREETING + head(size, COMMAND), bytes(CHUNK_BYTES), size - CHUNK_BYTES)


def endless_message(size: int) -> Flood:
    """Send frames of one byte, none of them the last one of its message."""
    return Flood(SECURE_GREETING, frame(b"x", MORE) * (CHUNK_BYTES // 3), size)


class _Stranger:
    """One connection, made again when the node closes it."""

    def __init__(self, port: int, flood: Flood) -> None:
        self._flood = flood
        self._left = flood.size
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(flood.beginning)
        self.socket.setblocking(False)

    def send(self) -> bool:
        """Send what the system takes; return whether there is more to send."""
        with contextlib.suppress(BlockingIOError):
            self._left -= self.socket.send(self._flood.chunk)
        return self._left > 0


class _Background(threading.Thread):
    """A thread that runs until the context ends."""

    def __init__(self) -> None:
        super().__init__()
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self.join()


class Strangers(_Background):
    """A crowd at one port of a node."""

    def __init__(self, port: int, flood: Flood, count: int) -> None:
        super().__init__()
        self._make: Callable[[], _Stranger] = lambda: _Stranger(port, flood)
        self._count = count
        self._crowd: dict[int, _Stranger] = {}
        self._poll = select.poll()
        self.made = 0

    def run(self) -> None:
        while not self._is_over.is_set():
            while len(self._crowd) < self._count:
                self._add()
            for descriptor, _ in self._poll.poll(POLL_MS):
                self._serve(descriptor)
        for each in self._crowd.values():
            each.socket.close()

    def _add(self) -> None:
        with contextlib.suppress(OSError):
            stranger = self._make()
            self._crowd[stranger.socket.fileno()] = stranger
            self._poll.register(stranger.socket, select.POLLOUT)
            self.made += 1

    def _serve(self, descriptor: int) -> None:
        try:
            if not self._crowd[descriptor].send():
                self._poll.modify(descriptor, 0)  # it still reports that the node closes it
        except OSError:
            self._poll.unregister(descriptor)
            self._crowd.pop(descriptor).socket.close()


class Peak(_Background):
    """The most resident bytes that an actor of a node has had, since the context began."""

    def __init__(self, node: Node, actor: str) -> None:
        super().__init__()
        self._measure: Callable[[], int] = lambda: resident_bytes(node, actor)
        self.bytes = 0

    def run(self) -> None:
        while not self._is_over.wait(POLL_MS / 1000):
            self.bytes = max(self.bytes, self._measure())
