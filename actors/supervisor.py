"""Starts the four actors of a node, restarts them together when one dies, and stops them.

Runs as a thread of the embedding program. Everything it shares with its callers is a value that
only it writes. A node is over when nothing of it is left: neither processes nor the directory of
its ipc sockets. Its failure is told then, and no program ends normally before.
"""

import atexit
import contextlib
import logging
import os
import select
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

import actors
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
from actors.signals import leave_to_supervisor
from protocol.config import NodeConfig

log = logging.getLogger("skiff.supervisor")

# In the order in which they are stopped: first who hands leadership over, last who writes.
ACTORS = ("log_replicator", "client_gateway", "election_timer", "storage_writer")
STOP_SECONDS = 3.0  # for one actor to end in good order, before it is killed
RESTARTS_MAX = 5  # within the window, after which the node gives up
RESTART_WINDOW_SECONDS = 60.0
EXPOSED = (
    "bound to %s: nothing is authenticated or encrypted yet, so that everyone who reaches the "
    "ports may read and change everything; bind to trusted networks only"
)
BACKOFF_SECONDS = 0.1  # before the first restart; doubled for each further one
FULL_DISK = "StorageFull"  # the error that lasts as long as the disk is full
FULL_DISK_SECONDS_MAX = 5.0  # between two starts then
EXIT_SECONDS = len(ACTORS) * STOP_SECONDS + 1  # that a program's normal end waits for its nodes


class _Child(msgspec.Struct):
    """One actor's process."""

    name: str
    process: subprocess.Popen[bytes]
    lifeline: SupervisorEnd
    ready: bool = False


class Supervisor:
    """One node's processes, from ``start`` to ``stop``."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._ipc = IpcDirectory()
        self._children: dict[str, _Child] = {}  # by name; those that died, until others follow
        self._starts: deque[float] = deque(maxlen=RESTARTS_MAX + 1)
        self._full_starts = 0  # that a full disk has ended, one soon after another
        self._full_at = float("-inf")  # when the last one ended, by a steady clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._wake, self._woken = os.pipe()[::-1]
        for end in (self._wake, self._woken):
            weakref.finalize(self, os.close, end).atexit = False
        self._has_served = False
        self._stopping = False
        self._stop_deadline = float("inf")  # seconds of a steady clock
        self._thread = threading.Thread(target=self._run, name="skiff-supervisor", daemon=True)
        self.node = b""  # the node's id, once its directory is open
        self.serving = False  # whether all actors are ready
        self.is_over = False  # whether nothing of the node is left, and nothing follows
        self.is_inherited = False  # whether the process that this one was forked from runs it
        self.failure: Failing | None = None  # why the node gave up, once it is over

    def start(self) -> None:
        """Start the actors; returns at once."""
        _supervisors.add(self)
        self._thread.start()

    @property
    def client_address(self) -> str:
        """Where clients on this machine may ask: over ipc, unless its path is too long."""
        path = self._ipc.socket("client")
        return str(self._config.address) if path is None else f"ipc://{path}"

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each actor; empty when nothing of the node is left."""
        with self._lock:
            return {name: child.process.pid for name, child in self._children.items()}

    def wait_until_serving(self, timeout: float | None) -> bool:
        """Wait until all actors are ready, or the node is over; return whether it serves."""
        with self._changed:
            self._changed.wait_for(lambda: self.serving or self.is_over, timeout)
            return self.serving

    def wait_until_identified(self, timeout: float | None) -> bool:
        """Wait until the node's id is known, or the node is over; return whether it is known."""
        with self._changed:
            self._changed.wait_for(lambda: self.node or self.is_over, timeout)
            return bool(self.node)

    def wait_until_over(self, timeout: float | None) -> None:
        """Wait until the node has given up or was stopped, and nothing of it is left."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over, timeout)

    def stop(self, timeout: float | None = None) -> None:
        """End all actors; returns when nothing of the node is left.

        Each has ``STOP_SECONDS`` to end in good order before it is killed, and all of them
        together ``timeout`` seconds. In a forked process, which has no actors, nothing happens.
        """
        if self.is_inherited:
            return
        if timeout is not None:
            self._stop_deadline = time.monotonic() + timeout
        self.begin_stop()
        self.join()

    def begin_stop(self) -> None:
        """Let the thread end all actors in good order; returns at once."""
        self._stopping = True
        os.write(self._wake, b"!")

    def join(self, timeout: float | None = None) -> None:
        """Wait until nothing of a node is left that has given up or is to stop."""
        self._thread.join(timeout)

    # --- the thread

    def _run(self) -> None:
        leave_to_supervisor()
        failure: Failing | None = None
        try:
            while failure is None and self._may_start():
                failure = self._run_actors()
        finally:
            self._ipc.clear()
            with self._changed:
                self._children = {}
                self.failure, self.is_over = failure, True
                self._changed.notify_all()

    def _run_actors(self) -> Failing | None:
        """Run all actors until one fails or the node is to stop; return why it has to give up."""
        failure = self._start_actors() or self._watch()
        self._end_actors(in_order=self._stopping)
        if failure is not None and failure.error == FULL_DISK:
            self._await_space(failure)
            return None
        if failure is None or failure.lasting or self._restarts_too_often():
            return failure
        self._warn("%s, starting all actors again", failure.message)
        return None

    def _await_space(self, failure: Failing) -> None:
        """Wait a little, longer each time: a full disk is no reason to give up."""
        self._starts.pop()
        if time.monotonic() - self._full_at > RESTART_WINDOW_SECONDS:
            self._full_starts = 0
            self._warn("%s, starting all actors again until there is some", failure.message)
        self._full_at = time.monotonic()
        delay = min(BACKOFF_SECONDS * 2**self._full_starts, FULL_DISK_SECONDS_MAX)
        self._full_starts += 1
        _readable([self._woken], delay)

    def _may_start(self) -> bool:
        """Wait a little longer before each restart, unless the node is to stop."""
        now = time.monotonic()
        recent = sum(now - start < RESTART_WINDOW_SECONDS for start in self._starts)
        if recent:
            _readable([self._woken], BACKOFF_SECONDS * 2 ** (recent - 1))
        self._starts.append(time.monotonic())
        return not self._stopping

    def _start_actors(self) -> Failing | None:
        """Start all actors; return why the system does not let this node do that."""
        try:
            with _forking:
                self._ipc.keep()
            for name in ACTORS:
                with _forking:
                    self._start_actor(name)
        except OSError as error:
            return Failing("ClusterInitFailed", _not_started(error), lasting=True)
        return None

    def _start_actor(self, name: str) -> None:
        lifeline, theirs = open_lifeline()
        try:
            process = _spawn(name, self._config, theirs.fileno())
        except OSError:
            lifeline.close()
            raise
        finally:
            theirs.close()
        with self._lock:
            self._children[name] = _Child(name, process, lifeline)
        with contextlib.suppress(LifelineCut):
            lifeline.order(Start(self._config, self._ipc.path))

    def _watch(self) -> Failing | None:
        """Return the failure of an actor, or None when the node is to stop."""
        lifelines = {child.lifeline.fileno(): child for child in self._children.values()}
        while True:
            readable = _readable([*lifelines, self._woken])
            if self._stopping:
                return None
            for descriptor in readable:
                failure = self._take_reports(lifelines[descriptor])
                if failure is not None:
                    return failure

    def _take_reports(self, child: _Child) -> Failing | None:
        """Take in what an actor reports; return its failure."""
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
        with self._changed:
            child.ready = True
            self.node = node or self.node
            self.serving = all(each.ready for each in self._children.values())
            if self.serving and not self._has_served:
                self._has_served = True
                self._warn_if_exposed()
            self._changed.notify_all()

    def _warn_if_exposed(self) -> None:
        if self._config.is_exposed:
            self._warn(EXPOSED, self._config.bind)

    def _warn(self, sentence: str, detail: str) -> None:
        if self._is_to_log(logging.WARNING):
            log.warning(sentence, detail)

    def _is_to_log(self, level: int) -> bool:
        """Whether the node's settings want it: the embedding program may have none of its own."""
        return level >= logging.getLevelNamesMapping()[self._config.log_level.upper()]

    def _restarts_too_often(self) -> bool:
        all_seen = len(self._starts) > RESTARTS_MAX
        return all_seen and time.monotonic() - self._starts[0] < RESTART_WINDOW_SECONDS

    def _end_actors(self, *, in_order: bool) -> None:
        """End all actors that run; returns when their processes are gone."""
        with self._changed:
            self.serving = False
        for child in self._children.values():
            if in_order:
                _stop_in_order(child, self._stop_deadline)
            else:
                child.process.kill()
        for child in self._children.values():
            child.process.wait()
            child.lifeline.close()

    def leave_to_parent(self) -> None:
        """Release actors and ipc directory in a forked process: its parent still uses them."""
        self.is_inherited = True
        for child in self._children.values():
            child.lifeline.close()
        self._ipc.release()


