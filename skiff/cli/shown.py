"""Shown: stored keys and values in the form in which commands print them."""

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from skiff.cli import output
from skiff.cli.failures import CommandFailed
from skiff.errors import DeserializeFailed
from skiff.records import Entry
from skiff.values import decode_value

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # and all that ends a line


def on_one_line(text: str) -> str:
    """Return a key or another name with its control characters escaped: it must forge no line."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def showable(key: str, value: object) -> object:
    """Return a value that JSON can represent: one value must not end a long output."""
    if isinstance(value, str | bytes):
        return value
    try:
        output.as_json(value)
    except CommandFailed:
        output.note(f"JSON cannot carry the value of {key!r}: shown as its Python repr")
        return repr(value)
    return value


def decoded(key: str, stored: bytes | msgspec.Raw) -> object:
    """Return a stored value that JSON can represent; what Python cannot hold, as a memoryview.

    JSON has a memoryview as base64.
    """
    try:
        value = decode_value(key, bytes(stored), Any)
    except DeserializeFailed:
        output.note(f"Python cannot hold the value of {key!r}: shown as its stored bytes in base64")
        return memoryview(bytes(stored))
    return showable(key, value)


def decoded_entry(entry: Entry[msgspec.Raw]) -> Entry[Any]:
    """Return an entry with its value decoded."""
    return replace(entry, value=decoded(entry.key, entry.value))


def facts(record: msgspec.Struct) -> dict[str, object]:
    """Return a record's fields, and how JSON has its value if that would not show."""
    fields = msgspec.structs.asdict(record)
    return {**fields, **form(fields["value"])}


def form(value: object, prefix: str = "") -> dict[str, object]:
    """Return the fields that tell how JSON has a value, their names after a prefix.

    ``encoding`` marks bytes; ``stored`` has what Python cannot hold, in place of ``value``.
    """
    match value:
        case bytes():
            return {f"{prefix}encoding": "base64"}
        case memoryview():
            return {f"{prefix}value": None, f"{prefix}stored": value}
        case _:
            return {}
