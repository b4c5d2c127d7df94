"""Transport: a client's sockets, which may be closed while other threads use them.

Sockets belong to the process that opened them. A forked child opens its own and never touches
its parent's, because they share their wake-up descriptors.
"""

import os
import threading
import time
import weakref

from protocol.security.handshakes import ServerKeys
from protocol.security.keys import ClientKeys
from skiff.errors import ClientClosed
from skiff.greeting import Greetings
from skiff.open_sockets import OpenSockets

SLICE_MS = 40  # between two checks of a waiting call for a closed client or a lost node
CLOSE_SECONDS = 1.0  # for calls in progress to end; each notices within ``SLICE_MS``


class Transport:
    """The sockets of a client's calls, subscribers and backups. Threads may share it.

    Every use of a socket is inside ``with transport.use():``, after ``check_open``. After
    ``close``, the last use to end closes the sockets, so that none is closed while a thread uses
    it.
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
        self._uses: set[weakref.ref[threading.Lock]] = set()
        self._last_uses: list[weakref.ref[threading.Lock]] = []  # that ``close`` has not awaited
        self.lock = threading.RLock()  # reentrant for signal handlers and finalizers
        self._closing = threading.Event()
        if self.closed:
            self._closing.set()
        self._pid = os.getpid()  # last, as other threads of the child check it

    def use(self) -> threading.Lock:
        """Return the lock of one use of sockets, to be held during it.

        A ``with`` statement takes and leaves a lock by C code alone, which no interrupt, as by
        Ctrl-C, comes between; an interrupted count of uses would never fall to 0.
        """
        if self._pid != os.getpid():
            self._begin()
        use = threading.Lock()
        self._uses.add(weakref.ref(use, self._uses.discard))
        return use

    def check_open(self) -> None:
        """Check that the client is open, at the beginning of a use.

        Raises:
            ClientClosed: the client is closed.
        """
        if self.closed:
            raise ClientClosed("the client is closed; this call did nothing")

    def close(self) -> None:
        """Refuse further calls and end those in progress; returns within a second."""
        self.closed = True
        if self._pid != os.getpid():
            return
        self._closing.set()
        deadline = time.monotonic() + CLOSE_SECONDS
        for use in self._present_uses():
            if use.acquire(timeout=max(0.0, deadline - time.monotonic())):
                use.release()
            else:
                self._last_uses.append(weakref.ref(use, self._close_unused))
        self._close_unused()

    def _close_unused(self, _: object = None) -> None:
        """Close the sockets, unless there is another use."""
        with self.lock:
            if not any(use.locked() for use in self._present_uses()):
                self.sockets.close_all()

    def _present_uses(self) -> list[threading.Lock]:
        return [use for each in list(self._uses) if (use := each()) is not None]

    def pause(self, seconds: float) -> None:
        """Wait ``seconds``, or until the client is closed."""
        self._closing.wait(seconds)
