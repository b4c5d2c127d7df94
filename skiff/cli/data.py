"""The commands that write, read and list values."""

import sys
from typing import Annotated

import msgspec
import typer

from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Key, Prefix, Read, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT

STANDARD_INPUT = "-"

Value = Annotated[
    str,
    typer.Argument(metavar="VALUE", help="The value, stored as text; - to read standard input."),
]
IfRevision = Annotated[
    int | None,
    typer.Option(
        metavar="REVISION",
        help="Only if this is the key's revision; 0: only if there is no such key.",
        show_default=False,
    ),
]


def insert(
    key: Key,
    value: Value,
    *,
    json_value: Annotated[
        bool, typer.Option("--json-value", help="Read the value as JSON and store what it means.")
    ] = False,
    if_revision: IfRevision = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Write a value and print the revision of this write."""
    stored = _stored(value, json_value=json_value)
    with connect(url, timeout) as client:
        revision = client.insert(key, stored, if_revision=if_revision)
    if as_json:
        output.json({"key": key, "revision": revision})
    else:
        output.line(str(revision))


def get(
    key: Key,
    *,
    read: Read = "linearizable",
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print a value.

    Text and bytes are printed exactly as they are stored, anything else as JSON.
    With --json also its revision, the revision of its first write, and its version, which
    counts its writes; bytes are base64 there.
    """
    with connect(url, timeout) as client:
        entry = client.get_entry(key, read=read)
    if entry is None:
        raise CommandFailed(f"no such key: {key!r}", ExitCode.NOT_FOUND)
    if as_json:
        output.json(entry)
    else:
        output.value(entry.value)


def remove(
    key: Key,
    *,
    if_revision: IfRevision = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Remove a key."""
    with connect(url, timeout) as client:
        existed = client.remove(key, if_revision=if_revision)
    if as_json:
        output.json({"key": key, "existed": existed})
    if not existed:
        raise CommandFailed(f"no such key: {key!r}", ExitCode.NOT_FOUND)


def list_keys(
    prefix: Prefix = "",
    *,
    limit: Annotated[
        int | None,
        typer.Option(metavar="COUNT", min=0, help="Print so many at most.", show_default=False),
    ] = None,
    read: Read = "linearizable",
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the keys, sorted, each on a line."""
    with connect(url, timeout) as client:
        names = client.list_keys(prefix, limit=limit, read=read)
    _print_names(names, as_json=as_json)


def prefixes(
    prefix: Prefix = "",
    *,
    read: Read = "linearizable",
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the paths that hold keys, sorted, each on a line."""
    with connect(url, timeout) as client:
        names = client.get_prefixes(prefix, read=read)
    _print_names(names, as_json=as_json)


def _print_names(names: list[str], *, as_json: bool) -> None:
    if as_json:
        output.json(names)
    else:
        output.write("".join(f"{name}\n" for name in names).encode())


def _stored(argument: str, *, json_value: bool) -> object:
    """Return what an argument stands for; bytes from standard input that are no text stay bytes."""
    given = _read_input() if argument == STANDARD_INPUT else argument
    if json_value:
        return _parsed(given)
    try:
        return given if isinstance(given, str) else given.decode()
    except UnicodeDecodeError:
        return given


def _read_input() -> bytes:
    if sys.stdin is None:
        raise CommandFailed("the standard input is closed", ExitCode.USAGE)
    return sys.stdin.buffer.read()


def _parsed(text: str | bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandFailed(f"the value is not JSON: {error}", ExitCode.USAGE) from None