def _readable(descriptors: Iterable[int], seconds: float | None = None) -> list[int]:
    """Wait until some can be read; unlike ``select``, however many the program has open."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [each for each, _ in poll.poll(None if seconds is None else seconds * 1000)]


def _stop_in_order(child: _Child, deadline: float) -> None:
    with contextlib.suppress(LifelineCut):
        child.lifeline.order(Stop())
    try:
        child.process.wait(max(0.0, min(STOP_SECONDS, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        child.process.kill()


def _not_started(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"cannot start the node's processes: {place}{error.strerror or error}"


def _spawn(name: str, config: NodeConfig, lifeline: int) -> subprocess.Popen[bytes]:
    """Start an actor with this interpreter, whatever lies in the working directory.

    Its arguments are for the people who read ``ps``: which node this is, and where its data are.
    """
    place = ["--node", str(config.address), "--dir", config.dir]
    command = [sys.executable, "-P", "-m", f"actors.{name}", *place]
    return subprocess.Popen(command, stdin=lifeline, stdout=subprocess.DEVNULL, env=_environment())


def _environment() -> dict[str, str]:
    """Let the actors import the packages that this process has imported."""
    root = str(Path(actors.__file__).resolve().parent.parent)
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


_supervisors: "weakref.WeakSet[Supervisor]" = weakref.WeakSet()
_forking = threading.Lock()  # a fork amid the start of an actor would copy what nobody closes


def _after_fork() -> None:
    """Keep lifelines from outliving this process in a child that was forked from it."""
    _forking.release()
    for supervisor in _supervisors:
        supervisor.leave_to_parent()
    _supervisors.clear()  # its end is not that of their nodes


def _end_all() -> None:
    """Shut down what a program that ends has not, side by side."""
    deadline = time.monotonic() + EXIT_SECONDS
    supervisors = list(_supervisors)
    with contextlib.suppress(KeyboardInterrupt):  # the actors hear the end of this process, too
        for supervisor in supervisors:
            supervisor.begin_stop()
        for supervisor in supervisors:
            supervisor.join(deadline - time.monotonic())


os.register_at_fork(
    before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_after_fork
)
atexit.register(_end_all)
