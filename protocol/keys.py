"""Keys: their form, their place in the hierarchy, and the keys that a prefix covers."""

KEY_BYTES_MAX = 4096
SEPARATOR = "/"


class InvalidKey(ValueError):
    """A key that no node will store."""


def encode_key(key: object) -> bytes:
    """Return a key's bytes in the order in which RocksDB and Python both sort it.

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
    """Whether text is a key, whatever the reason if it is not."""
    return bool(key) and "\0" not in key and len(key) <= KEY_BYTES_MAX


def encode_prefix(prefix: object) -> bytes:
    """Return the bytes with which every key under a prefix begins; ``""`` and ``"/"`` mean all.

    Raises:
        InvalidKey: the prefix could not begin any key.
    """
    if prefix in ("", SEPARATOR):
        return b""
    return encode_key(prefix)


def parent_of(key: str) -> str:
    """Return the path above a key: ``"a/b"`` for ``"a/b/c"``, ``""`` for a key at the root."""
    return key.rpartition(SEPARATOR)[0]
