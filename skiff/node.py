"""Node: a member of the cluster that this program runs; its life, and its view of the cluster."""

import contextlib
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from actors.logs import LogFields, configure
from actors.supervisor import Supervisor
from protocol.config import DEFAULTS, InvalidSetting, NodeConfig
from skiff import errors
from skiff.bound import BoundToProcess
from skiff.client import Client
from skiff.errors import (
    ClientConnectFailed,
    ClusterInitFailed,
    ClusterJoinFailed,
    InvalidConfig,
    InvalidRequest,
    LeaderElectionTimeout,
    RequestTimeout,
    SkiffError,
)
from skiff.records import NodeStatus, Role

START_SECONDS = 15.0  # for all processes of a node to come up, on a busy machine
STATUS_SECONDS = 1.0
POLL_SECONDS = 0.01


class ElectionState(msgspec.Struct, frozen=True):
    """What the node does in its present term, and whom it follows if it follows anybody."""

    role: Role
    leader: uuid.UUID | None


class Skiff(BoundToProcess):
    """One node: four processes that live and die with this program.

    Use it as a context manager, or call ``start`` and ``shutdown``. In a process that is forked
    from this one it can only be shut down, which leaves the node to its own process.
    """

    def __init__(  # noqa: PLR0913 - one parameter for each setting
        self,
        dir: str | Path = "",
        *,
        join_cluster: str | Iterable[str] = (),
        bind: str = DEFAULTS.bind,
        port: int = DEFAULTS.port,
        advertise: str = DEFAULTS.advertise,
        expect: int = DEFAULTS.expect,
        rejoin: bool = DEFAULTS.rejoin,
        standby: bool = DEFAULTS.standby,
        founding_ms: int = DEFAULTS.founding_ms,
        heartbeat_ms: int = DEFAULTS.heartbeat_ms,
        election_timeout_min_ms: int = DEFAULTS.election_timeout_min_ms,
        election_timeout_max_ms: int = DEFAULTS.election_timeout_max_ms,
        value_bytes_max: int = DEFAULTS.value_bytes_max,
        log_entries_kept: int = DEFAULTS.log_entries_kept,
        log_bytes_kept: int = DEFAULTS.log_bytes_kept,
        disk_reserve_bytes: int = DEFAULTS.disk_reserve_bytes,
        state_bytes_max: int = DEFAULTS.state_bytes_max,
        learners_max: int = DEFAULTS.learners_max,
        log_level: str = DEFAULTS.log_level,
        log_format: str = DEFAULTS.log_format,
        trace: bool = DEFAULTS.trace,
    ) -> None:
        """Check the settings, which the README's table describes; nothing is started or written.

        Raises:
            InvalidConfig: names the setting that is wrong, and what would be right.
        """
        parameters = locals()  # each is the setting of the same name
        given = {name: parameters[name] for name in NodeConfig.__struct_fields__}
        given["dir"] = str(Path(dir).absolute()) if str(dir) else ""
        one = isinstance(join_cluster, str)
        given["join_cluster"] = (join_cluster,) if one else tuple(join_cluster)
        self._config = _validated(given)
        self._supervisor: Supervisor | None = None
        self._client: Client | None = None
        self._log_fields: LogFields | None = None

    def __repr__(self) -> str:
        state = "not started" if self._supervisor is None else "started"
        return f"<Skiff at {self.address} in {self._config.dir!r}, {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def configure_logs(self) -> None:
        """Log to standard error as the settings say, with this node in each line."""
        self._log_fields = configure("supervisor", self._config.log_level, self._config.log_format)

    # --- its life

    def start(self) -> None:
        """Start the node's processes; returns at once."""
        if self._supervisor is not None:
            raise ClusterInitFailed("the node is started already")
        self._supervisor = Supervisor(self._config)
        self._supervisor.start()

    def wait_until_serving(self, timeout: float | None = START_SECONDS) -> None:
        """Wait until all processes of the node are ready.

        Raises:
            SkiffError: why the node did not come up, as the class that says it best.
        """
        if not self._running.wait_until_serving(timeout):
            _raise_failure(self._running)
            raise ClusterInitFailed(f"the node at {self.address} was not ready in time")
        if self._log_fields is not None:
            self._log_fields.node = self.id.hex[:8]

    def shutdown(self, timeout: float | None = None) -> None:
        """Hand leadership over where this node leads, then end all its processes.

        They end in good order, for which each has three seconds and all together ``timeout``
        seconds, 0 to end them at once; then they are killed, and nothing acknowledged is lost.

        Raises:
            InvalidRequest: the timeout is negative.
        """
        if timeout is not None and not timeout >= 0:  # so that NaN is refused, too
            raise InvalidRequest(f"a timeout must not be negative, as is {timeout}")
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._supervisor is not None:
            self._supervisor.stop(timeout)
            self._supervisor = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing of the node is left; return False if it runs after so many seconds.

        True means that another thread has shut it down.

        Raises:
            SkiffError: why the node gave up.
        """
        supervisor = self._running
        supervisor.wait_until_over(timeout)
        _raise_failure(supervisor)
        return supervisor.is_over

    # --- its view

    @property
    def id(self) -> uuid.UUID:
        """The node's identity, which outlives restarts; waits until its directory is open.

        Raises:
            SkiffError: why the directory cannot be opened.
        """
        if not self._running.wait_until_identified(START_SECONDS):
            _raise_failure(self._running)
            raise ClusterInitFailed(f"the node at {self.address} was not ready in time")
        return uuid.UUID(bytes=self._running.node)

    @property
    def address(self) -> str:
        """Where clients and peers reach the node."""
        return str(self._config.address)

    @property
    def join_cluster(self) -> tuple[str, ...]:
        """The addresses of the cluster that the node is to be a member of, if it was given any."""
        return self._config.join_cluster

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each actor."""
        return self._running.pids

    def is_leader_elected(self) -> bool:
        """Whether this node knows who leads."""
        return self.election_state().leader is not None

    def wait_for_leader(self, timeout: float = 5.0) -> None:
        """Wait until this node knows who leads.

        Raises:
            LeaderElectionTimeout: there is no leader in time.
            ClusterJoinFailed: none of those that it is to join has let it in, in time.
            SkiffError: why the node did not come up.
        """
        deadline = time.monotonic() + timeout
        self._running.wait_until_serving(timeout)
        while time.monotonic() < deadline:
            _raise_failure(self._running)
            with contextlib.suppress(ClientConnectFailed, RequestTimeout):
                if self._status(deadline - time.monotonic()).leader is not None:
                    return
            time.sleep(POLL_SECONDS)
        _raise_failure(self._running)
        raise self._why_leaderless()

    def election_state(self) -> ElectionState:
        """Return what the node does in its present term."""
        status = self._status()
        return ElectionState(status.role, status.leader)

    def cluster(self) -> dict[uuid.UUID, str]:
        """Return the address of every member, as far as committed where this node knows it."""
        return {member.id: member.address for member in self._status().members}

    def client(self, *, timeout: float | None = 5.0) -> Client:
        """Return a client that asks this node."""
        return Client([self._local_address()], timeout=timeout, follow_leader=False)

    # ---

    @property
    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise ClusterInitFailed("the node is not started")
        if self._supervisor.is_inherited:
            raise ClusterInitFailed("the node runs in the process that this one was forked from")
        return self._supervisor

    def _status(self, timeout: float = STATUS_SECONDS) -> NodeStatus:
        address = self._local_address()
        if self._client is None:
            self._client = Client([address], follow_leader=False)
        return self._client.status(timeout=min(timeout, STATUS_SECONDS))

    def _local_address(self) -> str:
        self.wait_until_serving()
        return self._running.client_address

    def _why_leaderless(self) -> SkiffError:
        with contextlib.suppress(ClientConnectFailed, RequestTimeout):
            if self._config.join_cluster and self._status().cluster_id is None:
                asked = ", ".join(self._config.join_cluster)
                return ClusterJoinFailed(f"the node at {self.address} was not let in by {asked}")
        return LeaderElectionTimeout(f"the node at {self.address} knows no leader")


def _raise_failure(supervisor: Supervisor) -> None:
    failure = supervisor.failure
    if failure is not None:
        kind = getattr(errors, failure.error, SkiffError)
        raise kind(failure.message)


def _validated(given: dict[str, object]) -> NodeConfig:
    try:
        config = msgspec.convert(given, NodeConfig)
        config.validate()
    except (msgspec.ValidationError, InvalidSetting) as error:
        raise InvalidConfig(str(error)) from None
    return config
