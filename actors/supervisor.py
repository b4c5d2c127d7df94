"""Supervisor: starts a node's four actors, restarts all when one fails, and stops them.

It runs as a thread of the embedding program, and only that thread writes the state it shares with
callers. A node is over once its processes and its ipc directory are gone; only then is its failure
reported, and a program that exits normally waits for that.
"""

import atexit
import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable

import msgspec

from actors.fork_server import ACTORS, ForkServer, ForkServerGone
from actors.ipc_directory import IpcDirectory
from actors.lifeline import (
    Failing,
    LifelineCut,
    Ready,
    Start,
    Stop,
    SupervisorEnd,
    open_lifeline,
)
from actors.logs import warn_always
from actors.signals import leave_to_supervisor
from actors.wakeups import Wakeups
from protocol.config import NodeConfig
from protocol.deadlines import NEVER
from protocol.security.keys import ClusterKeys

log = logging.getLogger("skiff.supervisor")

STOP_SECONDS = 3.0  # for one actor to stop gracefully, before it is killed
RESTARTS_MAX = 5  # within the window; beyond that, the node gives up
RESTART_WINDOW_SECONDS = 60.0
INSECURE = (
    "insecure, bound to %s: nothing is authenticated or encrypted, so that all who reach the ports "
    "may read and change everything; 'skiff keygen cluster' makes keys"
)
NOT_STARTED = "cannot start the node's processes"
BACKOFF_SECONDS = 0.1  # before the first restart; doubled for each further one
FULL_DISK = "StorageFull"  # the error that a full disk causes
FULL_DISK_SECONDS_MAX = 5.0  # between two starts with a full disk
EXIT_SECONDS = len(ACTORS) * STOP_SECONDS + 1  # for which a normal exit waits for the nodes


class _Child(msgspec.Struct):
    """One actor's process."""

    name: str
    lifeline: SupervisorEnd
    pid: int = 0  # 0 until it is forked
    ready: bool = False


