"""Keys: the CURVE keys of a cluster and of its users.

A key pair of the cluster is held by each of its nodes. It is the identity of all three ports, and
of the node itself where it is a client: of its peers, and of its own ports. Each user of clients
has a pair of their own, and knows the public keys of the cluster.
"""

from typing import Any

import msgspec

from protocol.security import z85

KEY_BYTES = 32


class InvalidKey(ValueError):
    """A key, or the text of a key file, that cannot be used."""


class KeyPair(msgspec.Struct, frozen=True):
    """A public key and its secret, of 32 bytes each; the secret is never shown."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"<KeyPair {z85.encode(self.public)}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show the public key alone."""
        return [("public", z85.encode(self.public))]


class ClusterKeys(msgspec.Struct, frozen=True):
    """The keys of a node: the cluster's pair, and further public keys during a rotation."""

    pair: KeyPair
    accepted: tuple[bytes, ...] = ()

    @property
    def known(self) -> tuple[bytes, ...]:
        """The public keys by which other nodes are known, the current one first."""
        return (self.pair.public, *self.accepted)


class ClientKeys(msgspec.Struct, frozen=True):
    """The keys of a client: its own pair, and the public keys by which nodes are known."""

    pair: KeyPair
    servers: tuple[bytes, ...]


def parse_key(text: str) -> bytes:
    """Return the 32 bytes of a key, given as 40 characters of Z85.

    Raises:
        InvalidKey: it is none; the message does not show it.
    """
    try:
        key = z85.decode(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidKey("a key is 40 characters of Z85: the value of public in a .key file")
    return key
