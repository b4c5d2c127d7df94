"""User keys: public keys as text, 40 characters of Z85, as ZeroMQ writes them."""

from protocol.security.keys import InvalidKey, parse_key
from skiff.errors import InvalidRequest


def decode_user_key(text: object) -> bytes:
    """Return the 32 bytes of a public key.

    Raises:
        InvalidRequest: it is not a key as text.
    """
    try:
        return parse_key(text if isinstance(text, str) else "")
    except InvalidKey:
        raise InvalidRequest(
            f"a public key is text of 40 characters of Z85, not {text!r}"
        ) from None
