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
    prev_value: Annotated[
        bool,
        typer.Option("--prev-value", help="Print the value before each change, too."),
    ] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print changes as they happen, one on each line.

    A line has the revision, the kind of change, the key, and the value as JSON; with
    --prev-value, the word 'was' and the value before the change follow, if there was one. Every
    change after the note on standard error is printed, once and in order, whatever happens to the
    nodes; if none of them keeps the next changes any more, the command ends with an error. Ctrl-C
    ends it, too.
    """
    with (
        connect(url, timeout) as client,
        client.watch(prefix, since=since, initial=initial, prev_value=prev_value) as changes,
    ):
        if not initial:
            output.note(f"watching {prefix!r} after revision {changes.revision}")
        for changed in itertools.islice(changes, count):
            event = _showable(changed)
            if as_json:
                output.json(_facts(event, prev_value=prev_value))
            else:
                output.write(change_line(event))


def change_line(event: Event[Any]) -> bytes:
    """Return a change as one line."""
    words = [str(event.revision).encode(), str(event.kind).encode()]
    if event.kind is not EventKind.SYNCED:
        words.append(event.key.encode())
    if event.kind is EventKind.INSERT:
        words.append(output.as_json(event.value))
    if event.prev_value is not None:
        words += [b"was", output.as_json(event.prev_value)]
    return b" ".join(words) + b"\n"


def _showable(event: Event[Any]) -> Event[Any]:
    """Return an event with values that JSON can represent."""
    value = output.showable(event.key, event.value)
    return replace(event, value=value, prev_value=output.showable(event.key, event.prev_value))


def _facts(event: Event[Any], *, prev_value: bool) -> dict[str, object]:
    """Return an event's fields for JSON, the previous value only if it is asked for."""
    facts = output.facts(event, event.value)
    if not prev_value:
        del facts["prev_value"]
    elif isinstance(event.prev_value, bytes):
        facts["prev_encoding"] = "base64"
    return facts
