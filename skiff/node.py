"""Skiff: one node of a cluster, run as processes of this program."""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from actors.descriptors import fill_standard_streams
from actors.fork_server import import_actors
from actors.logs import LogFields, configure
from actors.supervisor import Supervisor
from protocol.config import DEFAULTS, InvalidSetting, NodeConfig
from protocol.deadlines import deadline_of
from protocol.security import z85
from protocol.security.keys import ClusterKeys
from skiff import errors
from skiff.addresses import texts_of
from skiff.arguments import check_wait
from skiff.bound import BoundToProcess
from skiff.client import Client
from skiff.errors import (
    ClientConnectFailed,
    ClusterInitFailed,
    ClusterJoinFailed,
    InvalidAddress,
    InvalidConfig,
    InvalidKey,
    LeaderElectionTimeout,
    RequestTimeout,
    SkiffError,
)
from skiff.first_administrator import FirstAdministrator
from skiff.key_files import expanded, read_cluster_keys, read_public_key
from skiff.paths import check_path
from skiff.records import NodeStatus, Role

START_SECONDS = 15.0  # for a node's processes to start on a busy machine
STATUS_SECONDS = 1.0
POLL_SECONDS = 0.01


class ElectionState(msgspec.Struct, frozen=True):
    """The node's role in its current term, and the leader's id, None if it knows none."""

    role: Role
    leader: uuid.UUID | None


