"""Values: parses the VALUE arguments of commands that write."""

import os
import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from protocol.config import VALUE_BYTES_CEILING
from skiff.cli.failures import CommandFailed, ExitCode

STANDARD_INPUT = "-"
JSON_BYTES_MAX = 6 * VALUE_BYTES_CEILING  # JSON may take six bytes for one, as in \u0000
READ_BYTES = 1 << 16
LINES_MAX = 500  # in one list, which a queue takes at once

AsText = Annotated[bool, typer.Option("--text", help="Store text; refuse what is not UTF-8.")]
AsBytes = Annotated[bool, typer.Option("--bytes", help="Store bytes unchanged.")]
AsJson = Annotated[
    bool,
    typer.Option("--json-value", help="Parse the value as JSON and store the result."),
]


def kind_of(**wanted: bool) -> str:
    """Return the kind of value that the options demand; empty if they demand none."""
    kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
    if len(kinds) > 1:
        raise CommandFailed("--text, --bytes and --json-value exclude each other", ExitCode.USAGE)
    return "".join(kinds)


def stored(argument: str, kind: str) -> object:
    """Return the value that an argument stands for; ``-`` stands for standard input."""
    if argument == STANDARD_INPUT:
        return _value(read_input(_bytes_max(kind)), kind, is_input=True)
    given = argument.encode(errors="surrogateescape")  # the bytes that the shell passed
    return _value(given, kind, is_input=False)


def stored_lines(kind: str) -> Iterator[list[object]]:
    """Yield the values that the lines of standard input stand for, as they arrive."""
    for lines in _read_lines(_bytes_max(kind)):
        yield [_value(line, kind, is_input=True) for line in lines]


def read_input(size_max: int) -> bytes:
    """Read standard input to its end; fail once it exceeds the maximum."""
    if sys.stdin is None:
        raise CommandFailed("the standard input is closed", ExitCode.USAGE)
    given = sys.stdin.buffer.read(size_max + 1)
    if len(given) > size_max:
        message = f"standard input has more than {size_max} bytes, the maximum of a value"
        raise CommandFailed(message, ExitCode.USAGE)
    return given


def _read_lines(size_max: int) -> Iterator[list[bytes]]:
    """Yield complete lines of standard input, without their ends, in lists of bounded size."""
    if sys.stdin is None:
        raise CommandFailed("the standard input is closed", ExitCode.USAGE)
    rest = b""
    while part := os.read(sys.stdin.fileno(), READ_BYTES):
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > size_max:
            message = f"a line has more than {size_max} bytes, the maximum of a value"
            raise CommandFailed(message, ExitCode.USAGE)
        yield lines[:1]  # may be long, as earlier reads belong to it
        yield from (lines[at : at + LINES_MAX] for at in range(1, len(lines), LINES_MAX))
    if rest:
        yield [rest]


def _bytes_max(kind: str) -> int:
    return JSON_BYTES_MAX if kind == "json" else VALUE_BYTES_CEILING


def _value(given: bytes, kind: str, *, is_input: bool) -> object:
    match kind:
        case "json":
            return _parsed(given)
        case "bytes":
            return given
        case _:
            return _text(given, is_demanded=kind == "text" or not is_input)


def _text(given: bytes, *, is_demanded: bool) -> str | bytes:
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        if is_demanded:
            message = f"the value is not text in UTF-8: {error}"
            raise CommandFailed(message, ExitCode.USAGE) from None
        return given


def _parsed(text: bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandFailed(f"the value is not JSON: {error}", ExitCode.USAGE) from None
