"""Writing: the commands that change keys."""

import sys
from typing import Annotated

import msgspec
import typer

from protocol.config import VALUE_BYTES_CEILING
from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Key, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT

STANDARD_INPUT = "-"
JSON_BYTES_MAX = 6 * VALUE_BYTES_CEILING  # JSON may take six bytes for one, as in \u0000

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
    as_text: Annotated[
        bool, typer.Option("--text", help="Store text; refuse what is not UTF-8.")
    ] = False,
    as_bytes: Annotated[bool, typer.Option("--bytes", help="Store bytes unchanged.")] = False,
    json_value: Annotated[
        bool, typer.Option("--json-value", help="Parse the value as JSON and store the result.")
    ] = False,
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
    stored = _stored(value, _kind(text=as_text, bytes=as_bytes, json=json_value))
    with connect(url, timeout) as client:
        revision = client.insert(key, stored, if_revision=if_revision, lease=lease, ttl=ttl)
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


def _kind(**wanted: bool) -> str:
    """Return the kind of value that the options demand; empty if they demand none."""
    kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
    if len(kinds) > 1:
        raise CommandFailed("--text, --bytes and --json-value exclude each other", ExitCode.USAGE)
    return "".join(kinds)


def _stored(argument: str, kind: str) -> object:
    """Return the value that an argument stands for."""
    if argument == STANDARD_INPUT:
        given = read_input(JSON_BYTES_MAX if kind == "json" else VALUE_BYTES_CEILING)
    else:
        given = argument.encode(errors="surrogateescape")  # the bytes that the shell passed
    match kind:
        case "json":
            return _parsed(given)
        case "bytes":
            return given
        case _:
            return _text(given, is_demanded=kind == "text" or argument != STANDARD_INPUT)


def _text(given: bytes, *, is_demanded: bool) -> str | bytes:
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        if is_demanded:
            message = f"the value is not text in UTF-8: {error}"
            raise CommandFailed(message, ExitCode.USAGE) from None
        return given


def read_input(size_max: int) -> bytes:
    """Read standard input to its end; fail once it exceeds the maximum."""
    if sys.stdin is None:
        raise CommandFailed("the standard input is closed", ExitCode.USAGE)
    given = sys.stdin.buffer.read(size_max + 1)
    if len(given) > size_max:
        message = f"standard input has more than {size_max} bytes, the maximum of a value"
        raise CommandFailed(message, ExitCode.USAGE)
    return given


def _parsed(text: bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandFailed(f"the value is not JSON: {error}", ExitCode.USAGE) from None
