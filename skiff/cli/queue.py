"""Queue: the commands that put items into a queue and take them."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Annotated, Any

import msgspec
import typer

from skiff.cli import output
from skiff.cli.child import Protection, run_child
from skiff.cli.coordination import (
    DEFAULT_KILL_AFTER,
    KillAfter,
    OptionalCommand,
    Ttl,
    Wait,
    cluster,
    note_of_wait,
)
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.cli.shown import decoded, form
from skiff.cli.values import (
    STANDARD_INPUT,
    AsBytes,
    AsJson,
    AsText,
    kind_of,
    stored,
    stored_lines,
)
from skiff.client import DEFAULT_TIMEOUT
from skiff.errors import LockLost, LockTimeout, SkiffError
from skiff.recipe_methods import QUEUE_TTL_SECONDS
from skiff.recipes.queue import Item, Queue
from skiff.values import decode_value

app = typer.Typer(help="Put items into a queue, and take them.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the queue.", show_default=False)
]


@app.command()
def put(
    name: Name,
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="VALUE…",
            help="The values, each stored as text; - to read one from each line of standard input, "
            "stored as text if it is UTF-8 and as bytes otherwise.",
            show_default=False,
        ),
    ],
    *,
    as_text: AsText = False,
    as_bytes: AsBytes = False,
    json_value: AsJson = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Append items to a queue; print their number.

    Values of the command line, up to 500, are appended as one change, lines of standard input as
    they arrive.
    """
    kind = kind_of(text=as_text, bytes=as_bytes, json=json_value)
    is_input = values == [STANDARD_INPUT]
    if STANDARD_INPUT in values and not is_input:
        raise CommandFailed("- for standard input goes without other values", ExitCode.USAGE)
    given = stored_lines(kind) if is_input else [[stored(value, kind) for value in values]]
    with connect(url, timeout) as client:
        count = _put_all(client.queue(name), given)
    _print_number(name, "count", count, as_json=as_json)


def _put_all(queue: Queue, lists: Iterable[list[object]]) -> int:
    """Append items, those of a list together; return their number."""
    count = 0
    try:
        for items in lists:
            queue.put_many(items)
            count += len(items)
    except (SkiffError, CommandFailed):
        if count:
            output.note(f"{count} items were appended before the error")
        raise
    return count


@app.command()
def take(
    name: Name,
    command: OptionalCommand = None,
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Take one item after another; end with 0 once none came within --timeout.",
        ),
    ] = False,
    timeout: Wait = None,
    ttl: Ttl = QUEUE_TTL_SECONDS,
    kill_after: KillAfter = DEFAULT_KILL_AFTER,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Take the first free item of a queue: print its value, or run a command with it.

    The value is printed as by 'skiff get', with --follow always with a line end, and the item is
    acknowledged after that. A command has the value on its standard input; the item is acknowledged
    if the command ends with 0. Otherwise the item is free again, at its place in the order, and the
    exit code is that of the command, with --follow too. A value that JSON cannot carry is printed
    as its Python repr, one that Python cannot hold as its stored bytes in base64. With a command,
    they fail and stay the first: take them without one.

    The exit code is 6 if no item was free within --timeout. If the claim of an item is lost, as
    after a long loss of the cluster, the command gets SIGTERM, and SIGKILL after --kill-after, and
    the exit code is 4. Signals are passed on to the command as by 'skiff lock'; all but SIGUSR1 and
    SIGUSR2 end --follow after it.
    """
    with cluster(url) as client:
        queue = client.queue(name, msgspec.Raw, ttl=ttl)
        while True:
            try:
                with nullcontext() if follow else note_of_wait(f"an item of queue {name!r}"):
                    item = queue.take(timeout=timeout)
            except LockTimeout:
                if follow:
                    return
                raise
            with item:
                if command:
                    value = decode_value(name, bytes(item.value), Any)
                    goes_on = _run(command, item, value, kill_after, as_json=as_json)
                else:
                    value = decoded(name, item.value)
                    goes_on = _print(value, as_json=as_json, ends_line=follow)
            if not follow or not goes_on:
                return


def _run(
    command: list[str], item: Item, value: object, kill_after: float, *, as_json: bool
) -> bool:
    """Run a command with an item; return whether no signal has asked for the end.

    Raises:
        Exit: it has not ended with 0.
        LockLost: another consumer may have got the item meanwhile.
    """
    given = output.as_json(_facts(value)) + b"\n" if as_json else output.as_bytes(value)
    protection = Protection("the claim of the item", item.lost, kill_after)
    ending = run_child(command, {}, given=given, protection=protection)
    if item.lost.is_set():
        lost = "the claim of the item was lost before the command had ended"
        raise LockLost(f"{lost}: another consumer may have got it")
    if ending.code:
        raise typer.Exit(ending.code)
    return ending.signalled is None


def _print(value: object, *, as_json: bool, ends_line: bool) -> bool:
    if as_json:
        output.json(_facts(value))
    elif ends_line:
        output.write(output.as_bytes(value).removesuffix(b"\n") + b"\n")
    else:
        output.value(value)
    return True


def _facts(value: object) -> dict[str, object]:
    return {"value": value, **form(value)}


@app.command()
def size(
    name: Name,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Print the number of items that are not acknowledged, taken ones included."""
    with connect(url, timeout) as client:
        number = client.queue(name).size()
    _print_number(name, "size", number, as_json=as_json)


def _print_number(name: str, fact: str, number: int, *, as_json: bool) -> None:
    if as_json:
        output.json({"queue": name, fact: number})
    else:
        output.line(str(number))
