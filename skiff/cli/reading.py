"""Reading: the commands that print values, entries and names."""

from typing import Annotated

import msgspec
import typer

from skiff.cli import output, shown
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import (
    DEFAULT_URL,
    AtLeast,
    Json,
    Key,
    MaxStaleness,
    Prefix,
    Read,
    Timeout,
    Url,
    connect,
)
from skiff.client import DEFAULT_TIMEOUT
from skiff.records import Entry

Limit = Annotated[
    int | None,
    typer.Option(metavar="COUNT", min=0, help="Print at most this many.", show_default=False),
]
StartAfter = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Begin after this key.", show_default=False),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="In descending order.")]


def get(
    key: Key,
    *,
    read: Read = "linearizable",
    max_staleness: MaxStaleness = None,
    at_least: AtLeast = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print a value.

    Text and bytes are printed exactly as stored, anything else as JSON, or as its Python repr if
    JSON cannot carry it. A value that Python cannot hold, as another language may have stored, is
    printed as its stored bytes in base64.
    --json adds the revision, the revision of the first write, the version, which counts the
    writes, and the key's lease, or its TTL in seconds. It prints bytes as base64, marked by
    "encoding": "base64", and a value that Python cannot hold as "stored" in place of "value".
    """
    with connect(url, timeout) as client:
        entry = client.get_entry(
            key, msgspec.Raw, read=read, max_staleness=max_staleness, at_least=at_least
        )
    if entry is None:
        raise CommandFailed(f"no such key: {key!r}", ExitCode.NOT_FOUND)
    if as_json:
        _print_entry(entry, as_json=True)
    else:
        output.value(shown.decoded(entry.key, entry.value))


def get_many(
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY…", help="The keys.", show_default=False)
    ],
    *,
    read: Read = "linearizable",
    max_staleness: MaxStaleness = None,
    at_least: AtLeast = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print several values, as they are at one revision.

    A line has the key, and the value as JSON. With --json, all of them are one object.
    If a key is absent, the others are printed, and the exit code is 3.
    """
    with connect(url, timeout) as client:
        values = client.get_many(
            keys, msgspec.Raw, read=read, max_staleness=max_staleness, at_least=at_least
        )
    found = {key: shown.decoded(key, value) for key, value in values.items()}
    if as_json:
        output.json(found)
    else:
        for key, value in found.items():
            output.write(_line(key, value))
    missing = [key for key in keys if key not in values]
    if missing:
        raise CommandFailed(f"no such key: {', '.join(map(repr, missing))}", ExitCode.NOT_FOUND)


def scan(
    prefix: Prefix = "",
    *,
    limit: Limit = None,
    start_after: StartAfter = None,
    reverse: Reverse = False,
    read: Read = "linearizable",
    max_staleness: MaxStaleness = None,
    at_least: AtLeast = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the entries at one revision, sorted by key.

    A line has the key, and the value as JSON. With --json, a line is an object with the fields
    that 'skiff get --json' has.
    """
    with connect(url, timeout) as client:
        for entry in client.scan(
            prefix,
            msgspec.Raw,
            limit=limit,
            start_after=start_after,
            reverse=reverse,
            read=read,
            max_staleness=max_staleness,
            at_least=at_least,
        ):
            _print_entry(entry, as_json=as_json)


def list_keys(
    prefix: Prefix = "",
    *,
    limit: Limit = None,
    start_after: StartAfter = None,
    reverse: Reverse = False,
    read: Read = "linearizable",
    max_staleness: MaxStaleness = None,
    at_least: AtLeast = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the keys, sorted, one on each line."""
    with connect(url, timeout) as client:
        names = client.list_keys(
            prefix,
            limit=limit,
            start_after=start_after,
            reverse=reverse,
            read=read,
            max_staleness=max_staleness,
            at_least=at_least,
        )
    _print_names(names, as_json=as_json)


def prefixes(
    prefix: Prefix = "",
    *,
    read: Read = "linearizable",
    max_staleness: MaxStaleness = None,
    at_least: AtLeast = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the paths that directly hold keys, one on each line."""
    with connect(url, timeout) as client:
        names = client.get_prefixes(
            prefix, read=read, max_staleness=max_staleness, at_least=at_least
        )
    _print_names(names, as_json=as_json)


def count(
    prefix: Prefix = "",
    *,
    read: Read = "linearizable",
    max_staleness: MaxStaleness = None,
    at_least: AtLeast = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the number of keys."""
    with connect(url, timeout) as client:
        number = client.count(prefix, read=read, max_staleness=max_staleness, at_least=at_least)
    if as_json:
        output.json({"prefix": prefix, "count": number})
    else:
        output.line(str(number))


def _print_entry(entry: Entry[msgspec.Raw], *, as_json: bool) -> None:
    known = shown.decoded_entry(entry)
    if as_json:
        output.json(shown.facts(known))
    else:
        output.write(_line(known.key, known.value))


def _line(key: str, value: object) -> bytes:
    return b"%b %b\n" % (shown.on_one_line(key).encode(), output.as_json(value))


def _print_names(names: list[str], *, as_json: bool) -> None:
    if as_json:
        output.json(names)
    else:
        output.write("".join(f"{shown.on_one_line(name)}\n" for name in names).encode())
