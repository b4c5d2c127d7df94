"""Gatekeeper: who may connect to which port of a node.

ZeroMQ asks it once for each connection that has proved to hold a key (ZAP, RFC 27). It refuses what
it does not know: a request that is malformed, of another version, domain or mechanism, or a key.
"""

from collections.abc import Collection, Sequence

import msgspec

from protocol.security import z85
from protocol.security.keys import KEY_BYTES, InvalidKey, parse_key

VERSION = b"1.0"
CLIENT_DOMAIN, PEER_DOMAIN = b"skiff-client", b"skiff-peer"
MECHANISM = b"CURVE"
REQUEST_FRAMES = 7  # version, request, domain, address, routing id, mechanism, credentials
ADMITTED, REFUSED, MALFORMED = b"200", b"400", b"500"
USERS_KEPT = 10_000  # user ids whose keys are remembered


class Decision(msgspec.Struct, frozen=True):
    """The decision on one connection."""

    status: bytes
    text: str  # the reason, for the log
    user_id: str = ""  # the public key as text, if it is admitted
    address: str = ""  # of the other end; empty on the same machine

    @property
    def admits(self) -> bool:
        """Whether the connection is accepted."""
        return self.status == ADMITTED


class Gatekeeper:
    """Decides by the cluster's keys, and for clients also by those of the users."""

    def __init__(self, cluster: Collection[bytes]) -> None:
        """Admit these keys of the cluster, and no user yet."""
        self._cluster = frozenset(cluster)
        self._users: frozenset[bytes] = frozenset()
        self._by_id: dict[str, bytes] = {}  # users by their ids; b"" for the cluster itself

    def admit_users(self, keys: Collection[bytes]) -> None:
        """Admit clients with these public keys of 32 bytes from now on, and no other users.

        Connections that are open stay open: each request of theirs is authorized by itself.
        """
        self._users = frozenset(keys)

    def decide(self, request: Sequence[bytes]) -> Decision:
        """Return the decision on a request of ZeroMQ, given without its envelope."""
        if len(request) != REQUEST_FRAMES:
            return Decision(MALFORMED, "malformed request")
        version, _, domain, sender, _, mechanism, key = request
        address = sender.decode("ascii", "replace")
        if version != VERSION:
            return Decision(MALFORMED, "unknown version", address=address)
        if mechanism != MECHANISM or len(key) != KEY_BYTES:
            return Decision(REFUSED, "no key", address=address)
        if not self._is_known(domain, key):
            return Decision(REFUSED, f"unknown key {z85.encode(key)}", address=address)
        return Decision(ADMITTED, "", z85.encode(key), address)

    def _is_known(self, domain: bytes, key: bytes) -> bool:
        if domain == PEER_DOMAIN:
            return key in self._cluster
        return domain == CLIENT_DOMAIN and (key in self._cluster or key in self._users)

    def user_of(self, user_id: str) -> bytes | None:
        """Return the user of a message: the 32 bytes of the public key, b"" for the cluster's own.

        None for a message without a valid user id, which must be refused.
        """
        user = self._by_id.get(user_id)
        return self._read(user_id) if user is None else user

    def _read(self, user_id: str) -> bytes | None:
        try:
            key = parse_key(user_id)
        except InvalidKey:
            return None
        if len(self._by_id) >= USERS_KEPT:
            self._by_id.clear()
        user = self._by_id[user_id] = b"" if key in self._cluster else key
        return user


def reply(request: Sequence[bytes], decision: Decision) -> list[bytes]:
    """Return the frames that tell ZeroMQ of a decision."""
    number = request[1] if len(request) > 1 else b""
    user_id = decision.user_id.encode("ascii")
    return [VERSION, number, decision.status, decision.text.encode(), user_id, b""]
