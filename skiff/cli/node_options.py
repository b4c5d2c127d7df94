"""The options of a node: one for each setting, which the environment may hold as well."""

from pathlib import Path
from typing import Annotated, Any

import typer

from protocol.config import LOG_FORMATS, LOG_LEVELS, NodeConfig

DEFAULTS = NodeConfig()


def _setting(flag: str, metavar: str | None, text: str, **more: Any) -> Any:
    """Return an option; where it is neither given nor in the environment, its value is None."""
    variable = f"SKIFF_{flag.split('/', maxsplit=1)[0][2:].replace('-', '_').upper()}"
    return typer.Option(
        flag,
        envvar=variable,
        metavar=metavar,
        help=text,
        show_default=False,
        show_envvar=False,
        **more,
    )


Directory = Annotated[
    str | None, _setting("--dir", "PATH", "Keep the node's data here; made where it is missing.")
]
Bind = Annotated[
    str | None, _setting("--bind", "HOST", f"Listen at this address. Default: {DEFAULTS.bind}")
]
Port = Annotated[
    int | None,
    _setting(
        "--port",
        "PORT",
        "Answer clients here; the next two ports serve watchers and peers. "
        f"Default: {DEFAULTS.port}",
    ),
]
Advertise = Annotated[
    str | None,
    _setting("--advertise", "ADDRESS", "Be reached at this host:port, if not where it listens."),
]
Join = Annotated[
    list[str] | None,
    _setting(
        "--join",
        "ADDRESS",
        "Join the cluster of this node; several by commas or by repeating the option. Without it "
        "the node founds a cluster.",
    ),
]
Expect = Annotated[
    int | None,
    _setting(
        "--expect",
        "COUNT",
        "Form a new cluster with this many nodes, all named by --join, this one too. The same "
        "command serves all of them, and a node that lost its data never founds another cluster.",
    ),
]
Rejoin = Annotated[
    bool | None,
    _setting(
        "--rejoin/--no-rejoin",
        None,
        "With --join: come back after a removal, or in place of the member that lost its "
        "directory at this address.",
    ),
]
Standby = Annotated[
    bool | None,
    _setting("--standby/--no-standby", None, "Wait to be invited by 'skiff member add'."),
]
FoundingMs = Annotated[
    int | None,
    _setting(
        "--founding-ms",
        "MS",
        "Before founding a cluster, listen this long for members of another one to which this "
        f"address belongs. Default: {DEFAULTS.founding_ms}",
    ),
]
HeartbeatMs = Annotated[
    int | None,
    _setting(
        "--heartbeat-ms",
        "MS",
        f"Let a leader be heard this often. Default: {DEFAULTS.heartbeat_ms}",
    ),
]
ElectionTimeoutMinMs = Annotated[
    int | None,
    _setting(
        "--election-timeout-min-ms",
        "MS",
        f"Bear a leader's silence at least so long. Default: {DEFAULTS.election_timeout_min_ms}",
    ),
]
ElectionTimeoutMaxMs = Annotated[
    int | None,
    _setting(
        "--election-timeout-max-ms",
        "MS",
        f"Bear it at most so long. Default: {DEFAULTS.election_timeout_max_ms}",
    ),
]
ValueBytesMax = Annotated[
    int | None,
    _setting(
        "--value-bytes-max",
        "BYTES",
        f"Refuse larger values. Default: {DEFAULTS.value_bytes_max}",
    ),
]
LogEntriesKept = Annotated[
    int | None,
    _setting(
        "--log-entries-kept",
        "COUNT",
        "Cut the log to so many entries when it is twice as long; who lacks more gets a snapshot. "
        f"Default: {DEFAULTS.log_entries_kept}",
    ),
]
LogBytesKept = Annotated[
    int | None,
    _setting("--log-bytes-kept", "BYTES", f"The same by size. Default: {DEFAULTS.log_bytes_kept}"),
]
DiskReserveBytes = Annotated[
    int | None,
    _setting(
        "--disk-reserve-bytes",
        "BYTES",
        "Refuse inserts while the disk has less left; 0: do not look. "
        f"Default: {DEFAULTS.disk_reserve_bytes}",
    ),
]
StateBytesMax = Annotated[
    int | None,
    _setting(
        "--state-bytes-max",
        "BYTES",
        "Refuse inserts while all keys and values have so many bytes or more; 0: never. "
        f"Default: {DEFAULTS.state_bytes_max}",
    ),
]
LearnersMax = Annotated[
    int | None,
    _setting(
        "--learners-max",
        "COUNT",
        "Let no more nodes than this join at the same time, while this one leads. "
        f"Default: {DEFAULTS.learners_max}",
    ),
]
ConfigFile = Annotated[
    Path | None,
    _setting("--config", "FILE", "Read settings from this TOML file, where not given here."),
]
LogLevel = Annotated[
    str | None,
    _setting("--log-level", "LEVEL", f"{', '.join(LOG_LEVELS)}. Default: {DEFAULTS.log_level}"),
]
LogFormat = Annotated[
    str | None,
    _setting("--log-format", "FORMAT", f"{', '.join(LOG_FORMATS)}. Default: {DEFAULTS.log_format}"),
]
Trace = Annotated[
    bool | None, _setting("--trace", None, "Note when each batch passes which stage.", hidden=True)
]

UntilEof = Annotated[
    bool,
    typer.Option("--until-eof", help="End also when standard input ends.", hidden=True),
]
