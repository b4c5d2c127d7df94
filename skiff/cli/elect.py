"""Elect: the command that leads an election, or prints its leaders."""

from contextlib import ExitStack
from typing import Annotated

import msgspec
import typer

from skiff.cli import output
from skiff.cli.child import LOOK_SECONDS
from skiff.cli.coordination import Ttl, Wait, cluster, note_of_wait
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Url
from skiff.cli.shown import decoded, form
from skiff.cli.signals import SIGNALS, SignalInbox
from skiff.cli.values import AsBytes, AsJson, AsText, kind_of, stored
from skiff.errors import LockLost
from skiff.recipe_methods import TTL_SECONDS
from skiff.recipes.election import Election
from skiff.records import Entry


def elect(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of the election.", show_default=False)
    ],
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE",
            help="The value to proclaim, as that of 'skiff insert'.",
            show_default=False,
        ),
    ] = None,
    *,
    listen: Annotated[
        bool,
        typer.Option("--listen", help="Print the present leader and each later one, until Ctrl-C."),
    ] = False,
    as_text: AsText = False,
    as_bytes: AsBytes = False,
    json_value: AsJson = False,
    timeout: Wait = None,
    ttl: Ttl = TTL_SECONDS,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Lead an election until SIGTERM or Ctrl-C, in order of arrival.

    Prints a line with the token as soon as this process leads; each later leader's is greater. On
    SIGTERM, SIGHUP or Ctrl-C, it resigns and ends with 0; before it leads, with 128 and the number
    of the signal. The exit code is 4 if the leadership is lost, and 6 if others led until
    --timeout. If others remove its key, it notices that only when it resigns, and ends with 4.

    With --listen, it prints a line with the token and the value, as JSON, of the present leader and
    then of each one that follows, and a dash while there is none.
    """
    kind = kind_of(text=as_text, bytes=as_bytes, json=json_value)
    if listen:
        if value is not None or timeout is not None:
            raise CommandFailed("--listen goes without VALUE and --timeout", ExitCode.USAGE)
        _listen(name, as_json=as_json, url=url)
    elif value is None:
        message = "give the VALUE to lead with, or --listen; see 'skiff elect --help'"
        raise CommandFailed(message, ExitCode.USAGE)
    else:
        proclaimed = stored(value, kind)
        with cluster(url) as client, ExitStack() as stack:
            election = client.election(name, ttl=ttl)
            with note_of_wait(f"the leadership of {name!r}"):
                stack.enter_context(election.campaign(proclaimed, timeout=timeout))
            _lead(name, election, as_json=as_json)


def _lead(name: str, election: Election, *, as_json: bool) -> None:
    """Lead until a signal asks for the end."""
    with SignalInbox(*SIGNALS) as inbox:
        token = election.token
        if as_json:
            output.json({"name": name, "token": token, "key": election.fence.key})
        else:
            output.line(str(token))
        while inbox.next(LOOK_SECONDS) is None:
            if election.lost.is_set():
                raise LockLost(f"the leadership of {name!r} is lost: another process may lead")


def _listen(name: str, *, as_json: bool, url: str) -> None:
    with cluster(url) as client:
        for leader in client.election(name).observe(msgspec.Raw):
            _print(leader, as_json=as_json)


def _print(leader: Entry[msgspec.Raw] | None, *, as_json: bool) -> None:
    if leader is None:
        output.write(b'{"token":null}\n' if as_json else b"-\n")
        return
    token, value = leader.create_revision, decoded(leader.key, leader.value)
    if as_json:
        output.json({"token": token, "value": value, "key": leader.key, **form(value)})
    else:
        output.write(b"%d %b\n" % (token, output.as_json(value)))