class Skiff(BoundToProcess):
    """One node of a cluster: four processes that end with this program.

    Use it as a context manager, or call ``start`` and ``shutdown``. A forked child can only call
    ``shutdown``, which leaves the node to its parent.

    Methods that need a running node raise ``ClusterInitFailed`` before ``start`` and in a forked
    child, and the error of the node's own failure, such as ``RPCBindFailed``, ``StorageError`` or
    ``NodeRemoved``, after it has given up.
    """

    def __init__(  # noqa: PLR0913 - one parameter for each setting
        self,
        dir: str | Path = "",
        *,
        join_cluster: str | Iterable[str] = (),
        bind: str = DEFAULTS.bind,
        port: int = DEFAULTS.port,
        advertise: str = DEFAULTS.advertise,
        key: str | Path = DEFAULTS.key,
        insecure: bool = DEFAULTS.insecure,
        admin_key: str | Path = DEFAULTS.admin_key,
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
        history_changes_kept: int = DEFAULTS.history_changes_kept,
        history_bytes_kept: int = DEFAULTS.history_bytes_kept,
        history_seconds_kept: int = DEFAULTS.history_seconds_kept,
        disk_reserve_bytes: int = DEFAULTS.disk_reserve_bytes,
        state_bytes_max: int = DEFAULTS.state_bytes_max,
        learners_max: int = DEFAULTS.learners_max,
        user_operations_max: int = DEFAULTS.user_operations_max,
        log_level: str = DEFAULTS.log_level,
        log_format: str = DEFAULTS.log_format,
        trace: bool = DEFAULTS.trace,
    ) -> None:
        """Check the settings; the README lists them with their units. Starts and writes nothing.

        Raises:
            InvalidConfig: a setting is invalid; the message names it and the valid values.
        """
        parameters = locals()  # one for each setting, by its name
        given = {name: parameters[name] for name in NodeConfig.__struct_fields__}
        for name in ("dir", "key", "admin_key"):
            check_path(name, given[name], InvalidConfig)
        given["dir"], given["key"] = _absolute(dir), _key_path(key) if str(key) else ""
        given["join_cluster"] = addresses_to_join(join_cluster)
        self._keys = _read_keys(given)
        self._config = _validated(given)
        self._supervisor: Supervisor | None = None
        self._client: Client | None = None
        self._log_fields: LogFields | None = None
        self._administrator: FirstAdministrator | None = None

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
        """Log to standard error by the settings' level and format, with this node in each line."""
        fill_standard_streams()
        self._log_fields = configure("supervisor", self._config.log_level, self._config.log_format)

    # --- lifecycle

    def start(self, *, fork: bool = False) -> None:
        """Start the node's processes, without waiting until they are ready.

        They are new processes of the interpreter. With ``fork``, they are forked from this one,
        which is faster: only for a program that runs nothing but a node, and has no thread yet.

        Raises:
            ClusterInitFailed: the node is started already, or the program has threads to fork, or
                the system does not allow it.
        """
        if self._supervisor is not None:
            raise ClusterInitFailed("the node is started already")
        if fork and threading.active_count() > 1:
            raise ClusterInitFailed("a program with threads cannot fork the node's processes")
        supervisor = Supervisor(self._config, self._keys)
        try:
            supervisor.start(fork=fork)
        except OSError as error:
            raise ClusterInitFailed(f"cannot fork the node's processes: {error}") from error
        self._supervisor = supervisor
        if self._config.admin_key:
            self._administrator = FirstAdministrator(self.client, self._config.admin_key)

    def wait_until_serving(self, timeout: float | None = START_SECONDS) -> None:
        """Wait until all processes are ready, at most ``timeout`` seconds; None for no limit.

        Raises:
            ClusterInitFailed: the node is not started, or was not ready in time.
            SkiffError: the node has failed; the class names the reason.
        """
        if not self._running.wait_until_serving(timeout):
            _raise_failure(self._running)
            raise ClusterInitFailed(f"the node at {self.address} was not ready in time")
        if self._log_fields is not None:
            self._log_fields.node = self.id.hex[:8]

    def shutdown(self, timeout: float | None = None) -> None:
        """Transfer leadership if this node leads, then end all its processes.

        Each process has three seconds, and all together ``timeout`` seconds, for an orderly end; 0
        means none. Then they are killed, which loses no acknowledged write.

        Raises:
            InvalidRequest: ``timeout`` is no number from 0 on.
        """
        check_wait(timeout)
        if self._administrator is not None:
            self._administrator.close()
            self._administrator = None
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._supervisor is not None:
            self._supervisor.stop(timeout)
            self._supervisor = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node has ended, at most ``timeout`` seconds; return whether it has.

        True means that another thread has shut it down.

        Raises:
            ClusterInitFailed: the node is not started.
            SkiffError: the node has failed; the class names the reason.
            InvalidRequest: ``timeout`` is no number from 0 on.
        """
        check_wait(timeout)
        supervisor = self._running
        supervisor.wait_until_over(timeout)
        _raise_failure(supervisor)
        return supervisor.is_over

    # --- identity and status

    @property
    def id(self) -> uuid.UUID:
        """The node's id, the same after a restart; waits until its data directory is open.

        Raises:
            ClusterInitFailed: the node is not started, or was not ready in time.
            SkiffError: the directory cannot be opened; the class names the reason.
        """
        if not self._running.wait_until_identified(START_SECONDS):
            _raise_failure(self._running)
            raise ClusterInitFailed(f"the node at {self.address} was not ready in time")
        return uuid.UUID(bytes=self._running.node)

    @property
    def address(self) -> str:
        """The ``host:port`` at which clients and peers reach the node."""
        return str(self._config.address)

    @property
    def join_cluster(self) -> tuple[str, ...]:
        """The given addresses of the cluster to join; empty if there are none."""
        return self._config.join_cluster

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each actor, by its name."""
        return self._running.pids

    def is_leader_elected(self) -> bool:
        """Return whether this node knows a leader.

        Raises:
            SkiffError: the node did not answer; see ``election_state``.
        """
        return self.election_state().leader is not None

    def wait_for_leader(self, timeout: float | None = 5.0) -> None:
        """Wait until this node knows a leader and the members.

        ``timeout`` is in seconds, None for no limit. With ``admin_key``, it waits for the first
        administrator, too, as long as time is left.

        Raises:
            LeaderElectionTimeout: the node knew no leader in time.
            ClusterJoinFailed: no node that it should join has admitted it in time.
            ClusterInitFailed: the node is not started, or was not ready in time.
            SkiffError: the node has failed; the class names the reason.
            InvalidRequest: ``timeout`` is no number from 0 on.
        """
        check_wait(timeout)
        deadline = deadline_of(timeout, time.monotonic())
        self._running.wait_until_serving(timeout)
        while time.monotonic() < deadline:
            _raise_failure(self._running)
            with contextlib.suppress(ClientConnectFailed, RequestTimeout):
                status = self._status(deadline - time.monotonic())
                if status.leader is not None and status.members:
                    administrator = self._administrator  # another thread may shut down
                    if administrator is not None:
                        administrator.wait(deadline - time.monotonic())
                    return
            time.sleep(POLL_SECONDS)
        _raise_failure(self._running)
        raise self._why_leaderless()

    def election_state(self) -> ElectionState:
        """Return the node's role in its current term, and the leader.

        Raises:
            RequestTimeout: the node did not answer within a second.
            ClientConnectFailed: the node could not be reached, or was removed.
            ClusterInitFailed: the node is not started, or was not ready in time.
            SkiffError: the node has failed; the class names the reason.
        """
        status = self._status()
        return ElectionState(status.role, status.leader)

    def cluster(self) -> dict[uuid.UUID, str]:
        """Return each member's address by its id, as of the last committed membership it knows.

        Raises:
            SkiffError: the node did not answer; see ``election_state``.
        """
        return {member.id: member.address for member in self._status().members}

    def client(self, *, timeout: float | None = 5.0) -> Client:
        """Return a client of this node only, with a default timeout in seconds.

        It has the rights of the node itself, if that has keys.

        Raises:
            ClusterInitFailed: the node is not started, or was not ready in time.
            InvalidRequest: ``timeout`` is not positive.
            SkiffError: the node has failed; the class names the reason.
        """
        address, key = self._local_address(), self._config.key
        return Client([address], timeout=timeout, follow_leader=False, key=key)

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
            self._client = Client([address], follow_leader=False, key=self._config.key)
        return self._client.status(timeout=min(timeout, STATUS_SECONDS))

    def _local_address(self) -> str:
        self.wait_until_serving()
        return self._running.client_address

    def _why_leaderless(self) -> SkiffError:
        with contextlib.suppress(ClientConnectFailed, RequestTimeout):
            if self._config.join_cluster and self._status().cluster_id is None:
                asked = ", ".join(self._config.join_cluster)
                return ClusterJoinFailed(f"the node at {self.address} was not admitted by {asked}")
        return LeaderElectionTimeout(f"the node at {self.address} knows no leader")


