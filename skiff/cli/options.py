"""Options: the arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from skiff.arguments import Reading
from skiff.client import Client

DEFAULT_URL = "skiff://127.0.0.1:9400"

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
        help="Nodes to connect to: host:port,… or skiff://host:port,…",
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
    Reading,
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
    Path, typer.Argument(metavar="FILE", help="The backup file.", show_default=False)
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def connect(url: str, timeout: float) -> Client:
    """Return a client of the cluster that the options name."""
    return Client(url, timeout=timeout)
