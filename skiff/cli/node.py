"""The command that runs a node until it is told to end."""

import os
import signal
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import typer

from protocol.address import parse_address
from protocol.config import LOG_LEVELS, NodeConfig
from skiff.cli import output
from skiff.cli.options import Json
from skiff.cli.output import ReaderGone
from skiff.cli.settings import combine, read_file
from skiff.errors import SkiffError
from skiff.node import Skiff

app = typer.Typer(help="Run a node.")

DEFAULTS = NodeConfig()
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Ending = Exception | None  # why the node is to end: a failure, or None where it was told to
Text = str | None
Number = int | None
Flag = bool | None


def _setting(flag: str, metavar: str | None, text: str, **more: Any) -> Any:
    """Return an option that may also stand in the environment; what is not given stays None."""
    names = [flag, f"--no-{flag[2:]}"] if flag == "--standby" else [flag]
    variable = f"SKIFF_{flag[2:].replace('-', '_').upper()}"
    return typer.Option(
        "/".join(names),
        envvar=variable,
        metavar=metavar,
        help=text,
        show_default=False,
        show_envvar=False,
        **more,
    )


@app.callback()
def node() -> None:
    """Run a node."""


@app.command()
def start(
    *,
    directory: Annotated[
        Text, _setting("--dir", "PATH", "Keep the node's data here; made where it is missing.")
    ] = None,
    bind: Annotated[
        Text, _setting("--bind", "HOST", f"Listen at this address. Default: {DEFAULTS.bind}")
    ] = None,
    port: Annotated[
        Number,
        _setting(
            "--port",
            "PORT",
            f"Answer clients here; the next two ports serve watchers and peers. "
            f"Default: {DEFAULTS.port}",
        ),
    ] = None,
    advertise: Annotated[
        Text,
        _setting(
            "--advertise", "ADDRESS", "Be reached at this host:port, if not where it listens."
        ),
    ] = None,
    join: Annotated[
        list[str] | None,
        _setting(
            "--join",
            "ADDRESS",
            "Join the cluster of this node; several by commas or by repeating the option. "
            "Without it the node founds a cluster.",
        ),
    ] = None,
    standby: Annotated[
        Flag, _setting("--standby", None, "Wait to be invited by 'skiff member add'.")
    ] = None,
    heartbeat_ms: Annotated[
        Number,
        _setting(
            "--heartbeat-ms",
            "MS",
            f"Let a leader be heard this often. Default: {DEFAULTS.heartbeat_ms}",
        ),
    ] = None,
    election_timeout_min_ms: Annotated[
        Number,
        _setting(
            "--election-timeout-min-ms",
            "MS",
            "Bear a leader's silence at least so long. "
            f"Default: {DEFAULTS.election_timeout_min_ms}",
        ),
    ] = None,
    election_timeout_max_ms: Annotated[
        Number,
        _setting(
            "--election-timeout-max-ms",
            "MS",
            f"Bear it at most so long. Default: {DEFAULTS.election_timeout_max_ms}",
        ),
    ] = None,
    value_bytes_max: Annotated[
        Number,
        _setting(
            "--value-bytes-max",
            "BYTES",
            f"Refuse larger values. Default: {DEFAULTS.value_bytes_max}",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        _setting("--config", "FILE", "Read settings from this TOML file, where not given here."),
    ] = None,
    log_level: Annotated[
        Text,
        _setting("--log-level", "LEVEL", f"{', '.join(LOG_LEVELS)}. Default: {DEFAULTS.log_level}"),
    ] = None,
    trace: Annotated[Flag, _setting("--trace", None, "Note each stage.", hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Run a node until SIGTERM or Ctrl-C.

    It prints one line as soon as it serves clients.

    Every setting may also stand in the environment, --port as SKIFF_PORT, or in the file, as
    port = 9400. The command line beats the environment, which beats the file.
    """
    given = {
        "dir": directory,
        "bind": bind,
        "port": port,
        "advertise": advertise,
        "join": join or None,
        "standby": standby,
        "heartbeat_ms": heartbeat_ms,
        "election_timeout_min_ms": election_timeout_min_ms,
        "election_timeout_max_ms": election_timeout_max_ms,
        "value_bytes_max": value_bytes_max,
        "log_level": log_level,
        "trace": trace,
    }
    filed = {} if config is None else read_file(config)
    settings = combine({name: value for name, value in given.items() if value is not None}, filed)
    serve(Skiff(**settings), as_json=as_json)  # type: ignore[arg-type]


def serve(skiff: Skiff, *, as_json: bool) -> None:
    """Run a node to its end.

    Raises:
        SkiffError: why it gave up.
    """
    endings: SimpleQueue[Ending] = SimpleQueue()
    for number in ENDING_SIGNALS:
        # A signal that comes while the node is already ending is one more that nobody reads.
        signal.signal(number, lambda *_: endings.put(None))
    skiff.start()
    threading.Thread(target=_follow, args=(skiff, endings, as_json), daemon=True).start()
    try:
        ending = endings.get()
    finally:
        skiff.shutdown()
    if ending is not None:
        raise ending


def _follow(skiff: Skiff, endings: SimpleQueue[Ending], as_json: bool) -> None:
    """Announce the node once it serves, and tell when it has given up."""
    try:
        skiff.wait_until_serving()
        _announce(skiff, as_json=as_json)
        skiff.wait()
    except (SkiffError, ReaderGone, OSError) as error:
        endings.put(error)


def _announce(skiff: Skiff, *, as_json: bool) -> None:
    address = parse_address(skiff.address)
    publishes_at = address.publish_endpoint.removeprefix("tcp://")
    if as_json:
        facts = {"event": "ready", "id": skiff.id, "address": skiff.address}
        output.json({**facts, "publish_address": publishes_at, "pid": os.getpid()})
    else:
        output.line(f"node {skiff.id} serves at {skiff.address}, publishes at {publishes_at}")
