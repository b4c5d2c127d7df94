"""Node: the command that runs a node until a signal ends it."""

import os
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from protocol.address import parse_address
from skiff.cli import output
from skiff.cli.admission import Admission
from skiff.cli.options import Json
from skiff.cli.output import ReaderGone
from skiff.cli.settings import Values, combine, read_file, with_settings
from skiff.cli.signals import EndRequest
from skiff.errors import LeaderElectionTimeout, SkiffError
from skiff.node import Skiff

LEADER_SECONDS = 2.0


class Announcement(msgspec.Struct, frozen=True):
    """The facts that the command prints of a running node."""

    asked: str  # the addresses that it asks to join
    expects: bool  # whether it forms a new cluster with those
    stands_by: bool
    as_json: bool
    has_administrator: bool = False  # whether it names the first one


app = typer.Typer(help="Run a node.")


@app.callback()
def node() -> None:
    """Run a node."""


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="SKIFF_CONFIG",
        metavar="FILE",
        help="Read further settings from this TOML file.",
        show_default=False,
        show_envvar=False,
    ),
]
UntilEof = Annotated[
    bool, typer.Option("--until-eof", help="End also when standard input ends.", hidden=True)
]


@app.command()
@with_settings
def start(
    *,
    config: ConfigFile = None,
    until_eof: UntilEof = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Run a node until SIGTERM, SIGHUP or Ctrl-C.

    Prints one line as soon as the node serves clients as a member of a cluster.

    Every setting can also come from the environment, --port as SKIFF_PORT, or from the file,
    as port = 9400. The command line overrides the environment, which overrides the file.
    """
    filed = {} if config is None else read_file(config)
    _run(combine(given, filed), as_json=as_json, until_eof=until_eof)


def _run(settings: Values, *, as_json: bool, until_eof: bool) -> None:
    skiff = Skiff(**settings)
    announcement = Announcement(
        ", ".join(skiff.join_cluster),
        bool(settings.get("expect")),
        bool(settings.get("standby")),
        as_json,
        bool(settings.get("admin_key")),
    )
    skiff.configure_logs()
    serve(skiff, announcement, until_eof=until_eof)


def serve(skiff: Skiff, announcement: Announcement, *, until_eof: bool = False) -> None:
    """Run a node until it ends, with ``until_eof`` at the latest when standard input closes.

    Raises:
        SkiffError: the node has given up; the class names the reason.
    """
    ending = EndRequest()
    ending.listen_to_signals()
    skiff.start(fork=threading.active_count() == 1)  # a debugger has threads of its own
    if until_eof:
        threading.Thread(target=_wait_for_eof, args=(ending,), daemon=True).start()
    follower = threading.Thread(target=_follow, args=(skiff, ending, announcement), daemon=True)
    follower.start()
    try:
        failure = ending.wait()
    finally:
        skiff.shutdown()
    if failure is not None:
        raise failure


def _follow(skiff: Skiff, ending: EndRequest, announcement: Announcement) -> None:
    """Announce the node once it serves; report it if it gives up."""
    try:
        skiff.wait_until_serving()
        with closing(Admission(skiff)) as admission:
            if announcement.asked:
                _wait_to_be_let_in(skiff, announcement, admission)
            elif not announcement.stands_by:
                admission.wait()  # until a new node has founded its cluster
            if announcement.has_administrator and not announcement.stands_by:
                with suppress(LeaderElectionTimeout):  # it serves without a leader, too
                    skiff.wait_for_leader(LEADER_SECONDS)  # and until the key is accepted
            _announce(skiff, announcement, admission)
        skiff.wait()
        ending.request()
    except (SkiffError, OSError) as failure:
        ending.request(failure)


def _wait_for_eof(ending: EndRequest) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    ending.request()


def _wait_to_be_let_in(skiff: Skiff, announcement: Announcement, admission: Admission) -> None:
    """Wait until the node is a member; print what it waits for."""
    if not admission.is_granted():
        asked = announcement.asked
        doing = f"forms a cluster with {asked}" if announcement.expects else f"asks {asked} to join"
        output.note(f"node {skiff.id} at {skiff.address} {doing}")
        admission.wait()


def _announce(skiff: Skiff, announcement: Announcement, admission: Admission) -> None:
    """Print that the node serves, which it also does if this cannot be printed."""
    try:
        _print(skiff, announcement, admission)
    except (ReaderGone, OSError):
        output.abandon(output.STANDARD_OUTPUT)


def _print(skiff: Skiff, announcement: Announcement, admission: Admission) -> None:
    address = parse_address(skiff.address)
    publishes_at = address.publish_endpoint.removeprefix("tcp://")
    if announcement.as_json:
        facts = {"event": "ready", "id": skiff.id, "address": skiff.address}
        output.json({**facts, "publish_address": publishes_at, "pid": os.getpid()})
    else:
        waits = announcement.stands_by and not admission.is_granted()
        verb = "stands by" if waits else "serves"
        output.line(f"node {skiff.id} {verb} at {skiff.address}, publishes at {publishes_at}")
