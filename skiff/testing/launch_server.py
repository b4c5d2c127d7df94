"""Launch server: a process that has imported skiff's command line, and forks programs from it.

It starts no thread and opens no ZeroMQ socket, so that it can be forked safely. It ends with the
program that has started it.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import tempfile

from skiff.cli import main as run_command_line
from skiff.cli.application import run as run_in_place
from skiff.node import import_processes
from skiff.testing.program import DESCRIPTORS, decode_launch

SIGNALS_MAX = 4096  # noticed at once


class LaunchServer:
    """The programs that run, and the socket on which the descriptors of further ones arrive."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._channels: dict[int, socket.socket] = {}  # by process id
        self._signalled, self._signals = os.pipe()
        os.set_blocking(self._signals, False)
        signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(self._signalled, select.POLLIN)
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Fork programs, and report their ends, until the other end of the socket is closed."""
        while True:
            readable = {descriptor for descriptor, _ in self._poll.poll()}
            if self._signalled in readable:
                os.read(self._signalled, SIGNALS_MAX)
                self._report_ends()
            if self._control.fileno() in readable:
                _, descriptors, _, _ = socket.recv_fds(self._control, 1, DESCRIPTORS)
                if not descriptors:
                    return
                self._fork(descriptors)

    def _fork(self, descriptors: list[int]) -> None:
        channel = socket.socket(fileno=descriptors.pop())
        pid = os.fork()
        if not pid:
            self._leave_to_parent()
            _become_program(channel, descriptors)
        _close(descriptors)
        self._channels[pid] = channel
        _tell(channel, pid)

    def _report_ends(self) -> None:
        """Reap the programs that have ended, and report each exit code to its channel."""
        with contextlib.suppress(ChildProcessError):
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = reaped
                with self._channels.pop(pid) as channel:
                    _tell(channel, os.waitstatus_to_exitcode(status))

    def _leave_to_parent(self) -> None:
        """Release in a forked process what belongs to the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for channel in self._channels.values():
            channel.close()
        _close([self._signalled, self._signals])


def _become_program(channel: socket.socket, streams: list[int]) -> None:
    """Run the command that the channel describes, in a forked process, and exit."""
    with channel, channel.makefile("rb") as lines:
        launch = decode_launch(lines.readline())
    for standard, descriptor in enumerate(streams):
        os.dup2(descriptor, standard)
    _close(streams)
    if launch.own_session:
        os.setsid()
    os.chdir(launch.directory)
    os.environ.clear()
    os.environ.update(launch.environment)
    tempfile.tempdir = None  # the environment says where it is
    sys.argv = ["skiff", *launch.arguments]
    run_command_line(launch.arguments)


def _tell(channel: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # the other end is closed
        channel.sendall(b"%d\n" % number)


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)


def main() -> None:
    """Import all that a command needs, then serve."""
    control = socket.socket(fileno=os.dup(0))
    run_in_place(["--version"])  # the parser imports the rest when it is used first
    import_processes()
    gc.freeze()
    LaunchServer(control).serve()


if __name__ == "__main__":
    main()
