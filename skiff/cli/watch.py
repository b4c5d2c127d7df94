"""Watch: the command that prints changes as they happen."""

import itertools
from typing import Annotated, Any

import typer
from msgspec.structs import replace

from skiff.cli import output
from skiff.cli.options import DEFAULT_URL, Json, Prefix, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT
from skiff.records import Event, EventKind


def watch(
    prefix: Prefix = "",
    *,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", min=1, help="End after this many changes.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print changes as they happen, one on each line.

    A line has the revision, the kind of change, the key, and the value as JSON. Every change
    after the note on standard error is printed, in order; if one may have been missed, the
    command ends with an error. Ctrl-C ends it, too.
    """
    with connect(url, timeout) as client, client.watch(prefix) as changes:
        output.note(f"watching {prefix!r} after revision {changes.revision}")
        for changed in itertools.islice(changes, count):
            event = replace(changed, value=output.showable(changed.key, changed.value))
            if as_json:
                output.json(output.facts(event, event.value))
            else:
                output.write(change_line(event))


def change_line(event: Event[Any]) -> bytes:
    """Return a change as one line."""
    words = [str(event.revision).encode(), str(event.kind).encode(), event.key.encode()]
    if event.kind is EventKind.INSERT:
        words.append(output.as_json(event.value))
    return b" ".join(words) + b"\n"
