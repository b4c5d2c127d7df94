"""Greeting: the security that a node offers, as the first bytes of a connection tell.

Of two ends with different security, the one that notices it first closes the connection; the other
one cannot tell that from the end of a node. After an aborted handshake, the node's greeting is
therefore read over a plain connection.
"""

import contextlib
import socket
import threading

SIGNATURE = b"\xff" + bytes(8) + b"\x7f" + b"\x03"  # of ZMTP, with its major version
MECHANISM = slice(12, 32)  # of a greeting
SECONDS = 1.0  # for the node's answer
PENDING_MAX = 16  # nodes that are asked at the same time


class Greetings:
    """Asks nodes in threads, which delay no call. Threads may share it."""

    def __init__(self) -> None:
        self._pending: set[str] = set()
        self._offered: dict[str, str] = {}

    def ask(self, endpoint: str) -> None:
        """Begin to ask the node at an endpoint, unless that is being done."""
        if endpoint in self._pending or len(self._pending) >= PENDING_MAX:
            return
        self._pending.add(endpoint)
        # A daemon, so that no program waits for it at its end.
        threading.Thread(target=self._ask, args=(endpoint,), daemon=True).start()

    def take(self, endpoint: str) -> str:
        """Return what the node has last offered, like NULL or CURVE; empty if that is unknown."""
        return self._offered.pop(endpoint, "")

    def _ask(self, endpoint: str) -> None:
        try:
            with contextlib.suppress(OSError, UnicodeError):
                self._offered[endpoint] = mechanism_of(endpoint)
        finally:
            self._pending.discard(endpoint)


def mechanism_of(endpoint: str) -> str:
    """Return the mechanism that a node offers; empty if it answers no greeting of ZMTP.

    Raises:
        OSError: there is no connection, or no answer in time.
    """
    with _connect(endpoint) as connection:
        connection.sendall(SIGNATURE)
        greeting = b""
        while len(greeting) < MECHANISM.stop:
            received = connection.recv(MECHANISM.stop - len(greeting))
            if not received:
                return ""
            greeting += received
    return greeting[MECHANISM].rstrip(b"\0").decode("ascii", "replace")


def _connect(endpoint: str) -> socket.socket:
    scheme, _, place = endpoint.partition("://")
    if scheme == "ipc":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SECONDS)
        try:
            connection.connect(place)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), SECONDS)
