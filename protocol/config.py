"""The settings of one node, validated once and handed to every actor whole."""

from ipaddress import ip_address

import msgspec

from protocol.address import PORT_MAX, Address, InvalidAddressText, parse_address
from protocol.compaction import LogLimits
from protocol.election_clock import ElectionTimeouts
from protocol.space import SpaceLimits

VALUE_BYTES_MAX = 1 << 20
VALUE_BYTES_CEILING = 4 << 20  # a few such values must fit one peer frame
LOG_ENTRIES_KEPT = 10_000
LOG_BYTES_KEPT = 64 << 20
DISK_RESERVE_BYTES = 64 << 20
FOUNDING_MS = 1000  # members dial a lost node about four times a second, and speak 13 times
FOUNDING_MS_MAX = 600_000
EXPECT_MIN = 2
LEARNERS_MAX = 5
LEARNERS_CEILING = 50  # a leader sends to each of them all that is written
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
ANY_HOST = ("0.0.0.0", "::", "*")


class InvalidSetting(ValueError):
    """A setting that no node can run with."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one node runs; ``validate`` says whether it can."""

    dir: str = ""
    bind: str = "127.0.0.1"
    port: int = 9400
    advertise: str = ""  # host or host:port at which others reach this node; empty: as bound
    join_cluster: tuple[str, ...] = ()
    expect: int = 0  # form a cluster with this many nodes, all named in join_cluster; 0: do not
    rejoin: bool = False  # come back after a removal, or in place of a member that lost its data
    standby: bool = False  # wait to be invited instead of founding a cluster
    founding_ms: int = FOUNDING_MS  # quiet period before a new node founds a cluster of one
    heartbeat_ms: int = 75
    election_timeout_min_ms: int = 150
    election_timeout_max_ms: int = 300
    value_bytes_max: int = VALUE_BYTES_MAX
    log_entries_kept: int = LOG_ENTRIES_KEPT  # for followers that are behind
    log_bytes_kept: int = LOG_BYTES_KEPT
    disk_reserve_bytes: int = DISK_RESERVE_BYTES  # to be free on the disk; 0: do not look
    state_bytes_max: int = 0  # of all keys and values, beyond which inserts are refused; 0: any
    learners_max: int = LEARNERS_MAX  # nodes that are being brought up at once
    log_level: str = "warning"
    log_format: str = "text"
    trace: bool = False  # write down when each batch passes which stage

    @property
    def bind_address(self) -> Address:
        """Where the node listens."""
        return Address(self.bind.strip("[]"), self.port)

    @property
    def address(self) -> Address:
        """Where clients and peers reach the node."""
        if self.advertise:
            return parse_address(self.advertise, default_port=self.port)
        return self.bind_address

    @property
    def expected_addresses(self) -> tuple[str, ...]:
        """The addresses of all nodes that form the cluster together, as they name themselves."""
        if not self.expect:
            return ()
        return tuple(sorted({str(parse_address(address)) for address in self.join_cluster}))

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
        """The timer's intervals, in seconds."""
        return ElectionTimeouts(
            self.heartbeat_ms / 1000,
            self.election_timeout_min_ms / 1000,
            self.election_timeout_max_ms / 1000,
        )

    @property
    def log_limits(self) -> LogLimits:
        """How much of the log is kept when it is compacted."""
        return LogLimits(self.log_entries_kept, self.log_bytes_kept)

    @property
    def space_limits(self) -> SpaceLimits:
        """How much room is kept free, and how large the state may become."""
        return SpaceLimits(self.disk_reserve_bytes, self.state_bytes_max)

    def validate(self) -> None:
        """Check every setting.

        Raises:
            InvalidSetting: names the setting, what is wrong with it and what would be right.
        """
        _check(bool(self.dir), "dir must be named: the directory that keeps this node's data")
        _check(1 <= self.port <= PORT_MAX, f"port must be from 1 to {PORT_MAX}, not {self.port}")
        self._validate_addresses()
        self._validate_times()
        _check(
            1 <= self.value_bytes_max <= VALUE_BYTES_CEILING,
            f"value_bytes_max must be from 1 to {VALUE_BYTES_CEILING}, not {self.value_bytes_max}",
        )
        _check(
            self.log_entries_kept >= 1 and self.log_bytes_kept >= 1,
            "log_entries_kept and log_bytes_kept must be positive, not "
            f"{self.log_entries_kept} and {self.log_bytes_kept}",
        )
        self._validate_logs()

    def _validate_logs(self) -> None:
        _check(
            1 <= self.learners_max <= LEARNERS_CEILING,
            f"learners_max must be from 1 to {LEARNERS_CEILING}, not {self.learners_max}",
        )
        _check(
            self.disk_reserve_bytes >= 0 and self.state_bytes_max >= 0,
            "disk_reserve_bytes and state_bytes_max must not be negative, but are "
            f"{self.disk_reserve_bytes} and {self.state_bytes_max}",
        )
        _check(
            self.log_level in LOG_LEVELS,
            f"log_level must be one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}",
        )
        _check(
            self.log_format in LOG_FORMATS,
            f"log_format must be one of {', '.join(LOG_FORMATS)}, not {self.log_format!r}",
        )

    def _validate_addresses(self) -> None:
        _check_address("bind", f"[{self.bind.strip('[]')}]")
        _check(
            bool(self.advertise) or self.bind not in ANY_HOST,
            f"bind {self.bind} reaches nobody: name the host in advertise as others see it",
        )
        if self.advertise:
            _check_address("advertise", self.advertise)
        for address in self.join_cluster:
            _check_address("join_cluster", address)
        _check(
            not (self.standby and self.join_cluster),
            "standby waits to be invited and join_cluster does not: give one of them",
        )
        _check(
            bool(self.join_cluster) or not self.rejoin,
            "rejoin needs join_cluster: the address of a member",
        )
        self._validate_expect()

    def _validate_expect(self) -> None:
        _check(
            0 <= self.founding_ms <= FOUNDING_MS_MAX,
            f"founding_ms must be from 0 to {FOUNDING_MS_MAX}, not {self.founding_ms}",
        )
        if not self.expect:
            return
        expected = self.expected_addresses
        _check(
            EXPECT_MIN <= self.expect == len(expected),
            f"expect must be at least {EXPECT_MIN} and the number of addresses in join_cluster, "
            f"which are {len(expected)}, not {self.expect}",
        )
        _check(
            str(self.address) in expected,
            f"with expect, join_cluster must name this node, too: {self.address} is not among "
            f"{', '.join(expected)}; advertise says how this node is named",
        )

    def _validate_times(self) -> None:
        shortest, longest = self.election_timeout_min_ms, self.election_timeout_max_ms
        _check(self.heartbeat_ms >= 1, f"heartbeat_ms must be positive, not {self.heartbeat_ms}")
        _check(
            self.heartbeat_ms * 2 <= shortest < longest,
            "election timeouts must satisfy 2 * heartbeat_ms <= election_timeout_min_ms < "
            f"election_timeout_max_ms, not {self.heartbeat_ms}, {shortest}, {longest}",
        )


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidSetting(otherwise)


def _check_address(setting: str, text: str) -> None:
    try:
        parse_address(text)
    except InvalidAddressText as error:
        raise InvalidSetting(f"{setting}: {error}") from None
