"""OpenSockets: a ZeroMQ context and its open sockets, which are closed together.

A context that ends waits for its sockets to be closed. pyzmq knows them by weak references, which
the garbage collector clears before it finalizes a context: of a client in a reference cycle, the
context would then wait for ever. These references are strong.
"""

import os

import zmq

SOCKETS_MAX = 16_384  # ZeroMQ's default of 1023 is too few for 400 threads at three sockets each


class OpenSockets:
    """The sockets that one process has opened for a client; the caller serializes all calls."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._open: set[zmq.Socket[bytes]] = set()

    def open(self, kind: int, events: int) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes]]":
        """Return a new socket and the monitor that receives these events of its connection.

        Both discard unsent messages when they are closed.

        Raises:
            zmq.ZMQError: the process has too many sockets or descriptors.
        """
        if self._context is None:
            self._context = _new_context()
        socket = self._context.socket(kind)
        try:
            monitor: zmq.Socket[bytes] = socket.get_monitor_socket(events)
        except zmq.ZMQError:
            socket.close(0)
            raise
        self._open.update((socket, monitor))
        return socket, monitor

    def close(self, socket: "zmq.Socket[bytes]") -> None:
        """Close a socket and discard its unsent messages; idempotent."""
        socket.close(0)
        self._open.discard(socket)

    def close_all(self) -> None:
        """Close all sockets and the context, unless they are a parent process's."""
        if self._pid != os.getpid() or self._context is None:
            return
        while self._open:
            self._open.pop().close(0)
        self._context.term()
        self._context = None


def _new_context() -> "zmq.Context[zmq.Socket[bytes]]":
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
    context.setsockopt(zmq.LINGER, 0)
    return context
