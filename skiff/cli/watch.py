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
    since: Annotated[
        int | None,
        typer.Option(metavar="REVISION", help="Begin after this revision.", show_default=False),
    ] = None,
    initial: Annotated[
        bool,
        typer.Option(
            "--initial", help="Print the entries that are there first, and a line 'synced'."
        ),
    ] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print changes as they happen, one on each line.

    A line has the revision, the kind of change, the key, and the value as JSON. Every change
    after the note on standard error is printed, once and in order, whatever happens to the nodes;
    if none of them keeps the next changes any more, the command ends with an error. Ctrl-C ends
    it, too.
    """
    with (
        connect(url, timeout) as client,
        client.watch(prefix, since=since, initial=initial) as changes,
    ):
        if not initial:
            output.note(f"watching {prefix!r} after revision {changes.revision}")
        for changed in itertools.islice(changes, count):
            event = replace(changed, value=output.showable(changed.key, changed.value))
            if as_json:
                output.json(output.facts(event, event.value))
            else:
                output.write(change_line(event))


def change_line(event: Event[Any]) -> bytes:
    """Return a change as one line."""
    words = [str(event.revision).encode(), str(event.kind).encode()]
    if event.kind is not EventKind.SYNCED:
        words.append(event.key.encode())
    if event.kind is EventKind.INSERT:
        words.append(output.as_json(event.value))
    return b" ".join(words) + b"\n"
