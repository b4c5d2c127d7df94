"""User keys: public keys as text, 40 characters of Z85, as ZeroMQ writes them."""

import struct

from zmq.utils import z85

from protocol.state.user_commands import USER_BYTES
from skiff.errors import InvalidRequest


def decode_user_key(text: object) -> bytes:
    """Return the 32 bytes of a public key.

    Raises:
        InvalidRequest: it is not a key as text.
    """
    try:
        key = z85.decode(text.encode()) if isinstance(text, str) else b""
    except (KeyError, ValueError, struct.error):
        key = b""
    if len(key) != USER_BYTES:
        raise InvalidRequest(f"a public key is text of 40 characters of Z85, not {text!r}")
    return key


def encode_user_key(key: bytes) -> str:
    """Return a public key as text."""
    return z85.encode(key).decode()
