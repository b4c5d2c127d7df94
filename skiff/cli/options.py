"""Options: the arguments and options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skiff.addresses import with_keys
from skiff.arguments import Consistency
from skiff.client import Client

DEFAULT_URL = "127.0.0.1:9400"

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="The key, like users/alice.", show_default=False)
]

Prefix = Annotated[
    str,
    typer.Argument(metavar="PREFIX", help="Only keys under this prefix.", show_default=False),
]

Url = Annotated[
    str,
    typer.Option(
        "--url",
        "-u",
        envvar="SKIFF_URL",
        metavar="ADDRESSES",
        help="Nodes to connect to: host:port,… or skiff[s]://host:port,…",
    ),
]

Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        envvar="SKIFF_TIMEOUT",
        metavar="SECONDS",
        help="Give up after this many seconds.",
    ),
]

Read = Annotated[
    Consistency,
    typer.Option(
        "--read",
        help="leader-lease: no quorum round trip, correct while clock drift is bounded; stale: the "
        "state of any node, without asking the leader.",
    ),
]

MaxStaleness = Annotated[
    float | None,
    typer.Option(
        "--max-staleness",
        metavar="SECONDS",
        help="With --read stale: how old the state may be.",
        show_default=False,
    ),
]

AtLeast = Annotated[
    int | None,
    typer.Option(
        "--at-least",
        metavar="REVISION",
        help="A revision that the state must have reached.",
        show_default=False,
    ),
]

NewBackup = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="The backup file; - for standard output.", show_default=False
    ),
]

BackupFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="The backup file; - for standard input.", show_default=False
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


KeyFile = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Your secret key file; by default, SKIFF_KEY names it.",
        show_default=False,
    ),
]

ServerKey = Annotated[
    str | None,
    typer.Option(
        "--server-key",
        metavar="KEY",
        help="Public key of the cluster, or its file, instead of that in your key file.",
        show_default=False,
    ),
]


def add_key_options(app: typer.Typer) -> None:
    """Add --key and --server-key to each command that has --url; they become a part of the URL."""
    for command in app.registered_commands:
        if command.callback and "url" in inspect.signature(command.callback).parameters:
            command.callback = _with_keys(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_key_options(group.typer_instance)


def _with_keys(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def keyed(*, key_file: str | None = None, server_key: str | None = None, **given: Any) -> Any:
        if key_file or server_key:
            given["url"] = with_keys(given["url"], key_file, server_key)
        return command(**given)

    own = inspect.signature(command)
    options = [_option("key_file", KeyFile), _option("server_key", ServerKey)]
    keyed.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *options]
    )
    return keyed


def _option(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def connect(url: str, timeout: float) -> Client:
    """Return a client of the cluster that the options name."""
    return Client(url, timeout=timeout)
