"""Fork server: the process that forks a node's actors, as the supervisor uses it.

Importing their modules is most of what a start costs, and is done once for all four.

The server is a new process of the interpreter, as the embedding program may have threads, and much
else that actors are better without; its arguments show in ``ps`` which node its processes belong
to. The command that runs nothing but a node forks it from itself.
"""

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol, Self

import msgspec

import actors
from actors.signals import ENDING
from protocol.config import NodeConfig

# In stopping order: the replicator first, to hand leadership over; the storage writer last.
ACTORS = ("log_replicator", "client_gateway", "election_timer", "storage_writer")
CLOSE_SECONDS = 3.0  # for the server to reap the actors, before it is killed
REPORT_BYTES = 4096
STDIN, STDOUT, FIRST_OTHER = 0, 1, 3  # descriptors
DESCRIPTORS = Path("/dev/fd")  # with a name for each that is open


class Forked(msgspec.Struct, frozen=True):
    """Process ids of the actors by name, and why some are missing."""

    pids: dict[str, int]
    failure: str = ""


class ForkServerGone(Exception):
    """The fork server has ended."""


encode_forked = msgspec.json.Encoder().encode
_decode_forked = msgspec.json.Decoder(Forked).decode


class _Process(Protocol):
    """A child process of this one."""

    def kill(self) -> None:
        """Kill it."""

    def wait(self) -> int:
        """Reap it, once it has ended."""


class ForkServer:
    """The fork server of one start of a node's actors."""

    def __init__(self, process: _Process, control: socket.socket) -> None:
        self._process = process
        self._control = control

    @classmethod
    def spawn(cls, config: NodeConfig) -> Self:
        """Start the server as a new process of the interpreter.

        Raises:
            OSError: the system does not allow it.
        """
        control, theirs = socket.socketpair()
        try:
            return cls(_spawn(config, theirs.fileno()), control)
        except OSError:
            control.close()
            raise
        finally:
            theirs.close()

    @classmethod
    def fork_off(cls) -> Self:
        """Fork the server from this process, which must have no other thread.

        Raises:
            OSError: the system does not allow it.
        """
        import_actors()
        control, theirs = socket.socketpair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            with theirs:
                pid = os.fork()
                if not pid:
                    _become_server(theirs.detach())
        except OSError:
            control.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return cls(_Fork(pid), control)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._control.fileno()

    def fork(self, lifelines: Sequence[socket.socket]) -> None:
        """Have the actors forked, each with its end of a lifeline; ``forked`` has the result."""
        with contextlib.suppress(ConnectionError):  # ``forked`` finds that the server has ended
            socket.send_fds(self._control, [b"!"], [each.fileno() for each in lifelines])

    def forked(self) -> Forked:
        """Return the process ids of the actors; blocks until they are forked.

        Raises:
            ForkServerGone: the server has ended.
        """
        try:
            report = self._control.recv(REPORT_BYTES)
        except OSError:
            report = b""
        if not report:
            raise ForkServerGone
        return _decode_forked(report)

    def close(self) -> None:
        """Have the actors reaped, which were told to end; returns once all are gone."""
        with self._control:
            if not self._ends():
                self._process.kill()
        self._process.wait()

    def leave_to_parent(self) -> None:
        """Close the copy of a forked process, which would keep the server running."""
        self._control.close()

    def _ends(self) -> bool:
        """Tell the server to end; return whether it does in time."""
        self._control.settimeout(CLOSE_SECONDS)
        try:
            self._control.shutdown(socket.SHUT_WR)
            while self._control.recv(REPORT_BYTES):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass  # it has ended
        return True


class _Fork:
    """A fork of this process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            return 0  # the system reaps children where the program's parent has ignored SIGCHLD


def import_actors() -> None:
    """Import all that a fork server needs, also for those that will be forked from forks."""
    importlib.import_module("actors.__main__")


def _become_server(control: int) -> NoReturn:
    """Serve, in a forked process, with nothing of its parent but the standard error."""
    code = 1
    try:
        os.dup2(control, STDIN)
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        _close_others()
        signal.set_wakeup_fd(-1)
        importlib.import_module("actors.__main__").main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception:  # noqa: BLE001 - as at the end of any program
        traceback.print_exc()
    finally:
        os._exit(code)


def _close_others() -> None:
    """Close all but the standard streams.

    A list serves best: up to a limit of a billion, as in some containers, a range takes minutes.
    """
    try:
        others = [int(place.name) for place in DESCRIPTORS.iterdir()]
    except FileNotFoundError:  # in a root without /dev and /proc
        os.closerange(FIRST_OTHER, os.sysconf("SC_OPEN_MAX"))
        return
    for each in others:
        if each >= FIRST_OTHER:
            with contextlib.suppress(OSError):  # that of the list itself
                os.close(each)


def _spawn(config: NodeConfig, control: int) -> subprocess.Popen[bytes]:
    """Start the server with this interpreter, ignoring the working directory's modules."""
    place = ["--node", str(config.address), "--dir", config.dir]
    command = [sys.executable, "-P", "-m", "actors", *place]
    return subprocess.Popen(command, stdin=control, stdout=subprocess.DEVNULL, env=_environment())


def _environment() -> dict[str, str]:
    """Return an environment in which the actors import the same packages as this process."""
    root = str(Path(actors.__file__).resolve().parent.parent)
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
