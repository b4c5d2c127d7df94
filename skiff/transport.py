"""Transport: a client's sockets, which may be closed while other threads use them.

Sockets belong to the process that opened them. A forked child opens its own and never touches
its parent's, because they share their wake-up descriptors.
"""

import os
import threading
import weakref
from types import TracebackType
from typing import Self

from protocol.security.handshakes import ServerKeys
from protocol.security.keys import ClientKeys
from skiff.errors import ClientClosed
from skiff.greeting import Greetings
from skiff.open_sockets import OpenSockets

SLICE_MS = 40  # between two checks of a waiting call for a closed client or a lost node
CLOSE_SECONDS = 1.0  # for calls in progress to end; each notices within ``SLICE_MS``


class Transport:
    """The sockets of a client's calls, subscribers and backups. Threads may share it.

    Every use of a socket is inside ``with transport``. After ``close``, the last use to end closes
    the sockets, so that none is closed while a thread uses it.
    """

    def __init__(self, keys: ClientKeys | None = None) -> None:
        """Encrypt all connections by these keys, and connect to no node that cannot prove its."""
        self.keys = keys
        self.server_keys = ServerKeys(() if keys is None else keys.servers)
        self.closed = False
        self._begin()

    def _begin(self) -> None:
        """Reset sockets and locks, which a forked child must not share with its parent."""
        self.sockets = OpenSockets()
        self.greetings = Greetings()
        # Closes the sockets of a client that is dropped without ``close``.
        self._dropped = weakref.finalize(self, self.sockets.close_all)
        self._dropped.atexit = False
        self._uses = 0
        self.lock = threading.RLock()  # reentrant for signal handlers and finalizers
        self._unused = threading.Condition(self.lock)
        self._closing = threading.Event()
        if self.closed:
            self._closing.set()
        self._pid = os.getpid()  # last, as other threads of the child check it

    def __enter__(self) -> Self:
        """Begin to use sockets.

        Raises:
            ClientClosed: the client is closed.
        """
        if self._pid != os.getpid():
            self._begin()
        with self.lock:
            if self.closed:
                raise ClientClosed("the client is closed; this call did nothing")
            self._uses += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.lock:
            self._uses -= 1
            if self.closed and not self._uses:
                self.sockets.close_all()
                self._unused.notify_all()

    def close(self) -> None:
        """Refuse further calls and end those in progress; returns within a second."""
        self.closed = True
        if self._pid != os.getpid():
            return
        self._closing.set()
        with self.lock:
            if self._unused.wait_for(lambda: not self._uses, CLOSE_SECONDS):
                self.sockets.close_all()

    def pause(self, seconds: float) -> None:
        """Wait ``seconds``, or until the client is closed."""
        self._closing.wait(seconds)
