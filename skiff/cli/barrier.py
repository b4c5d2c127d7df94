"""Barrier: the commands that put up and take down barriers, and wait at them."""

from typing import Annotated

import typer

from skiff.cli import output
from skiff.cli.child import Protection, run_child
from skiff.cli.coordination import (
    DEFAULT_KILL_AFTER,
    Command,
    KillAfter,
    Ttl,
    Wait,
    cluster,
    note_of_wait,
    turn_of,
)
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT
from skiff.recipe_methods import TTL_SECONDS

app = typer.Typer(help="Let processes wait for each other.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the barrier.", show_default=False)
]


@app.command()
def create(
    name: Name,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Put a barrier up: processes that wait at it go on once it is removed.

    It stays up when this command ends. The exit code is 4 if it was up already.
    """
    with connect(url, timeout) as client:
        is_new = client.barrier(name).create()
    if as_json:
        output.json({"barrier": name, "created": is_new})
    if not is_new:
        raise CommandFailed(f"barrier {name!r} was up already", ExitCode.CONFLICT)


@app.command()
def remove(
    name: Name,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Take a barrier down, so that all who wait go on.

    The exit code is 3 if it was down.
    """
    with connect(url, timeout) as client:
        existed = client.barrier(name).remove()
    if as_json:
        output.json({"barrier": name, "existed": existed})
    if not existed:
        raise CommandFailed(f"barrier {name!r} was down", ExitCode.NOT_FOUND)


@app.command()
def wait(
    name: Name, *, timeout: Wait = None, as_json: Json = False, url: Url = DEFAULT_URL
) -> None:
    """Wait until a barrier is down; return at once if it is.

    The exit code is 6 if it was up until --timeout.
    """
    with cluster(url) as client, note_of_wait(f"the removal of barrier {name!r}"):
        client.barrier(name).wait(timeout=timeout)
    if as_json:
        output.json({"barrier": name})


@app.command()
def enter(
    name: Name,
    parties: Annotated[
        int,
        typer.Argument(metavar="PARTIES", help="How many run a command.", show_default=False),
    ],
    command: Command,
    *,
    timeout: Wait = None,
    ttl: Ttl = TTL_SECONDS,
    kill_after: KillAfter = DEFAULT_KILL_AFTER,
    url: Url = DEFAULT_URL,
) -> None:
    """Run a command at the same time as other parties: a double barrier.

    Waits until all parties are there, runs the command, and waits until those of all parties have
    ended, each time at most --timeout. All name the same number, none is there twice, and the name
    is that of no other barrier in use. A party that dies has left.

    The exit code is that of the command, as with 'skiff lock', 6 after --timeout, and 4 if this
    party's place was lost, so that the command got SIGTERM.
    """
    described = f"double barrier {name!r}"
    with cluster(url) as client:
        barrier = client.double_barrier(name, parties, ttl=ttl, timeout=timeout)
        with turn_of(barrier, described):
            protection = Protection(f"the place in {described}", barrier.lost, kill_after)
            ending = run_child(command, {}, protection=protection)
    raise typer.Exit(ending.code)
