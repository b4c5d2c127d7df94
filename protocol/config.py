"""NodeConfig: the settings of one node, validated once and passed to every actor."""

from ipaddress import ip_address
from typing import Annotated, Final

import msgspec

from protocol.address import PORT_MAX, Address, InvalidAddressText, parse_address
from protocol.compaction import (
    HISTORY_BYTES_KEPT,
    HISTORY_CHANGES_KEPT,
    HISTORY_SECONDS_KEPT,
    HistoryLimits,
    LogLimits,
)
from protocol.election_clock import ElectionTimeouts
from protocol.settings import Setting, read_table
from protocol.space import SpaceLimits

VALUE_BYTES_CEILING = 4 << 20  # a few such values must fit into one peer frame
LOG_ENTRIES_KEPT = 10_000
LOG_BYTES_KEPT = 64 << 20
EXPECT_MIN = 2
LEARNERS_MAX = 5
LEARNERS_CEILING = 50  # the leader sends the whole state to each learner
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
ANY_HOST = ("0.0.0.0", "::", "*")


class InvalidSetting(ValueError):
    """An invalid setting."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of settings, one field each; ``validate`` checks them."""

    dir: Annotated[
        str, Setting(unit="PATH", help="Keep the node's data here; created where it is missing.")
    ] = ""
    bind: Annotated[
        str,
        Setting(
            unit="HOST",
            help="Listen on this address. One that other machines can reach needs `key` or "
            "`insecure`.",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Setting(
            unit="PORT",
            help="Serve clients on this port; the next two serve watchers and peers.",
            least=1,
            most=PORT_MAX,
        ),
    ] = 9400
    advertise: Annotated[
        str,
        Setting(
            unit="ADDRESS",
            help="Address, host or host:port, at which clients and peers reach the node, where "
            "that is not `bind` and `port`; needed if `bind` is 0.0.0.0.",
        ),
    ] = ""
    key: Annotated[
        str,
        Setting(
            unit="FILE",
            help="The cluster's secret key file, made by 'skiff keygen cluster': encrypt all "
            "connections, and accept none without a key.",
        ),
    ] = ""
    insecure: Annotated[
        bool,
        Setting(
            unit="",
            help="Run without `key` even where other machines can reach the node: all who reach "
            "its ports may read and change everything. Logs a warning at each start.",
        ),
    ] = False
    admin_key: Annotated[
        str,
        Setting(
            unit="FILE",
            help="Public key file of the first administrator, for the founding of a cluster; "
            "needs `key`.",
        ),
    ] = ""
    join_cluster: Annotated[
        tuple[str, ...],
        Setting(
            unit="ADDRESS",
            help="Join the cluster that any of these nodes belongs to; without it, the node "
            "founds a cluster.",
            key="join",
        ),
    ] = ()
    expect: Annotated[
        int,
        Setting(
            unit="COUNT",
            help="Form a new cluster with this many nodes, all listed in `join_cluster`, this one "
            "included. All of them are started by the same command, and one that lost its data "
            "never founds another cluster. 0: off.",
            least=0,
        ),
    ] = 0
    rejoin: Annotated[
        bool,
        Setting(
            unit="",
            help="Rejoin after a removal, or replace the member at this address whose directory "
            "was lost; needs `join_cluster`.",
        ),
    ] = False
    standby: Annotated[
        bool, Setting(unit="", help="Wait for an invitation by 'skiff member add'.")
    ] = False
    founding_ms: Annotated[
        int,
        Setting(
            unit="MS",
            help="Before founding a cluster, listen this long for members of another one to which "
            "this address belongs.",
            least=0,
        ),
    ] = 1000  # members reconnect to a lost node about four times a second, and send 13 heartbeats
    heartbeat_ms: Annotated[
        int,
        Setting(
            unit="MS",
            help="Interval between the heartbeats of a leader; at most half of "
            "`election_timeout_min_ms`.",
            least=1,
        ),
    ] = 75
    election_timeout_min_ms: Annotated[
        int,
        Setting(
            unit="MS",
            help="Shortest election timeout: the silence of a leader after which a follower "
            "campaigns, chosen anew at random each time.",
            least=2,
        ),
    ] = 150
    election_timeout_max_ms: Annotated[
        int,
        Setting(
            unit="MS", help="Longest election timeout; above `election_timeout_min_ms`.", least=3
        ),
    ] = 300
    value_bytes_max: Annotated[
        int,
        Setting(unit="BYTES", help="Refuse larger values.", least=1, most=VALUE_BYTES_CEILING),
    ] = 1 << 20
    log_entries_kept: Annotated[
        int,
        Setting(
            unit="COUNT",
            help="Compact the log to this many entries whenever it has twice as many. A follower "
            "that needs older ones is sent a snapshot; while it reads one, the log may grow to 16 "
            "times as many, plus as many entries as the follower has read rows.",
            least=1,
        ),
    ] = LOG_ENTRIES_KEPT
    log_bytes_kept: Annotated[
        int,
        Setting(unit="BYTES", help="The same as `log_entries_kept`, by size.", least=1),
    ] = LOG_BYTES_KEPT
    history_changes_kept: Annotated[
        int,
        Setting(
            unit="COUNT",
            help="Keep this many of the latest changes, for watches that resume.",
            least=1,
        ),
    ] = HISTORY_CHANGES_KEPT
    history_bytes_kept: Annotated[
        int,
        Setting(unit="BYTES", help="The same as `history_changes_kept`, by size.", least=1),
    ] = HISTORY_BYTES_KEPT
    history_seconds_kept: Annotated[
        int,
        Setting(unit="SECONDS", help="The same as `history_changes_kept`, by age.", least=1),
    ] = HISTORY_SECONDS_KEPT
    disk_reserve_bytes: Annotated[
        int,
        Setting(
            unit="BYTES",
            help="Refuse inserts while the disk has less free space than this. 0: no check.",
            least=0,
        ),
    ] = 64 << 20
    state_bytes_max: Annotated[
        int,
        Setting(
            unit="BYTES",
            help="Quota: refuse inserts while all keys and values have this many bytes or more. "
            "0: no quota.",
            least=0,
        ),
    ] = 0
    learners_max: Annotated[
        int,
        Setting(
            unit="COUNT",
            help="Maximum number of learners, that is, of nodes that are joining, while this node "
            "leads.",
            least=1,
            most=LEARNERS_CEILING,
        ),
    ] = LEARNERS_MAX
    user_operations_max: Annotated[
        int,
        Setting(
            unit="COUNT",
            help="Maximum operations per second from one user, or from one connection without a "
            "key, through this node; further ones are refused. Each operation of a transaction "
            "counts. 0: no limit.",
            least=0,
        ),
    ] = 0
    log_level: Annotated[
        str,
        Setting(
            unit="LEVEL",
            help="Log to standard error at this level and above.",
            choices=LOG_LEVELS,
        ),
    ] = "warning"
    log_format: Annotated[
        str,
        Setting(
            unit="FORMAT",
            help="Log lines as text, or as one JSON object each, with time, level, node, actor, "
            "term and message.",
            choices=LOG_FORMATS,
        ),
    ] = "text"
    trace: Annotated[
        bool,
        Setting(
            unit="",
            help="Write the time at which each batch passes each stage to trace/ in the data "
            "directory.",
            hidden=True,
        ),
    ] = False

    @property
    def bind_address(self) -> Address:
        """The address at which the node listens."""
        return Address(self.bind.strip("[]"), self.port)

    @property
    def address(self) -> Address:
        """The address at which clients and peers reach the node."""
        if self.advertise:
            return parse_address(self.advertise, default_port=self.port)
        return self.bind_address

    @property
    def expected_addresses(self) -> tuple[str, ...]:
        """The addresses of all nodes that form the new cluster, in their canonical form."""
        if not self.expect:
            return ()
        return tuple(sorted({str(parse_address(address)) for address in self.join_cluster}))

    @property
    def may_have_users(self) -> bool:
        """Whether the state may have users: where it does, a node starts only like that."""
        return bool(self.key) or self.insecure

    @property
    def is_exposed(self) -> bool:
        """Whether other machines may reach the node's ports."""
        host = self.bind.strip("[]")
        try:
            return not ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"

    @property
    def election_timeouts(self) -> ElectionTimeouts:
        """Heartbeat interval and election timeouts, in seconds."""
        return ElectionTimeouts(
            self.heartbeat_ms / 1000,
            self.election_timeout_min_ms / 1000,
            self.election_timeout_max_ms / 1000,
        )

    @property
    def log_limits(self) -> LogLimits:
        """The part of the log that compaction keeps."""
        return LogLimits(self.log_entries_kept, self.log_bytes_kept)

    @property
    def history_limits(self) -> HistoryLimits:
        """The changes that are kept for watches that resume."""
        return HistoryLimits(
            self.history_changes_kept, self.history_bytes_kept, self.history_seconds_kept
        )

    @property
    def space_limits(self) -> SpaceLimits:
        """The disk reserve and the quota for the state."""
        return SpaceLimits(self.disk_reserve_bytes, self.state_bytes_max)

    def validate(self) -> None:
        """Check each setting by itself, then the settings that depend on each other.

        Raises:
            InvalidSetting: with the name of the setting, its fault and the accepted values.
        """
        _check(bool(self.dir), "dir is required: the directory for this node's data")
        for setting in SETTINGS:
            refusal = setting.refuses(getattr(self, setting.name))
            _check(not refusal, refusal)
        self._validate_addresses()
        self._validate_security()
        self._validate_expect()
        self._validate_times()

    def _validate_addresses(self) -> None:
        _check_address("bind", f"[{self.bind.strip('[]')}]")
        _check(
            bool(self.advertise) or self.bind not in ANY_HOST,
            f"bind {self.bind} is not an address that others can connect to: set advertise",
        )
        if self.advertise:
            _check_address("advertise", self.advertise)
        for address in self.join_cluster:
            _check_address("join_cluster", address)
        _check(
            not (self.standby and self.join_cluster),
            "standby and join_cluster exclude each other: a standby node waits for an invitation",
        )
        _check(
            bool(self.join_cluster) or not self.rejoin,
            "rejoin needs join_cluster: the address of a member",
        )

    def _validate_security(self) -> None:
        _check(
            self.may_have_users or not self.is_exposed,
            f"bind {self.bind} lets other machines reach the node, and it has no key: make one by "
            "'skiff keygen cluster DIR' and give it in key, or accept unauthenticated connections "
            "by --insecure",
        )
        _check(not (self.key and self.insecure), "key and insecure exclude each other")
        _check(bool(self.key) or not self.admin_key, "admin_key needs key: the cluster's keys")

    def _validate_expect(self) -> None:
        if not self.expect:
            return
        expected = self.expected_addresses
        _check(
            EXPECT_MIN <= self.expect == len(expected),
            f"expect must be at least {EXPECT_MIN} and equal the number of addresses in "
            f"join_cluster: {len(expected)}, not {self.expect}",
        )
        _check(
            str(self.address) in expected,
            f"with expect, join_cluster must name this node, too: {self.address} is not among "
            f"{', '.join(expected)}; advertise says how this node is named",
        )

    def _validate_times(self) -> None:
        shortest, longest = self.election_timeout_min_ms, self.election_timeout_max_ms
        _check(
            self.heartbeat_ms * 2 <= shortest < longest,
            "election timeouts must satisfy 2 * heartbeat_ms <= election_timeout_min_ms < "
            f"election_timeout_max_ms, not {self.heartbeat_ms}, {shortest}, {longest}",
        )


SETTINGS: Final = read_table(NodeConfig)
DEFAULTS: Final = NodeConfig()


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidSetting(otherwise)


def _check_address(setting: str, text: str) -> None:
    try:
        parse_address(text)
    except InvalidAddressText as error:
        raise InvalidSetting(f"{setting}: {error}") from None
