"""Lifecycle: nodes start and end with their program, and lock their data."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import skiff
from actors.data_directory import DataDirectory
from actors.failure import ActorFailure
from actors.fork_server import ACTORS
from actors.ipc_directory import PREFIX
from skiff import (
    Client,
    ClusterInitFailed,
    DataDirectoryCreateFailed,
    RPCBindFailed,
    Skiff,
    StorageError,
)
from skiff.testing import Cluster, free_port, wait_until
from tests.cluster.keyed import node_key
from tests.faults.embedding import EMBEDDING, command, live, write_script

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.cluster


def test_a_script_without_a_main_guard_runs_a_node(tmp_path: Path) -> None:
    script = write_script(tmp_path, "node.shutdown()")
    done = subprocess.run(
        command(script, tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    assert live([int(pid) for pid in done.stdout.split()]) == []
    assert done.stderr == "", "an embedded node is quiet"


def test_a_repl_runs_a_node(tmp_path: Path) -> None:
    lines = [line.strip() for line in textwrap.dedent(EMBEDDING).strip().splitlines()]
    typed = "\n".join(
        [
            f"import sys; sys.argv = ['', {str(tmp_path / 'node')!r}, '{free_port()}']",
            *lines[:4],
            *lines[4:6],
            "client = Client([node.address])",
            "print(client.insert('greeting', 'hello'))",
            "node.shutdown()",
            "",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "1" in done.stdout.split(), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("forks", [False, True])
def test_killing_the_embedding_program_leaves_no_orphans(tmp_path: Path, forks: bool) -> None:
    ending = "import os; os.fork() or time.sleep(30)" if forks else ""
    script = write_script(tmp_path, ending, "time.sleep(600)")
    with subprocess.Popen(command(script, tmp_path), stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        pids = [int(pid) for pid in program.stdout.readline().split()]
        assert live(pids) == pids
        program.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda: not live(pids), "all actors are gone", timeout=2)
        assert time.monotonic() - killed_at < 2
        if forks:
            subprocess.run(["pkill", "-9", "-f", str(script)], check=True)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory with a path short enough for ipc sockets."""
    with tempfile.TemporaryDirectory(prefix="life-") as place:
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(place)


def kill_actor(node: Skiff, actor: str) -> None:
    """Kill one actor; return when the node serves again with four new ones."""
    before = node.pids
    os.kill(before[actor], signal.SIGKILL)
    wait_until(lambda: len(set(node.pids.values()) - set(before.values())) == 4, "all are new")
    node.wait_for_leader(timeout=15)


def test_a_node_works_with_a_long_temporary_directory_path(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = temporary / ("long" * 25)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with Skiff(dir=tmp_path / "node", port=free_port(), key=node_key()) as node:
        node.wait_for_leader(timeout=15)
        with node.client() as client:
            client.insert("kept", 1)
            assert client.get("kept", int) == 1
    assert list(place.iterdir()) == []


def test_a_client_of_an_embedded_node_survives_the_death_of_each_actor(
    tmp_path: Path, temporary: Path
) -> None:
    with Skiff(dir=tmp_path / "node", port=free_port(), key=node_key()) as node:
        node.wait_for_leader(timeout=15)
        with node.client() as client:
            client.insert("kept", 1)
            for actor in ACTORS:
                kill_actor(node, actor)
                assert client.get("kept", int) == 1
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("level", "told"),
    [("warning", ["client_gateway died; restarting all actors"]), ("error", [])],
)
def test_an_actor_death_is_logged_to_the_program_as_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: str, told: list[str]
) -> None:
    with Skiff(dir=tmp_path / "node", port=free_port(), log_level=level, key=node_key()) as node:
        node.wait_for_leader(timeout=15)
        kill_actor(node, "client_gateway")
    assert caplog.messages == told


def test_a_deleted_socket_directory_is_recreated(tmp_path: Path, temporary: Path) -> None:
    with (
        Skiff(dir=tmp_path / "node", port=free_port(), key=node_key()) as node,
        node.client() as client,
    ):
        (names,) = temporary.iterdir()
        shutil.rmtree(names)
        kill_actor(node, "client_gateway")
        assert client.insert("greeting", "hello") == 1


