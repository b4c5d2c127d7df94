"""Watch: the command that prints changes as they happen."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec
import typer
from msgspec.structs import replace

from skiff.cli import output, shown
from skiff.cli.child import run_child
from skiff.cli.coordination import OptionalCommand
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Prefix, Timeout, Url, connect
from skiff.cli.signals import SIGNALLED
from skiff.client import DEFAULT_TIMEOUT
from skiff.records import Event, EventKind

Count = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT",
        min=1,
        help="End after this many changes, the entries of --initial among them.",
        show_default=False,
    ),
]
Since = Annotated[
    int | None,
    typer.Option(metavar="REVISION", help="Begin after this revision.", show_default=False),
]
Initial = Annotated[
    bool,
    typer.Option("--initial", help="Print the entries that are there first, and a line 'synced'."),
]
PrevValue = Annotated[
    bool, typer.Option("--prev-value", help="Print the value before each change, too.")
]


def watch(
    prefix: Prefix = "",
    command: OptionalCommand = None,
    *,
    count: Count = None,
    since: Since = None,
    initial: Initial = False,
    prev_value: PrevValue = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print changes as they happen, or run a command for each.

    A line has the revision, the kind of change, the key, and the value as JSON; with
    --prev-value, the word 'was' and the value before the change follow, if there was one. Every
    change after the note on standard error is printed, once and in order, whatever happens to the
    nodes; if none of them keeps the next changes any more, the command ends with an error. Ctrl-C
    ends it, too. A value that Python cannot hold, as another language may have stored, is shown as
    its stored bytes in base64; with --json, as "stored" in place of "value".

    A command, as in: skiff watch "" -- cat, runs for each change, one after another, with
    SKIFF_CHANGE_KEY, SKIFF_CHANGE_KIND (insert, remove or expire) and SKIFF_CHANGE_REVISION in
    its environment. Its standard input is the value as 'skiff get' prints it, empty without one;
    with --json, it is the change as --json prints it. A command that fails is reported on standard
    error, and the watch goes on. Signals are passed on to a command that runs, as by 'skiff lock';
    all but SIGUSR1 and SIGUSR2 end the watch after it.
    """
    if command and prev_value and not as_json:
        raise CommandFailed("with a command, --prev-value needs --json", ExitCode.USAGE)
    with (
        connect(url, timeout) as client,
        client.watch(
            prefix, type=msgspec.Raw, since=since, initial=initial, prev_value=prev_value
        ) as changes,
    ):
        if not initial:
            output.note(f"watching {prefix!r} after revision {changes.revision}")
        events = _up_to(count, map(_decoded, changes))
        if command:
            _run_for_each(command, events, as_json=as_json, prev_value=prev_value)
        else:
            _print_each(events, as_json=as_json, prev_value=prev_value)


def _decoded(event: Event[Any]) -> Event[Any]:
    """Return an event whose values are given as they are stored with values to be printed."""
    value, before = (
        None if stored is None else shown.decoded(event.key, stored)
        for stored in (event.value, event.prev_value)
    )
    return replace(event, value=value, prev_value=before)


def _up_to(count: int | None, events: Iterable[Event[Any]]) -> Iterator[Event[Any]]:
    """Yield events up to a number of changes, of which the mark 'synced' is none."""
    changes = 0
    for event in events:
        yield event
        changes += event.kind is not EventKind.SYNCED
        if changes == count:
            return


def _print_each(events: Iterable[Event[Any]], *, as_json: bool, prev_value: bool) -> None:
    for event in events:
        if as_json:
            output.json(_facts(event, prev_value=prev_value))
        else:
            output.write(change_line(event))


def _run_for_each(
    command: list[str], events: Iterable[Event[Any]], *, as_json: bool, prev_value: bool
) -> None:
    """Run a command for each change.

    Raises:
        Exit: a signal has ended the watch.
        CommandFailed: the command cannot be started.
    """
    for event in events:
        if event.kind is EventKind.SYNCED:
            continue
        if as_json:
            given = output.as_json(_facts(event, prev_value=prev_value)) + b"\n"
        else:
            given = output.as_bytes(event.value) if event.kind is EventKind.INSERT else b""
        revision = str(event.revision)
        variables = {
            "SKIFF_CHANGE_KEY": event.key,
            "SKIFF_CHANGE_KIND": event.kind,
            "SKIFF_CHANGE_REVISION": revision,
        }
        ending = run_child(command, variables, given=given)
        if ending.code:
            which = f"{event.kind} of {event.key!r} at revision {revision}"
            output.note(f"the command ended with {ending.code} for the {which}")
        if ending.signalled is not None:
            raise typer.Exit(SIGNALLED + ending.signalled)


def change_line(event: Event[Any]) -> bytes:
    """Return a change as one line."""
    words = [str(event.revision).encode(), str(event.kind).encode()]
    if event.kind is not EventKind.SYNCED:
        words.append(shown.on_one_line(event.key).encode())
    if event.kind is EventKind.INSERT:
        words.append(output.as_json(event.value))
    if event.prev_value is not None:
        words += [b"was", output.as_json(event.prev_value)]
    return b" ".join(words) + b"\n"


def _facts(event: Event[Any], *, prev_value: bool) -> dict[str, object]:
    """Return an event's fields for JSON, the previous value only if it is asked for."""
    facts = shown.facts(event)
    if not prev_value:
        del facts["prev_value"]
        return facts
    return {**facts, **shown.form(event.prev_value, "prev_")}
