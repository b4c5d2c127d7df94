"""Fork server process: imports the modules of all actors once, and forks the actors.

It starts no thread and opens no ZeroMQ socket, so that it can be forked safely. It reaps no child
before the supervisor has closed its end: until then, the process id of a dead actor names no other
process, and may be signalled.
"""

import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from actors import signals
from actors.actor import Actor, ActorContext, run
from actors.client_gateway import ClientGateway
from actors.descriptors import fill_standard_streams
from actors.election_timer import ElectionTimer
from actors.fork_server import ACTORS, Forked, encode_forked
from actors.lifeline import LIFELINE
from actors.log_replicator import LogReplicator
from actors.storage_writer import StorageActor

BUILDERS: tuple[Callable[[ActorContext], Actor], ...] = (
    LogReplicator,
    ClientGateway,
    ElectionTimer,
    StorageActor,
)  # in the order of ACTORS
COMMAND_NAME = Path("/proc/self/comm")  # as ``ps -o comm`` and ``top`` show it, on Linux


def main() -> None:
    """Fork the actors with the lifelines that arrive, and wait until all of them are gone."""
    signals.ignore()
    fill_standard_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else the system would reap the actors
    _take_name("fork_server")
    control = socket.socket(fileno=0)
    _, lifelines, _, _ = socket.recv_fds(control, 1, len(ACTORS))
    gc.freeze()  # else a collection would copy the pages that the actors share
    pids: dict[str, int] = {}
    failure = ""
    for name, build, lifeline in zip(ACTORS, BUILDERS, lifelines, strict=False):
        try:
            pid = os.fork()
        except OSError as error:
            failure = os.strerror(error.errno or 0)
            break
        if not pid:
            control.detach()
            _become(name, lifeline, lifelines)
            return run(name, build)
        pids[name] = pid
    return _serve(control, Forked(pids, failure), lifelines)


def _become(name: str, lifeline: int, lifelines: list[int]) -> None:
    """Prepare a forked process: its own lifeline as standard input, its name for the operator."""
    os.dup2(lifeline, LIFELINE)
    _close(lifelines)
    _take_name(name)


def _take_name(name: str) -> None:
    with contextlib.suppress(OSError):
        COMMAND_NAME.write_text(name)


def _serve(control: socket.socket, forked: Forked, lifelines: list[int]) -> None:
    """Report the process ids, and reap the actors once the supervisor is done with them."""
    _close(lifelines)
    with contextlib.suppress(OSError):
        control.sendall(encode_forked(forked))
        control.recv(1)
    for pid in forked.pids.values():
        os.waitpid(pid, 0)


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)


if __name__ == "__main__":
    main()
