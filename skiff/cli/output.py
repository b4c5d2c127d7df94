"""Output of a command: results on standard output, everything else on standard error."""

import os
import sys

import msgspec
import typer

from skiff.cli.failures import CommandFailed

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


class ReaderGone(Exception):
    """Whoever read the standard output has closed it."""


def write(data: bytes) -> None:
    """Write bytes as they are, at once.

    Raises:
        ReaderGone: nobody reads them.
    """
    stream = getattr(sys.stdout, "buffer", None)  # None where it was closed from the beginning
    if stream is None:
        raise ReaderGone
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None


class Stream:
    """Standard output, as something that bytes are written to."""

    def write(self, data: bytes) -> None:
        """Write bytes as they are, at once.

        Raises:
            ReaderGone: nobody reads them.
        """
        write(data)


def line(text: str) -> None:
    """Print a line, in UTF-8 whatever the locale is."""
    write(text.encode() + b"\n")


def value(found: object) -> None:
    """Print text and bytes as they are stored, anything else as a line of JSON.

    On a terminal a line end follows, so that the prompt stands on a line of its own.
    """
    if not isinstance(found, str | bytes):
        json(found)
        return
    data = found.encode() if isinstance(found, str) else found
    ends_line = data.endswith(b"\n") or not is_terminal()
    write(data if ends_line else data + b"\n")


def json(thing: object) -> None:
    """Print a line of JSON."""
    write(as_json(thing) + b"\n")


def facts(record: msgspec.Struct, value: object) -> dict[str, object]:
    """Return a record's fields, and the encoding of its value where JSON hides that it is bytes."""
    fields = msgspec.structs.asdict(record)
    return {**fields, "encoding": "base64"} if isinstance(value, bytes) else fields


def as_json(thing: object) -> bytes:
    """Return what the store holds as JSON on one line; bytes become base64.

    Raises:
        CommandFailed: JSON cannot carry it.
    """
    try:
        return msgspec.json.encode(thing)
    except (TypeError, ValueError, RecursionError) as reason:
        raise CommandFailed(f"the value cannot be shown as JSON: {reason}") from None


def note(text: str) -> None:
    """Tell people something that is no result, if any of them listens."""
    try:
        typer.echo(f"skiff: {text}", err=True)
    except BrokenPipeError:
        abandon(STANDARD_ERROR)


def error(text: str) -> None:
    """Say why the command failed."""
    note(f"error: {text}")


def is_terminal() -> bool:
    """Whether a person reads the standard output."""
    return os.isatty(STANDARD_OUTPUT)


def abandon(descriptor: int) -> None:
    """Leave nothing to be written when the process ends: nobody would read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
