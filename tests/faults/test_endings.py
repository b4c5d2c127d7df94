"""Endings: no process or file of a node outlives its program, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.fork_server import ACTORS
from skiff.testing import free_port, wait_until
from tests.faults.embedding import command, live, write_script

pytestmark = pytest.mark.cluster

# Removing the directory of the ipc sockets is slow here, to catch an end that does not wait.
SLOW_TO_CLEAR = """
import os, signal, time
from actors.ipc_directory import IpcDirectory
clear = IpcDirectory.clear
IpcDirectory.clear = lambda names: (time.sleep(0.3), clear(names))
"""
DIES_FOR_GOOD = """
import actors.supervisor
actors.supervisor.RESTARTS_MAX = 0
os.kill(node.pids["election_timer"], signal.SIGKILL)
"""
HANGS = """
import actors.supervisor
actors.supervisor.STOP_SECONDS = 0.3
os.kill(node.pids["election_timer"], signal.SIGSTOP)
"""
FORKS_AMID_A_START = """
import os, sys, threading, time
from actors import fork_server

spawn = fork_server._spawn

def fork():
    os.fork() or time.sleep(60)

def spawn_meanwhile(*arguments):
    threading.Thread(target=fork, daemon=True).start()
    time.sleep(0.1)  # enough for a fork that nothing holds back
    return spawn(*arguments)

fork_server._spawn = spawn_meanwhile
"""
STARTS = """
import os, sys, time
from skiff import Skiff

node = Skiff(dir=sys.argv[1], port=int(sys.argv[2]), key=os.environ.get("SKIFF_KEY", ""))
try:
    print("starts", flush=True)
    node.start()
    time.sleep(60)
except KeyboardInterrupt:
    node.shutdown()
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The directory of the nodes' socket directories."""
    with tempfile.TemporaryDirectory(prefix="life-") as place:
        yield Path(place)


def run(script: Path, tmp_path: Path, temporary: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; its actors may still run then."""
    told = tmp_path / "told"
    with told.open("w") as errors:  # a pipe would stay open until the last actor ends
        ended = subprocess.run(
            command(script, tmp_path),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
    ended.stderr = told.read_text()
    return ended


@pytest.mark.parametrize(
    "ending",
    [
        HANGS,
        f"{HANGS}\nsys.exit(0)",
        f"{DIES_FOR_GOOD}\nwhile node.pids: time.sleep(0.001)\nos._exit(0)",
        f"{DIES_FOR_GOOD}\ntry: node.wait()\nfinally: os._exit(0)",
        "node.shutdown()\nos._exit(0)",
    ],
    ids=["end of the program", "exit", "no pids", "failure", "shutdown"],
)
def test_no_process_or_file_outlives_its_node(tmp_path: Path, temporary: Path, ending: str) -> None:
    script = write_script(tmp_path, SLOW_TO_CLEAR, ending)
    ended = run(script, tmp_path, temporary)
    assert list(temporary.iterdir()) == []
    assert live([int(pid) for pid in ended.stdout.split()]) == []
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr


def test_the_exit_of_a_forked_child_leaves_the_node_running(
    tmp_path: Path, temporary: Path
) -> None:
    script = write_script(
        tmp_path,
        "import os",
        "if not os.fork(): sys.exit()",
        "print(os.wait()[1], node.wait(0.2), node.client().insert('still', 'served'))",
        "node.shutdown()",
    )
    ended = run(script, tmp_path, temporary)
    assert ended.stdout.splitlines()[1:] == ["0 False 2"], ended.stderr


def test_a_child_forked_during_startup_keeps_no_actor_alive(
    tmp_path: Path, temporary: Path
) -> None:
    script = write_script(tmp_path, "import time", "time.sleep(60)")
    script.write_text(FORKS_AMID_A_START + script.read_text())
    with subprocess.Popen(
        command(script, tmp_path),
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as program:
        assert program.stdout is not None
        pids = [int(pid) for pid in program.stdout.readline().split()]
        program.kill()
        try:
            wait_until(lambda: not live(pids), "all actors are gone", timeout=5)
        finally:
            with contextlib.suppress(ProcessLookupError):  # they may have ended
                os.killpg(program.pid, signal.SIGKILL)  # forked copies, too
    assert len(pids) == len(ACTORS)


def test_waiting_for_a_node_returns_when_it_shuts_down(tmp_path: Path, temporary: Path) -> None:
    script = write_script(
        tmp_path,
        "import threading",
        "told = []",
        "thread = threading.Thread(target=lambda: told.append(node.wait()))",
        "thread.start()",
        "time.sleep(0.1)",
        "node.shutdown()",
        "thread.join(10)",
        "print(told)",
        "sys.stdout.flush()",
        "import os; os._exit(0)",
    )
    assert run(script, tmp_path, temporary).stdout.splitlines()[1:] == ["[True]"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_a_program_that_ends_during_node_startup_leaves_no_traceback(
    tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(STARTS)
    for delay in (0.02, 0.08, 0.14, 0.2, 0.3, 0.4):
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / f"node-{delay}"), str(free_port())],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        ) as program:
            assert program.stdout is not None
            program.stdout.readline()
            time.sleep(delay)
            if number == signal.SIGINT:
                os.killpg(program.pid, number)  # like a terminal
            else:
                program.send_signal(number)
            # Standard error stays open while any actor runs.
            _, told = program.communicate(timeout=30)
        assert told == "", f"{number.name} after {delay} s"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_an_actor_killed_during_startup_leaves_no_traceback(
    tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        STARTS.replace(
            "    time.sleep(60)\n",
            f"    while len(node.pids) < {len(ACTORS)}: time.sleep(0.001)\n"
            "    time.sleep(float(sys.argv[3]))\n"
            f"    import os; os.kill(node.pids[sys.argv[4]], {number})\n"
            "    node.wait_for_leader(timeout=20)\n"
            "    node.shutdown()\n",
        )
    )
    for actor, delay in zip(ACTORS, (0.0, 0.05, 0.1, 0.2), strict=True):
        ended = subprocess.run(
            [*command(script, tmp_path), str(delay), actor],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        assert set(ended.stderr.splitlines()) <= {f"{actor} died; restarting all actors"}