def import_processes() -> None:
    """Import what a node's processes need, in a process that forks programs which fork them."""
    import_actors()


def addresses_to_join(given: object) -> tuple[str, ...]:
    """Return one address or several of the setting ``join_cluster``.

    Raises:
        InvalidConfig: they are neither a str nor a collection of them.
    """
    try:
        return tuple(texts_of(given))
    except InvalidAddress as error:
        raise InvalidConfig(f"join_cluster: {error}") from None


def _raise_failure(supervisor: Supervisor) -> None:
    failure = supervisor.failure
    if failure is not None:
        kind = getattr(errors, failure.error, SkiffError)
        raise kind(failure.message)


def _absolute(path: str | Path) -> str:
    return str(Path(path).absolute()) if str(path) else ""


def _key_path(path: str | Path) -> str:
    try:
        return _absolute(expanded(path))
    except InvalidKey as error:
        raise InvalidConfig(str(error)) from None


def _read_keys(given: dict[str, Any]) -> ClusterKeys | None:
    """Return the node's keys; replace the administrator's file in the settings by its key."""
    try:
        if str(given["admin_key"]):
            given["admin_key"] = z85.encode(read_public_key(given["admin_key"]))
        return read_cluster_keys(given["key"]) if given["key"] else None
    except InvalidKey as error:
        raise InvalidConfig(str(error)) from None


def _validated(given: dict[str, object]) -> NodeConfig:
    try:
        config = msgspec.convert(given, NodeConfig)
        config.validate()
    except InvalidSetting as error:
        raise InvalidConfig(str(error)) from None
    except msgspec.ValidationError as error:
        raise InvalidConfig(_in_words(error)) from None
    return config


def _in_words(error: msgspec.ValidationError) -> str:
    """Return ``port: expected int, got str`` for msgspec's text, which ends with ``$.port``."""
    text, has_place, setting = str(error).replace("`", "").rpartition(" - at $.")
    return f"{setting}: {text[:1].lower()}{text[1:]}" if has_place else str(error)
