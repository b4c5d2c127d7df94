"""Coordination: options and context managers that the recipe commands share."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer

from skiff.cli import output
from skiff.cli.options import connect
from skiff.cli.signals import end_on_signals
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.errors import LockLost
from skiff.recipes.holder import Holder

NOTE_SECONDS = 0.5  # of a wait, until a note tells of it
DEFAULT_KILL_AFTER = 5.0

Command = Annotated[
    list[str],
    typer.Argument(
        metavar="COMMAND", help="After --: the command and its arguments.", show_default=False
    ),
]
OptionalCommand = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="COMMAND", help="After --: the command and its arguments.", show_default=False
    ),
]
Wait = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Wait at most this long; 0: do not wait. Without it, wait without a limit.",
        show_default=False,
    ),
]
Ttl = Annotated[
    float,
    typer.Option(
        "--ttl",
        metavar="SECONDS",
        help="What this process holds is released this long after it dies, or up to a third later.",
    ),
]
KillAfter = Annotated[
    float,
    typer.Option(
        "--kill-after",
        metavar="SECONDS",
        min=0,
        help="If the command has to end: seconds from SIGTERM to SIGKILL.",
    ),
]


@contextmanager
def cluster(url: str) -> Iterator[Client]:
    """Yield a client of a cluster that answers now; a signal raises an exception in the block.

    Later on, the waits of recipes outlast a cluster that does not answer.

    Raises:
        SkiffError: no node was reached, or no leader answered.
    """
    end_on_signals()
    with connect(url, DEFAULT_TIMEOUT) as client:
        client.whoami()  # which needs no right
        yield client


@contextmanager
def note_of_wait(awaited: str) -> Iterator[None]:
    """Print a note if the block takes long."""
    timer = threading.Timer(NOTE_SECONDS, output.note, (f"waiting for {awaited}",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def turn_of(holder: Holder, described: str) -> Iterator[None]:
    """Wait for the turn of a holder, and hold it during the block.

    Raises:
        LockTimeout: it did not come in time.
        LockLost: it was over before the end of the block.
    """
    try:
        with ExitStack() as stack:
            with note_of_wait(described):
                stack.enter_context(holder)
            yield
    except LockLost:
        lost = f"{described} was lost before the command had ended: others may have gone on"
        raise LockLost(lost) from None
