"""Writing: the commands that change keys."""

import sys
from typing import Annotated

import typer

from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Key, Timeout, Url, connect
from skiff.cli.values import AsBytes, AsJson, AsText, kind_of, stored
from skiff.client import DEFAULT_TIMEOUT

Value = Annotated[
    str,
    typer.Argument(
        metavar="VALUE",
        help="The value, stored as text; - to read standard input, stored as text if it is UTF-8 "
        "and as bytes otherwise.",
    ),
]
IfRevision = Annotated[
    int | None,
    typer.Option(
        metavar="REVISION",
        help="Only if the key has this revision; 0: only if there is no such key.",
        show_default=False,
    ),
]


def insert(
    key: Key,
    value: Value,
    *,
    as_text: AsText = False,
    as_bytes: AsBytes = False,
    json_value: AsJson = False,
    if_revision: IfRevision = None,
    lease: Annotated[
        int | None,
        typer.Option(metavar="ID", help="Remove the key when this lease ends.", show_default=False),
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Remove the key after this time, from 1 second on.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Write a value and print the revision of the write.

    Without --lease or --ttl, the key is permanent, also if it had one before.
    """
    given = stored(value, kind_of(text=as_text, bytes=as_bytes, json=json_value))
    with connect(url, timeout) as client:
        revision = client.insert(key, given, if_revision=if_revision, lease=lease, ttl=ttl)
    if as_json:
        output.json({"key": key, "revision": revision})
    else:
        output.line(str(revision))


def increment(
    key: Key,
    by: Annotated[int, typer.Argument(metavar="BY", help="The number to add.")] = 1,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Add to the integer of a key, 0 if it is absent; print the sum.

    A negative number follows two dashes: skiff increment KEY -- -1
    """
    with connect(url, timeout) as client:
        total = client.increment(key, by)
    if as_json:
        output.json({"key": key, "value": total})
    else:
        output.line(str(total))


def remove(
    key: Key,
    *,
    if_revision: IfRevision = None,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="Remove all keys that begin with KEY, as one change.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --prefix: do not ask.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Remove a key, or all keys under a prefix."""
    if prefix:
        _remove_prefix(key, if_revision, yes=yes, as_json=as_json, url=url, timeout=timeout)
        return
    with connect(url, timeout) as client:
        existed = client.remove(key, if_revision=if_revision)
    if as_json:
        output.json({"key": key, "existed": existed})
    if not existed:
        raise CommandFailed(f"no such key: {key!r}", ExitCode.NOT_FOUND)


def _remove_prefix(
    prefix: str, if_revision: int | None, *, yes: bool, as_json: bool, url: str, timeout: float
) -> None:
    if if_revision is not None:
        raise CommandFailed("--if-revision goes with a key, not with --prefix", ExitCode.USAGE)
    if not yes:
        _confirm(f"remove all keys under {prefix!r}?")
    with connect(url, timeout) as client:
        count = client.remove_prefix(prefix)
    if as_json:
        output.json({"prefix": prefix, "count": count})
    else:
        output.line(str(count))


def _confirm(question: str) -> None:
    """Ask on the terminal; without one, demand ``--yes``."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandFailed("without a terminal to ask on, this needs --yes", ExitCode.USAGE)
    typer.confirm(f"skiff: {question}", abort=True, err=True)
