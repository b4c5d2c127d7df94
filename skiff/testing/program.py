"""Program: a run of the command ``skiff`` that the launch server of this process has forked.

Most of a short command, and half of the start of a node, is the import of the command line. The
launch server has done that once; what it forks is a process like any other.
"""

import atexit
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

import skiff

DESCRIPTORS = 4  # of a program: standard input, output and error, and its channel
READ_BYTES = 64


class Launch(msgspec.Struct, frozen=True):
    """A program to fork: its arguments, environment and directory."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    own_session: bool  # whether it leads a session, and so a process group, of its own


decode_launch = msgspec.json.Decoder(Launch).decode


class Program:
    """A running or ended program, used by one thread at a time."""

    def __init__(
        self,
        arguments: Iterable[str],
        streams: Iterable[int],
        environment: Mapping[str, str],
        *,
        own_session: bool = False,
    ) -> None:
        """Start ``skiff`` with these arguments and standard streams, which stay the caller's."""
        self._channel, theirs = socket.socketpair()
        self._unread = b""
        self.returncode: int | None = None
        launch = Launch(tuple(arguments), dict(environment), str(Path.cwd()), own_session)
        try:
            _server.fork([*streams, theirs.fileno()])
        finally:
            theirs.close()
        self._channel.sendall(msgspec.json.encode(launch) + b"\n")
        pid = self._read(None)
        assert pid is not None, "without a timeout, there is a number"
        self.pid = pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the program runs."""
        return self._end(0.0)

    def wait(self, timeout: float) -> int:
        """Return the exit code; waits at most ``timeout`` seconds for the program to end.

        Raises:
            TimeoutExpired: it still runs then.
        """
        code = self._end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("skiff", timeout)
        return code

    def _end(self, timeout: float) -> int | None:
        if self.returncode is None:
            self.returncode = self._read(timeout)
            if self.returncode is not None:
                self._channel.close()
        return self.returncode

    def _read(self, timeout: float | None) -> int | None:
        """Return the next number from the server: the process id, then the exit code."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while b"\n" not in self._unread:
            if not poll.poll(None if timeout is None else timeout * 1000):
                return None
            received = self._channel.recv(READ_BYTES)
            if not received:
                raise ConnectionError("the launch server has ended")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return int(line)


class _LaunchServer:
    """The launch server of this process, started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, descriptors: list[int]) -> None:
        """Have a program forked with these descriptors."""
        with self._lock:
            if self._control is None:
                self._control = self._start()
            socket.send_fds(self._control, [b"!"], descriptors)

    def close(self) -> None:
        """End the server; its programs go on."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()

    def leave_to_parent(self) -> None:
        """Forget the server in a forked process, whose parent still uses it."""
        self._lock = threading.Lock()
        if self._control is not None:
            self._control.close()
            self._control = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "skiff.testing.launch_server"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=inherited_environment(),
                cwd="/",
                start_new_session=True,  # no signal of a terminal reaches it
            )
        return ours


def inherited_environment() -> dict[str, str]:
    """Return this program's environment and packages, without settings of skiff."""
    root = str(Path(str(skiff.__file__)).resolve().parent.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKIFF_")}
    paths = [root, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


_server = _LaunchServer()
atexit.register(_server.close)
os.register_at_fork(after_in_child=_server.leave_to_parent)
