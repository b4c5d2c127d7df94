"""Output of a command: results on standard output, everything else on standard error."""

import base64
import math
import os
import sys

import msgspec
import typer

from skiff.cli.failures import CommandFailed

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


class ReaderGone(Exception):
    """The reader of standard output has closed it."""


def write(data: bytes) -> None:
    """Write bytes unchanged and flush them.

    Raises:
        ReaderGone: the reader has closed standard output.
    """
    stream = getattr(sys.stdout, "buffer", None)  # None if it was closed before the start
    if stream is None:
        raise ReaderGone
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None


class Stream:
    """Standard output as a binary stream."""

    def write(self, data: bytes) -> None:
        """Write bytes unchanged and flush them.

        Raises:
            ReaderGone: the reader has closed standard output.
        """
        write(data)


def line(text: str) -> None:
    """Print a line in UTF-8, whatever the locale; bytes of a path stay as they are."""
    write(text.encode(errors="surrogateescape") + b"\n")


def in_unicode(path: str | os.PathLike[str]) -> str:
    """Return a path for JSON, with bytes that are no UTF-8 escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def value(found: object) -> None:
    """Print text and bytes as stored, anything else as a line of JSON.

    On a terminal, a line end follows, so that the prompt starts on its own line.
    """
    data = as_bytes(found)
    ends_line = data.endswith(b"\n") or not is_terminal()
    write(data if ends_line else data + b"\n")


def as_bytes(found: object) -> bytes:
    """Return text and bytes as stored, anything else as a line of JSON.

    A memoryview, of a value that Python cannot hold, becomes a line of base64.

    Raises:
        CommandFailed: JSON cannot represent the value.
    """
    match found:
        case str():
            return found.encode()
        case bytes():
            return found
        case memoryview():
            return base64.b64encode(found) + b"\n"
        case _:
            return as_json(found) + b"\n"


def json(thing: object) -> None:
    """Print a line of JSON."""
    write(as_json(thing) + b"\n")


def as_json(thing: object) -> bytes:
    """Return a stored value as JSON on one line; bytes become base64.

    Raises:
        CommandFailed: JSON cannot represent the value.
    """
    try:
        encoded = msgspec.json.encode(thing)
    except (TypeError, ValueError, RecursionError) as reason:
        raise CommandFailed(f"the value cannot be shown as JSON: {reason}") from None
    if b"null" in encoded and not _is_finite(thing):  # msgspec encodes NaN and infinity as null
        raise CommandFailed("the value cannot be shown as JSON: it has a number that is not finite")
    return encoded


def _is_finite(thing: object) -> bool:
    """Return whether JSON has all numbers of a value."""
    left = [thing]
    while left:
        match left.pop():
            case float() as number if not math.isfinite(number):
                return False
            case dict() as pairs:
                left += pairs.values()
            case list() | tuple() as items:
                left += items
    return True


def note(text: str) -> None:
    """Print a note on standard error, which is not a result: one that cannot be written is lost."""
    try:
        typer.echo(f"skiff: {text}", err=True)
    except BrokenPipeError:
        abandon(STANDARD_ERROR)
    except OSError:
        return  # standard error stays open: a full disk may have space for later notes


def error(text: str) -> None:
    """Print the failure of the command on standard error."""
    note(f"error: {text}")


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return os.isatty(STANDARD_OUTPUT)


def abandon(descriptor: int) -> None:
    """Discard buffered output, which the exit of the process would fail to write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
