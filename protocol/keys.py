"""Keys: their encoding, their limits, prefixes and parent paths."""

KEY_BYTES_MAX = 4096
SEPARATOR = "/"


class InvalidKey(ValueError):
    """Text that is not a valid key."""


def encode_key(key: object) -> bytes:
    """Return a key's bytes, which RocksDB and Python sort in the same order.

    Raises:
        InvalidKey: the key is not a str, empty, longer than ``KEY_BYTES_MAX`` bytes of UTF-8,
            or holds a NUL.
    """
    if not isinstance(key, str):
        raise InvalidKey(f"a key is a str, not {type(key).__name__}")
    if not key:
        raise InvalidKey("a key cannot be empty")
    if "\0" in key:
        raise InvalidKey(f"a key cannot hold a NUL character: {key[:80]!r}")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise InvalidKey(f"a key must be valid Unicode text: {key[:80]!r}") from None
    if len(encoded) > KEY_BYTES_MAX:
        raise InvalidKey(
            f"a key holds at most {KEY_BYTES_MAX} bytes, this one {len(encoded)}: {key[:40]!r}…"
        )
    return encoded


def is_key(key: str) -> bool:
    """Whether text is short enough and free of NUL, so that every table can hold it as a key."""
    return bool(key) and "\0" not in key and len(key) <= KEY_BYTES_MAX


def encode_prefix(prefix: object) -> bytes:
    """Return the bytes that every key under a prefix begins with; ``""`` and ``"/"`` mean all.

    Raises:
        InvalidKey: no valid key can begin with the prefix.
    """
    if prefix in ("", SEPARATOR):
        return b""
    return encode_key(prefix)


def parent_of(key: str) -> str:
    """Return the path above a key: ``"a/b"`` for ``"a/b/c"``, ``""`` for a key at the root."""
    return key.rpartition(SEPARATOR)[0]
