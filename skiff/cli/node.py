"""The command that runs a node until it is told to end."""

import os
import sys
import threading
from contextlib import closing

import msgspec
import typer

from actors.logs import Whereabouts, configure
from protocol.address import parse_address
from skiff.cli import node_options as options
from skiff.cli import output
from skiff.cli.admission import Admission
from skiff.cli.node_ending import NodeEnding
from skiff.cli.options import Json
from skiff.cli.output import ReaderGone
from skiff.cli.settings import Settings, Values, combine, read_file
from skiff.errors import SkiffError
from skiff.node import Skiff


class Announcement(msgspec.Struct, frozen=True):
    """What is to be told of a node that has come up."""

    asked: str  # whom it asks to be let in
    expects: bool  # whether it forms a new cluster with them
    stands_by: bool
    as_json: bool


app = typer.Typer(help="Run a node.")


@app.callback()
def node() -> None:
    """Run a node."""


@app.command()
def start(
    *,
    directory: options.Directory = None,
    bind: options.Bind = None,
    port: options.Port = None,
    advertise: options.Advertise = None,
    join: options.Join = None,
    expect: options.Expect = None,
    rejoin: options.Rejoin = None,
    standby: options.Standby = None,
    founding_ms: options.FoundingMs = None,
    heartbeat_ms: options.HeartbeatMs = None,
    election_timeout_min_ms: options.ElectionTimeoutMinMs = None,
    election_timeout_max_ms: options.ElectionTimeoutMaxMs = None,
    value_bytes_max: options.ValueBytesMax = None,
    log_entries_kept: options.LogEntriesKept = None,
    log_bytes_kept: options.LogBytesKept = None,
    disk_reserve_bytes: options.DiskReserveBytes = None,
    state_bytes_max: options.StateBytesMax = None,
    config: options.ConfigFile = None,
    learners_max: options.LearnersMax = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    trace: options.Trace = None,
    until_eof: options.UntilEof = False,
    as_json: Json = False,
) -> None:
    """Run a node until SIGTERM, SIGHUP or Ctrl-C.

    It prints one line as soon as it serves clients as a member of a cluster.

    Every setting may also stand in the environment, --port as SKIFF_PORT, or in the file, as
    port = 9400. The command line beats the environment, which beats the file.
    """
    parameters = locals()  # each is the setting of the same name
    given = {name: parameters.get(name) for name in Settings.__struct_fields__}
    given |= {"dir": directory, "join": join or None}
    filed = {} if config is None else read_file(config)
    settings = combine({name: value for name, value in given.items() if value is not None}, filed)
    _run(settings, as_json=as_json, until_eof=until_eof)


def _run(settings: Values, *, as_json: bool, until_eof: bool) -> None:
    skiff = Skiff(**settings)  # type: ignore[arg-type]
    told = Announcement(
        ", ".join(skiff.join_cluster),
        bool(settings.get("expect")),
        bool(settings.get("standby")),
        as_json,
    )
    level = str(settings.get("log_level", options.DEFAULTS.log_level))
    log_format = str(settings.get("log_format", options.DEFAULTS.log_format))
    serve(skiff, configure("supervisor", level, log_format), told, until_eof=until_eof)


def serve(
    skiff: Skiff, whereabouts: Whereabouts, announcement: Announcement, *, until_eof: bool = False
) -> None:
    """Run a node to its end, which may be that of the program which holds its standard input.

    Raises:
        SkiffError: why it gave up.
    """
    ending = NodeEnding()
    ending.listen_to_signals()
    skiff.start()
    if until_eof:
        threading.Thread(target=_wait_for_eof, args=(ending,), daemon=True).start()
    told = (skiff, whereabouts, ending, announcement)
    threading.Thread(target=_follow, args=told, daemon=True).start()
    try:
        failure = ending.wait()
    finally:
        skiff.shutdown()
    if failure is not None:
        raise failure


def _follow(
    skiff: Skiff, whereabouts: Whereabouts, ending: NodeEnding, announcement: Announcement
) -> None:
    """Announce the node once it serves, and tell when it has given up."""
    try:
        skiff.wait_until_serving()
        whereabouts.node = skiff.id.hex[:8]
        with closing(Admission(skiff)) as admission:
            if announcement.asked:
                _wait_to_be_let_in(skiff, announcement, admission)
            elif not announcement.stands_by:
                admission.wait()  # for a new node to found its cluster
            _announce(skiff, announcement, admission)
        skiff.wait()
    except (SkiffError, ReaderGone, OSError) as failure:
        ending.tell(failure)


def _wait_for_eof(ending: NodeEnding) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    ending.tell()


def _wait_to_be_let_in(skiff: Skiff, announcement: Announcement, admission: Admission) -> None:
    """Wait until the node is a member, and say so where it is not yet."""
    if not admission.is_granted():
        asked = announcement.asked
        doing = f"forms a cluster with {asked}" if announcement.expects else f"asks {asked} to join"
        output.note(f"node {skiff.id} at {skiff.address} {doing}")
        admission.wait()


def _announce(skiff: Skiff, announcement: Announcement, admission: Admission) -> None:
    address = parse_address(skiff.address)
    publishes_at = address.publish_endpoint.removeprefix("tcp://")
    if announcement.as_json:
        facts = {"event": "ready", "id": skiff.id, "address": skiff.address}
        output.json({**facts, "publish_address": publishes_at, "pid": os.getpid()})
    else:
        waits = announcement.stands_by and not admission.is_granted()
        verb = "stands by" if waits else "serves"
        output.line(f"node {skiff.id} {verb} at {skiff.address}, publishes at {publishes_at}")