class Supervisor:
    """One node's processes, from ``start`` to ``stop``."""

    def __init__(self, config: NodeConfig, keys: ClusterKeys | None) -> None:
        self._config = config
        self._keys = keys
        self._ipc = IpcDirectory()
        self._server: ForkServer | None = None
        self._children: dict[str, _Child] = {}  # by name
        self._pids: dict[str, int] = {}  # by name; those of dead actors until they are replaced
        self._starts: deque[float] = deque(maxlen=RESTARTS_MAX + 1)
        self._full_starts = 0  # consecutive starts that a full disk ended
        self._full_at = float("-inf")  # when the last of them ended, by a steady clock
        self._changed = Wakeups()
        self._wake, self._woken = os.pipe()[::-1]
        for end in (self._wake, self._woken):
            weakref.finalize(self, os.close, end).atexit = False
        self._has_served = False
        self._stopping = False
        self._stop_deadline = NEVER  # seconds of a steady clock
        self._thread = threading.Thread(target=self._run, name="skiff-supervisor", daemon=True)
        self.node = b""  # the node's id, once its directory is open
        self.serving = False  # whether all actors are ready
        self.is_over = False  # whether the node has ended, without a restart
        self.is_inherited = False  # whether it runs in the parent of this forked process
        self.failure: Failing | None = None  # why the node gave up, once it is over

    def start(self, *, fork: bool = False) -> None:
        """Start the actors without waiting for them.

        With ``fork``, they are forked from this process, which must have no other thread.

        Raises:
            OSError: the system does not allow the fork.
        """
        if fork:
            self._server = ForkServer.fork_off()
        _supervisors.add(self)
        self._thread.start()

    @property
    def client_address(self) -> str:
        """The address for clients on this machine: ipc, unless its path is too long."""
        path = self._ipc.socket("client")
        return str(self._config.address) if path is None else f"ipc://{path}"

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each actor; empty once the node is over."""
        return dict(self._pids)

    def wait_until_serving(self, timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds for the node to serve; return whether it does."""
        self._changed.wait_for(lambda: self.serving or self.is_over, timeout)
        return self.serving

    def wait_until_identified(self, timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds for the node's id; return whether it is known."""
        self._changed.wait_for(lambda: self.node or self.is_over, timeout)
        return bool(self.node)

    def wait_until_over(self, timeout: float | None) -> None:
        """Wait at most ``timeout`` seconds until the node is over."""
        self._changed.wait_for(lambda: self.is_over, timeout)

    def stop(self, timeout: float | None = None) -> None:
        """Stop all actors; returns once the node is over.

        Each actor has ``STOP_SECONDS`` to stop gracefully before it is killed, and all of them
        together ``timeout`` seconds. In a forked process, which has no actors, this does nothing.
        """
        if self.is_inherited:
            return
        if timeout is not None:
            self._stop_deadline = time.monotonic() + timeout
        self.begin_stop()
        self.join()

    def begin_stop(self) -> None:
        """Ask the thread to stop all actors gracefully, without waiting for it."""
        self._stopping = True
        os.write(self._wake, b"!")

    def join(self, timeout: float | None = None) -> None:
        """Wait at most ``timeout`` seconds until a stopping node is over."""
        self._thread.join(timeout)

    # --- the thread

    def _run(self) -> None:
        leave_to_supervisor()
        failure: Failing | None = None
        try:
            while failure is None and self._may_start():
                failure = self._run_actors()
        finally:
            self._close_server()
            self._ipc.clear()
            self._pids = {}
            self.failure = failure
            self.is_over = True
            self._changed.notify()

    def _run_actors(self) -> Failing | None:
        """Run all actors until one fails or the node stops; return the failure if it is final."""
        failure = self._start_actors() or self._watch()
        self._end_actors(in_order=self._stopping)
        if failure is not None and failure.error == FULL_DISK:
            self._await_space(failure)
            return None
        if failure is None or failure.lasting or self._restarts_too_often():
            return failure
        self._warn("%s; restarting all actors", failure.message)
        return None

    def _await_space(self, failure: Failing) -> None:
        """Wait before the next start, longer each time: a full disk may become free again."""
        self._starts.pop()
        if time.monotonic() - self._full_at > RESTART_WINDOW_SECONDS:
            self._full_starts = 0
            self._warn("%s; restarting all actors until there is space", failure.message)
        self._full_at = time.monotonic()
        delay = min(BACKOFF_SECONDS * 2**self._full_starts, FULL_DISK_SECONDS_MAX)
        self._full_starts += 1
        _readable([self._woken], delay)

    def _may_start(self) -> bool:
        """Wait before a restart, longer each time; return whether the node is not to stop."""
        now = time.monotonic()
        recent = sum(now - start < RESTART_WINDOW_SECONDS for start in self._starts)
        if recent:
            _readable([self._woken], BACKOFF_SECONDS * 2 ** (recent - 1))
        self._starts.append(time.monotonic())
        return not self._stopping

    def _start_actors(self) -> Failing | None:
        """Start all actors; return the failure if the system does not allow it."""
        try:
            with _forking:
                self._ipc.keep()
                server = self._server = self._server or ForkServer.spawn(self._config)
                self._fork_actors(server)
        except OSError as error:
            return Failing("ClusterInitFailed", _not_started(error), lasting=True)
        return None

    def _fork_actors(self, server: ForkServer) -> None:
        """Have all actors forked with a lifeline each, and order them to start."""
        theirs: list[socket.socket] = []
        try:
            for name in ACTORS:
                lifeline, actor_end = open_lifeline()
                theirs.append(actor_end)
                self._children[name] = _Child(name, lifeline)
                lifeline.order(Start(self._config, self._ipc.path, self._keys))
            server.fork(theirs)
        finally:
            for each in theirs:
                each.close()

    def _watch(self) -> Failing | None:
        """Wait for the failure of an actor and return it; None if the node is to stop."""
        assert self._server is not None
        lifelines = {child.lifeline.fileno(): child for child in self._children.values()}
        while True:
            readable = _readable([*lifelines, self._server.fileno(), self._woken])
            if self._stopping:
                return None
            for descriptor in readable:
                if descriptor == self._server.fileno():
                    failure = self._take_pids(self._server)
                else:
                    failure = self._take_reports(lifelines[descriptor])
                if failure is not None:
                    return failure

    def _take_pids(self, server: ForkServer) -> Failing | None:
        """Note the actors' process ids; return the failure if not all could be forked."""
        try:
            forked = server.forked()
        except ForkServerGone:
            return Failing("SkiffError", "fork_server died", lasting=False)
        for name, pid in forked.pids.items():
            self._children[name].pid = pid
        self._pids = forked.pids
        if forked.failure:
            return Failing("ClusterInitFailed", f"{NOT_STARTED}: {forked.failure}", lasting=True)
        return None

    def _take_reports(self, child: _Child) -> Failing | None:
        """Process an actor's reports; return its failure, if it has one."""
        try:
            reports = child.lifeline.reports()
        except LifelineCut:
            return Failing("SkiffError", f"{child.name} died", lasting=False)
        for report in reports:
            match report:
                case Ready(node=node):
                    self._note_ready(child, bytes.fromhex(node))
                case Failing():
                    return report
        return None

    def _note_ready(self, child: _Child, node: bytes) -> None:
        child.ready = True
        self.node = node or self.node
        self.serving = all(each.ready for each in self._children.values())
        if self.serving and not self._has_served:
            self._has_served = True
            if self._config.insecure:
                warn_always(log, INSECURE, self._config.bind)
        self._changed.notify()

    def _warn(self, sentence: str, detail: str) -> None:
        if self._is_to_log(logging.WARNING):
            log.warning(sentence, detail)

    def _is_to_log(self, level: int) -> bool:
        """Whether the node's settings enable a level; the program's may differ."""
        return level >= logging.getLevelNamesMapping()[self._config.log_level.upper()]

    def _restarts_too_often(self) -> bool:
        all_seen = len(self._starts) > RESTARTS_MAX
        return all_seen and time.monotonic() - self._starts[0] < RESTART_WINDOW_SECONDS

    def _end_actors(self, *, in_order: bool) -> None:
        """End all running actors; returns once their processes are gone."""
        self.serving = False
        for child in self._children.values():
            if in_order:
                _stop_in_order(child, self._stop_deadline)
            else:
                _kill(child)
        for child in self._children.values():
            child.lifeline.wait_until_cut(STOP_SECONDS)
            child.lifeline.close()
        self._children.clear()
        self._close_server()

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def leave_to_parent(self) -> None:
        """Release actors and ipc directory in a forked process, whose parent still owns them."""
        self.is_inherited = True
        for child in self._children.values():
            child.lifeline.close()
        if self._server is not None:
            self._server.leave_to_parent()
        self._ipc.release()


def _readable(descriptors: Iterable[int], seconds: float | None = None) -> list[int]:
    """Wait until some are readable; unlike ``select``, with any descriptor number."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [each for each, _ in poll.poll(None if seconds is None else seconds * 1000)]


def _stop_in_order(child: _Child, deadline: float) -> None:
    with contextlib.suppress(LifelineCut):
        child.lifeline.order(Stop())
    if not child.lifeline.wait_until_cut(min(STOP_SECONDS, deadline - time.monotonic())):
        _kill(child)


def _kill(child: _Child) -> None:
    """Kill an actor; one that is not forked yet ends as soon as it finds its lifeline cut."""
    if child.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


def _not_started(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{NOT_STARTED}: {place}{error.strerror or error}"


_supervisors: "weakref.WeakSet[Supervisor]" = weakref.WeakSet()
_forking = threading.Lock()  # a fork while an actor starts would copy its lifeline


def _after_fork() -> None:
    """Close the copies of lifelines in a forked child, which would keep the actors alive."""
    _forking.release()
    for supervisor in _supervisors:
        supervisor.leave_to_parent()
    _supervisors.clear()  # the child's exit must not stop its parent's nodes


def _end_all() -> None:
    """Stop all nodes that the exiting program has not stopped, concurrently."""
    deadline = time.monotonic() + EXIT_SECONDS
    supervisors = list(_supervisors)
    with contextlib.suppress(KeyboardInterrupt):  # the actors also notice the end of this process
        for supervisor in supervisors:
            supervisor.begin_stop()
        for supervisor in supervisors:
            supervisor.join(deadline - time.monotonic())


os.register_at_fork(
    before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_after_fork
)
atexit.register(_end_all)
