"""Values: Python objects to stored bytes and back, by MessagePack and never by pickle."""

import functools
from typing import Any

import msgspec

from protocol.config import VALUE_BYTES_CEILING
from protocol.encoding import encode
from protocol.messages.client import ScannedEntry
from protocol.state.commands import Found
from skiff.errors import DeserializeFailed, InvalidRequest, SerializeFailed
from skiff.records import Entry


def encode_value(key: str, value: object) -> bytes:
    """Return the stored form of a value.

    Raises:
        SerializeFailed: MessagePack cannot encode the value.
        InvalidRequest: the value is larger than the settings of any node allow.
    """
    try:
        stored = encode(value)
    except Exception as error:  # a value's own code may raise anything
        raise SerializeFailed(f"cannot store the value of {key!r}: {error}") from error
    if len(stored) > VALUE_BYTES_CEILING:
        raise InvalidRequest(
            f"the value of {key!r} has {len(stored)} bytes and no node takes more than "
            f"{VALUE_BYTES_CEILING}"
        )
    return stored


def check_type(type_: Any) -> None:
    """Check that values can be decoded as a type.

    Raises:
        InvalidRequest: msgspec does not support the type.
    """
    try:
        _decoder(type_)
    except Exception as error:  # of an annotation, too
        raise InvalidRequest(f"no value can be decoded as {type_!r}: {error}") from error


def decode_value(key: str, stored: bytes, type_: Any) -> Any:
    """Return a stored value as ``type_``, which msgspec must support.

    Raises:
        DeserializeFailed: the value is not of that type.
    """
    if type_ is msgspec.Raw:  # any bytes, even if they are not MessagePack
        return msgspec.Raw(stored)
    try:
        return _decoder(type_).decode(stored)
    except Exception as error:  # a type's own code may raise anything
        name = type_.__name__ if isinstance(type_, type) else str(type_)
        text = f"the value of {key!r} is not of type {name}: {error}"
        raise DeserializeFailed(text, bytes(stored)) from error


def entry_of(key: str, found: Found | ScannedEntry, type_: Any) -> Entry[Any]:
    """Return a key's value as ``type_``, with its history.

    Raises:
        DeserializeFailed: the value is not of that type.
    """
    value = decode_value(key, found.value, type_)
    history = (found.mod_revision, found.create_revision, found.version)
    return Entry(key, value, *history, found.lease or None, found.ttl_ms / 1000 or None)


@functools.lru_cache(maxsize=256)
def _decoder(type_: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(type_)
