"""Handshakes: why one has failed, and which of the known server keys is tried next.

A node has one key, but for a while two may be in use: while the cluster's key is rotated, each
endpoint is tried with the known keys in turn. A node that has another key just closes the
connection, as one does that goes down; so only repeated failures say something.
"""

import struct
from collections.abc import Sequence
from enum import Enum

import msgspec

_EVENT = struct.Struct("=HI")
NO_DETAIL, PROTOCOL, REFUSED_AUTH = 0x0800, 0x2000, 0x4000  # events of ZeroMQ's monitors
SUCCEEDED = 0x1000
FAILED = NO_DETAIL | PROTOCOL | REFUSED_AUTH
MECHANISM_MISMATCH = 0x11000002  # value of an event of PROTOCOL
PLAIN, ENCRYPTED = "NULL", "CURVE"  # mechanisms that nodes offer
ROUNDS = 3  # rounds through all known keys before the failure is reported


class Failure(Enum):
    """Why a handshake has failed, as the connecting end sees it."""

    REFUSED = 1  # the node does not know the key
    MISMATCH = 2  # one end has keys, and the other has none
    BROKEN_OFF = 3  # the node has another key, or the connection was lost


def read_event(frame: bytes) -> tuple[int, int]:
    """Return the event, and its value or descriptor, of the first frame from ZeroMQ's monitor."""
    event, value = _EVENT.unpack_from(frame)
    return event, value


def failure_of(event: int, value: int) -> Failure | None:
    """Return what an event of a connecting socket's monitor means; None if it is no failure."""
    if event == REFUSED_AUTH:
        return Failure.REFUSED
    if event == PROTOCOL and value == MECHANISM_MISMATCH:
        return Failure.MISMATCH
    return Failure.BROKEN_OFF if event & FAILED else None


class Trouble(msgspec.Struct, frozen=True):
    """What failed handshakes say of a node, as a sentence without its subject."""

    text: str
    is_certain: bool = True  # else a node that goes down would do the same


REFUSED = Trouble("refuses this key")
KEYLESS = Trouble("does not offer the encryption that this side requires")
KEY_REQUIRED = Trouble("requires a key")
OTHER_KEY = Trouble("presents none of the known keys of this cluster")
PERHAPS_KEY_REQUIRED = Trouble("aborts every handshake: it may require a key", is_certain=False)
PERHAPS_OTHER_KEY = Trouble(
    "aborts every handshake: its key may not be among the known keys of the cluster",
    is_certain=False,
)


class ServerKeys:
    """The known keys of the nodes, which endpoint is tried with which, and what has failed."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """Begin with the first key; without any, connections are not encrypted."""
        self._keys = tuple(keys)
        self._places: dict[str, int] = {}  # of the key to try
        self._latest = 0  # for endpoints that were not tried
        self._failures: dict[str, int] = {}  # in a row

    def choose(self, endpoint: str) -> bytes:
        """Return the key that the node at an endpoint is expected to have."""
        return self._keys[self._places.get(endpoint, self._latest)]

    @property
    def has_several(self) -> bool:
        """Whether there is more than one key to try."""
        return len(self._keys) > 1

    def has_more(self, endpoint: str) -> bool:
        """Whether a key is left that has not failed at an endpoint since the last round."""
        return bool(self._failures.get(endpoint, 0) % max(1, len(self._keys)))

    def note_success(self, endpoint: str) -> None:
        """Record that a handshake has succeeded."""
        self._failures.pop(endpoint, None)

    def note_failure(
        self, endpoint: str, key: bytes, failure: Failure, offered: str = ""
    ) -> Trouble | None:
        """Record a failure with a key; return what it says of the node, None if nothing yet.

        ``offered`` is the mechanism that the node offers, empty if that is unknown.
        """
        if failure is Failure.REFUSED:
            return REFUSED
        if failure is Failure.MISMATCH or offered == (PLAIN if self._keys else ENCRYPTED):
            return KEYLESS if self._keys else KEY_REQUIRED
        failures = self._failures[endpoint] = self._failures.get(endpoint, 0) + 1
        if self._keys and self.choose(endpoint) == key:  # else another connection has moved on
            place = (self._places.get(endpoint, self._latest) + 1) % len(self._keys)
            self._places[endpoint] = self._latest = place
        if failures < ROUNDS * max(1, len(self._keys)):
            return None
        if not self._keys:
            return PERHAPS_KEY_REQUIRED
        return OTHER_KEY if offered == ENCRYPTED else PERHAPS_OTHER_KEY
