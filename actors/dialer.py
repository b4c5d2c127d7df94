"""Dialer: opens links to other nodes, with each of the known server keys in turn.

ZeroMQ gives a connection up for good when the other end refuses its key, or has keys where this end
has none, and it tries for ever with the same server key: such a link is closed and dialed again.
"""

import contextlib
import logging
import time

from actors.logs import OncePerSender
from actors.port import Frames, Port
from actors.sockets import ConnectFailed, Sockets
from protocol.address import InvalidAddressText, parse_address
from protocol.security.handshakes import SUCCEEDED, Failure, ServerKeys, failure_of, read_event

REDIAL_SECONDS = 0.25  # between two attempts with the same key

log = logging.getLogger("skiff.dialer")


class Dialer:
    """The links of one actor to other nodes, and what their handshakes have shown."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.server_keys = ServerKeys(() if sockets.keys is None else sockets.keys.known)
        self._troubles: dict[str, str] = {}  # by endpoint
        self._warned = OncePerSender()

    def dial(self, address: str, *, is_heard: bool = False) -> "PeerLink | None":
        """Return a link to an address; None, after a warning, if it is none to connect to.

        A link that ``is_heard`` is watched for replies.
        """
        try:
            return PeerLink(self, parse_address(address).peer_endpoint, is_heard=is_heard)
        except (InvalidAddressText, ConnectFailed) as error:
            log.warning("cannot reach %r: %s", address, error)
            return None

    def trouble_of(self, address: str) -> str:
        """Return what the handshakes with a node have shown, in words; empty if nothing."""
        try:
            return self._troubles.get(parse_address(address).peer_endpoint, "")
        except InvalidAddressText:
            return ""

    def note_success(self, endpoint: str) -> None:
        """Record that a handshake has succeeded."""
        self.server_keys.note_success(endpoint)
        self._troubles.pop(endpoint, None)

    def note_failure(self, endpoint: str, key: bytes, event: int, value: int) -> bool:
        """Record that a handshake has failed with a server key; log what that shows.

        Returns whether the link must be dialed again: another key is due, or ZeroMQ gives up.
        """
        failure = failure_of(event, value)
        if failure is None:
            return False
        trouble = self.server_keys.note_failure(endpoint, key, failure)
        if trouble is not None and (trouble.is_certain or endpoint not in self._troubles):
            self._troubles[endpoint] = trouble.text
            if self._warned.is_new(f"{endpoint} {trouble.text}".encode()):
                log.warning("the node at %s %s", endpoint.removeprefix("tcp://"), trouble.text)
        return failure is not Failure.BROKEN_OFF or self.server_keys.has_several


class PeerLink:
    """One DEALER to a peer port, and the monitor of its handshakes."""

    def __init__(self, dialer: Dialer, endpoint: str, *, is_heard: bool) -> None:
        """Connect in the background.

        Raises:
            ConnectFailed: ZeroMQ cannot connect to the endpoint, ever.
        """
        self._dialer = dialer
        self._sockets = dialer.sockets
        self._endpoint = endpoint
        self._is_heard = is_heard
        self._redial_at = 0.0
        self._key = b""
        self._port: Port | None = None
        self._connect()

    def send(self, frame: bytes) -> None:
        """Send a frame, or drop it if there is no connection."""
        if self._port is None and self._redial_at <= time.monotonic():
            self._redial()
        if self._port is not None:
            self._port.send(frame)

    def receive(self) -> list[Frames]:
        """Return the messages that have arrived."""
        return [] if self._port is None else list(self._port.drain())

    def close(self) -> None:
        """Close the link and drop what is unsent."""
        port, self._port = self._port, None
        if port is None:
            return
        if self._is_heard:
            self._sockets.forget(port)
        else:
            port.close()
        assert port.monitor is not None
        self._sockets.forget(port.monitor)

    def _connect(self) -> None:
        if self._sockets.keys is not None:
            self._key = self._dialer.server_keys.choose(self._endpoint)
        port = self._port = self._sockets.peer_dealer(self._endpoint, self._key)
        assert port.monitor is not None
        self._sockets.watch(port.monitor, self._hear_of_handshake)
        if self._is_heard:
            self._sockets.watch(port)

    def _redial(self) -> None:
        """Connect again, or later if the system does not allow it now."""
        self._redial_at = time.monotonic() + REDIAL_SECONDS
        with contextlib.suppress(ConnectFailed):
            self._connect()

    def _hear_of_handshake(self) -> None:
        """Give a connection up whose handshake has failed; try the next key at once."""
        assert self._port is not None
        assert self._port.monitor is not None
        events = [read_event(frames[0]) for frames in self._port.monitor.drain()]
        for event, value in events:
            if event == SUCCEEDED:
                self._dialer.note_success(self._endpoint)
                continue
            if self._dialer.note_failure(self._endpoint, self._key, event, value):
                self.close()
                self._redial_at = time.monotonic() + REDIAL_SECONDS
                if self._dialer.server_keys.has_more(self._endpoint):
                    self._redial()
                return