def test_a_failure_to_start_the_actors_is_raised(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    node = Skiff(dir=tmp_path / "node", port=free_port(), key=node_key())
    node.start()
    try:
        with pytest.raises(ClusterInitFailed, match="missing: No such file"):
            node.wait_until_serving()
    finally:
        node.shutdown()
    assert list(temporary.iterdir()) == []


def test_a_failure_to_restart_the_actors_is_raised(tmp_path: Path, temporary: Path) -> None:
    script = write_script(
        tmp_path,
        "import os, resource, signal",
        "from skiff import ClusterInitFailed",
        "before, free = node.pids, os.dup(0)",
        "os.close(free)",
        # Enough for some of the actors, which then have to be ended.
        "resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, free + 2))",
        "os.kill(before['storage_writer'], signal.SIGKILL)",
        "try: node.wait(timeout=15)",
        "except ClusterInitFailed as failure: print(failure, flush=True)",
        "while node.pids: time.sleep(0.01)",
    )
    ended = subprocess.run(
        command(script, tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    assert "cannot start the node's processes: Too many open files" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert list(temporary.iterdir()) == []


def test_a_killed_program_leaves_no_socket_directory(tmp_path: Path, temporary: Path) -> None:
    script = write_script(
        tmp_path,
        "import os, signal",
        "before = node.pids['client_gateway']",
        "os.kill(before, signal.SIGKILL)",
        "while node.pids.get('client_gateway', before) == before: time.sleep(0.01)",
        "node.wait_for_leader(timeout=15)",
        "os.kill(os.getpid(), signal.SIGKILL)",
    )
    ended = subprocess.run(
        command(script, tmp_path), stdout=subprocess.DEVNULL, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    wait_until(lambda: not list(temporary.iterdir()), "the names are gone", timeout=2)


def test_a_stale_socket_directory_is_removed_at_the_next_start(tmp_path: Path) -> None:
    with Cluster(2, directory=tmp_path) as cluster:
        before = set(tmp_path.glob(f"{PREFIX}*"))
        assert len(before) == 2
        killed = cluster.followers()[0]
        cluster.kill(killed)
        assert set(tmp_path.glob(f"{PREFIX}*")) == before
        cluster.restart(killed)
        after = set(tmp_path.glob(f"{PREFIX}*"))
        assert len(after) == 2
        (kept,) = before & after
        assert (kept / "client").is_socket(), "the other node has its names still"


def test_a_forked_process_holds_no_lock_on_the_socket_directory(
    tmp_path: Path, temporary: Path
) -> None:
    script = write_script(
        tmp_path,
        "import fcntl, os, pathlib, socket",
        "(names,) = pathlib.Path(os.environ['TMPDIR']).iterdir()",
        "lock = os.open(names, os.O_RDONLY)",
        "ours, theirs = socket.socketpair()",
        "if not os.fork():",
        "    ours.close()",
        "    theirs.send(b'!')",
        "    theirs.recv(1)",
        "    os._exit(0)",
        "ours.recv(1)",
        "try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "except BlockingIOError: print('held', flush=True)",
        "node.shutdown()",
        "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "print('free', flush=True)",
    )
    ended = subprocess.run(
        command(script, tmp_path), stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert ended.stdout.splitlines()[1:] == ["held", "free"]


def test_a_directory_is_reusable_immediately_after_a_kill(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        (node,) = cluster.nodes
        with node.client() as client:
            client.insert("kept", 1)
        os.kill(node.pid, signal.SIGKILL)
        node.wait()
        node.start()
        with node.client() as client:
            assert client.get("kept", int) == 1


def test_a_second_node_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        (node,) = cluster.nodes
        second = Skiff(dir=node.directory, port=free_port(), key=node_key())
        second.start()
        try:
            with pytest.raises(StorageError, match="in use by another skiff node"):
                second.wait_until_serving()
        finally:
            second.shutdown()
        with node.client() as client:
            assert client.insert("still", "served") == 1


def test_an_occupied_port_raises_rpc_bind_failed(tmp_path: Path) -> None:
    with Cluster(1, directory=tmp_path) as cluster:
        second = Skiff(dir=tmp_path / "second", port=cluster.nodes[0].port, key=node_key())
        second.start()
        try:
            with pytest.raises(RPCBindFailed, match="Address already in use; a node needs"):
                second.wait_until_serving()
        finally:
            second.shutdown()


def refused(directory: Path) -> str:
    """Return why a node refuses a directory, which must remain unchanged."""
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    node = Skiff(dir=directory, port=free_port(), key=node_key())
    node.start()
    try:
        with pytest.raises(StorageError) as refusal:
            node.wait_until_serving()
    finally:
        node.shutdown()
    for path, content in before.items():
        if path.name not in ("LOCK", "LOG", "lock") and not path.name.startswith("LOG.old"):
            assert path.read_bytes() == content, f"{path} was changed"
    return str(refusal.value)


def written_directory(tmp_path: Path) -> Path:
    """Return the directory of a node that was killed after some writes."""
    with Cluster(1, directory=tmp_path) as cluster:
        (node,) = cluster.nodes
        with node.client() as client:
            for number in range(200):
                client.insert(f"key/{number}", "x" * 100)
        node.kill()
        return node.directory


def test_a_foreign_directory_is_refused_and_unchanged(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    assert "not a skiff directory" in refused(foreign)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"], "not even a lock"


def test_a_directory_without_its_database_is_refused_not_reinitialised(tmp_path: Path) -> None:
    directory = written_directory(tmp_path)
    (directory / "generation-1").rename(tmp_path / "elsewhere")
    message = refused(directory)
    assert "is missing" in message
    assert "new directory" in message


def test_a_flipped_bit_in_the_write_ahead_log_is_refused(tmp_path: Path) -> None:
    directory = written_directory(tmp_path)
    log = max((directory / "generation-1").glob("*.log"), key=lambda each: each.stat().st_size)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    message = refused(directory)
    assert "damaged" in message
    assert "new directory" in message


def test_a_damaged_marker_is_refused(tmp_path: Path) -> None:
    directory = written_directory(tmp_path)
    (directory / "skiff.json").write_text("{")
    assert "skiff.json cannot be read" in refused(directory)


# In a process of its own, so that no other thread frees a descriptor meanwhile.
OPENS_WITHOUT_DESCRIPTORS = """
import os, resource, sys
from actors.data_directory import DataDirectory

free, (_, most) = os.dup(0), resource.getrlimit(resource.RLIMIT_NOFILE)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, most))  # for the lock, and no more
DataDirectory(sys.argv[1])
"""


def test_a_lack_of_descriptors_is_not_mistaken_for_damage(tmp_path: Path) -> None:
    DataDirectory(str(tmp_path)).close()
    (tmp_path / "skiff.json").write_text('{"format":1,"generation":1,"complete":false}')
    opens = [sys.executable, "-P", "-c", OPENS_WITHOUT_DESCRIPTORS, str(tmp_path)]
    ended = subprocess.run(
        opens,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"ActorFailure: cannot read .*json: Too many open files", ended.stderr)
    DataDirectory(str(tmp_path)).close()


def test_a_refused_directory_is_left_unlocked(tmp_path: Path) -> None:
    (tmp_path / "skiff.json").write_text("{")
    for _ in range(2):
        with pytest.raises(ActorFailure, match="cannot be read"):
            DataDirectory(str(tmp_path))


def test_a_directory_is_unlocked_when_its_owner_closes_it(tmp_path: Path) -> None:
    owner = DataDirectory(str(tmp_path))
    with pytest.raises(ActorFailure, match="in use"):
        DataDirectory(str(tmp_path))
    owner.close()
    DataDirectory(str(tmp_path)).close()


def test_a_directory_with_an_interrupted_restore_is_refused_until_restored(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    owner = DataDirectory(str(directory))
    owner.begin_generation(restoring=True)
    owner.close()
    for _ in range(2):
        assert "run 'skiff restore' again" in refused(directory)
    file = tmp_path / "backup"
    with Cluster(1) as cluster, cluster.nodes[0].client() as client:
        client.insert("kept", 1)
        client.backup(file)
    restored = skiff.restore(file, directory)
    with Skiff(dir=directory, port=free_port(), key=node_key()) as node:
        node.wait_for_leader()
        with Client([node.address]) as client:
            assert client.status().id == restored.node
            assert client.get("kept", int) == 1


def test_the_error_names_a_directory_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    node = Skiff(dir=tmp_path / "file" / "node", port=free_port(), key=node_key())
    node.start()
    try:
        with pytest.raises(DataDirectoryCreateFailed, match="file/node"):
            node.wait_until_serving()
    finally:
        node.shutdown()
