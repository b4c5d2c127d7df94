"""Fork server: the process that forks a node's actors, as the supervisor uses it.

Importing their modules is most of what a start costs, and is done once for all four. Each process
has the arguments of the server, which show in ``ps`` which node it belongs to.
"""

import contextlib
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import msgspec

import actors
from protocol.config import NodeConfig

# In stopping order: the replicator first, to hand leadership over; the storage writer last.
ACTORS = ("log_replicator", "client_gateway", "election_timer", "storage_writer")
CLOSE_SECONDS = 3.0  # for the server to reap the actors, before it is killed
REPORT_BYTES = 4096


class Forked(msgspec.Struct, frozen=True):
    """Process ids of the actors by name, and why some are missing."""

    pids: dict[str, int]
    failure: str = ""


class ForkServerGone(Exception):
    """The fork server has ended."""


encode_forked = msgspec.json.Encoder().encode
_decode_forked = msgspec.json.Decoder(Forked).decode


class ForkServer:
    """The fork server of one start of a node's actors."""

    def __init__(self, config: NodeConfig) -> None:
        """Start the process.

        Raises:
            OSError: the system does not allow it.
        """
        self._control, theirs = socket.socketpair()
        try:
            self._process = _spawn(config, theirs.fileno())
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()

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
        self._control.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def leave_to_parent(self) -> None:
        """Close the copy of a forked process, which would keep the server running."""
        self._control.close()


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
