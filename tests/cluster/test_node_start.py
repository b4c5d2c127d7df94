"""``skiff node start``: startup, refusals and shutdown."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.fork_server import ACTORS
from protocol.address import PEER_PORT_OFFSET
from skiff import Client
from skiff.cli.signals import SIGNALS
from skiff.testing import Cluster, free_port, wait_until
from tests.cluster import command
from tests.cluster.keyed import keyed_or_insecure

pytestmark = pytest.mark.cluster

Process = subprocess.Popen[bytes]
STAYS_SECONDS = 1.0  # in which a node would end that cannot print its announcement
FULL = Path("/dev/full")  # every write to it fails for lack of space


@contextmanager
def running(*arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run a node, and end it by SIGTERM unless it has ended."""
    with command.start(["node", "start", *arguments], settings) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=command.SECONDS_MAX)


def ready(process: Process) -> Any:
    """Return the JSON line that a node prints when it serves."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def refused(*arguments: str, code: int, settings: Mapping[str, str] | None = None) -> str:
    """Return the one-line error of a node that cannot run."""
    return complaint(command.run("node", "start", *arguments, settings=settings), code)


def complaint(ended: subprocess.CompletedProcess[bytes], code: int) -> str:
    text = ended.stderr.decode()
    assert (ended.returncode, ended.stdout) == (code, b""), ended
    assert text.startswith("skiff: error: "), text
    assert text.count("\n") == 1, text
    return text


def actors_of(pid: int) -> list[int]:
    """Return the processes that a node's fork server has forked."""
    table = subprocess.run(
        ["ps", "-ax", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    rows = [tuple(map(int, line.split())) for line in table.stdout.splitlines()]
    servers = [child for child, parent in rows if parent == pid]
    return [child for child, parent in rows if parent in servers]


def named(pids: list[int]) -> str:
    listed = ",".join(map(str, pids))
    return subprocess.run(
        ["ps", "-ww", "-o", "comm=,args=", "-p", listed], capture_output=True, text=True, check=True
    ).stdout


def is_alive(pid: int) -> bool:
    table = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return table.stdout.strip()[:1] not in ("", "Z")


# --- startup

UNWRITABLE = [
    pytest.param(f"{stream}{to}", marks=pytest.mark.skipif(not FULL.exists(), reason="Linux only"))
    for stream in ("", "2")
    for to in (">/dev/full", ">&-", "> >(:)")
]


@pytest.mark.parametrize("redirection", UNWRITABLE)
def test_a_node_serves_though_its_output_cannot_be_written(
    tmp_path: Path, redirection: str
) -> None:
    place = ["--dir", str(tmp_path / "new"), "--port", str(free_port())]
    with Cluster(1, directory=tmp_path) as cluster, cluster.client() as client:
        join = [*place, "--join", cluster.addresses[0], "--log-level", "debug"]
        given = ["bash", "-c", f'exec "$@" {redirection}', "bash"]
        program = [*given, *command.command("node", "start", *join)]
        with subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=command.environment()
        ) as node:
            wait_until(lambda: len(client.members()) == 2, "the node is a member")
            with Client([f"127.0.0.1:{place[3]}"], timeout=20) as through:
                through.insert("key", "value")
            with pytest.raises(subprocess.TimeoutExpired):
                node.wait(STAYS_SECONDS)
            node.terminate()
            assert node.wait(command.SECONDS_MAX) == 0


def test_a_started_node_prints_its_addresses_in_one_line(tmp_path: Path) -> None:
    port = free_port()
    with running("--dir", str(tmp_path / "node"), "--port", str(port)) as node:
        assert node.stdout is not None
        line = node.stdout.readline().decode()
        assert f"127.0.0.1:{port}" in line
        assert f"127.0.0.1:{port + 1}" in line
        node.terminate()
        assert node.communicate(timeout=command.SECONDS_MAX) == (b"", b"")


@pytest.mark.plain
@pytest.mark.parametrize("level", ["debug", "error"])
def test_an_insecure_node_warns_at_every_log_level(tmp_path: Path, level: str) -> None:
    place = ("--dir", str(tmp_path / "node"), "--port", str(free_port()))
    with running(
        *place,
        "--bind",
        "0.0.0.0",
        "--advertise",
        "127.0.0.1",
        "--insecure",
        "--log-level",
        level,
        "--json",
    ) as node:
        ready(node)
        node.terminate()
        told = node.communicate(timeout=command.SECONDS_MAX)[1].decode()
    (warning,) = [line for line in told.splitlines() if "nothing is authenticated" in line]
    assert " WARNING node=" in warning
    assert " actor=supervisor " in warning


def test_a_standby_node_reports_standby_until_it_has_been_added(tmp_path: Path) -> None:
    port = free_port()
    place = ("--dir", str(tmp_path / "node"), "--port", str(port), "--standby")
    with Cluster(1, directory=tmp_path) as cluster, cluster.client(timeout=20) as client:
        for words in ("stands by at", "serves at"):
            with running(*place) as node:
                assert node.stdout is not None
                assert f" {words} 127.0.0.1:{port}," in node.stdout.readline().decode()
                client.add_member(f"127.0.0.1:{port}")


def test_a_node_that_cannot_join_still_shuts_down_cleanly(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    place = ("--dir", str(tmp_path / "node"), "--port", str(free_port()))
    with running(*place, "--join", nobody) as node:
        assert node.stderr is not None
        told = "".join(node.stderr.readline().decode() for _ in range(2))
        assert f"asks {nobody} to join" in told
        assert f"{nobody} refuses connections" in told
        node.terminate()
        output, warnings = node.communicate(timeout=command.SECONDS_MAX)
    assert node.returncode == 0
    assert output == b""
    assert all(b"not a member yet" in line for line in warnings.splitlines())


def test_a_started_node_prints_one_line_of_json(tmp_path: Path) -> None:
    port = free_port()
    with running("--dir", str(tmp_path / "node"), "--port", str(port), "--json") as node:
        line = ready(node)
        with Client([line["address"]]) as client:
            status = client.status()
        assert line == {
            "event": "ready",
            "id": str(status.id),
            "address": f"127.0.0.1:{port}",
            "publish_address": f"127.0.0.1:{port + 1}",
            "pid": node.pid,
        }


def test_join_addresses_are_comma_separated_or_repeated(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    places = [("--dir", str(tmp_path / str(port)), "--port", str(port)) for port in ports]
    repeated = ("--join", addresses[0], "--join", addresses[1])
    commas = {"SKIFF_JOIN": f"{addresses[0]}, {addresses[1]}"}
    with (
        running(*places[0]),
        running(*places[1], "--join", addresses[0]),
        running(*places[2], "--json", settings=commas) as third,
        Client(addresses) as client,
    ):
        ready(third)
        wait_until(lambda: len(client.members()) == 3, "all three are members")
        third.terminate()
        third.wait(command.SECONDS_MAX)
        with running(*places[2], *repeated, "--json") as again:
            assert ready(again)["address"] == addresses[2]


# --- settings


def test_an_option_overrides_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    filed, environment, option = free_port(), free_port(), free_port()
    file = tmp_path / "node.toml"
    file.write_text(f'dir = "{tmp_path / "node"}"\nport = {filed}\n')
    variable = {"SKIFF_PORT": str(environment)}
    place = ("--config", str(file), "--json")
    with running(*place) as node:
        assert ready(node)["address"].endswith(f":{filed}")
    with running(*place, settings=variable) as node:
        assert ready(node)["address"].endswith(f":{environment}")
    with running(*place, "--port", str(option), settings=variable) as node:
        assert ready(node)["address"].endswith(f":{option}")


def test_the_environment_can_name_the_configuration_file(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "node.toml"
    file.write_text(f"port = {port}\n")
    settings = {"SKIFF_CONFIG": str(file), "SKIFF_DIR": str(tmp_path / "node")}
    with running("--json", settings=settings) as node:
        assert ready(node)["address"] == f"127.0.0.1:{port}"


def test_an_invalid_configuration_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("prot = 9400\n")
    assert "prot" in refused("--config", str(file), code=2)
    file.write_text("port = 'many'\n")
    assert "port" in refused("--config", str(file), code=2)
    file.write_text("port =\n")
    assert str(file) in refused("--config", str(file), code=2)
    assert "missing.toml" in refused("--config", str(tmp_path / "missing.toml"), code=2)


def test_invalid_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    place = ("--dir", str(tmp_path / "node"))
    assert "dir" in refused(code=2)
    assert "port" in refused(*place, "--port", "99999", code=2)
    assert "log_level" in refused(*place, "--log-level", "loud", code=2)
    assert "heartbeat_ms" in refused(*place, "--heartbeat-ms", "1000", code=2)
    assert "SKIFF_PORT" in refused(*place, code=2, settings={"SKIFF_PORT": "many"})
    assert not (tmp_path / "node").exists()


# --- unusable ports and directories


def test_a_directory_belongs_to_one_node(tmp_path: Path) -> None:
    place = str(tmp_path / "node")
    with running("--dir", place, "--port", str(free_port()), "--json") as node:
        ready(node)
        assert "in use" in refused("--dir", place, "--port", str(free_port()), code=1)
        assert node.poll() is None


def test_the_error_names_an_occupied_port(tmp_path: Path) -> None:
    port = free_port()
    with running("--dir", str(tmp_path / "first"), "--port", str(port), "--json") as node:
        ready(node)
        place = ("--dir", str(tmp_path / "second"), "--port", str(port))
        assert f":{port}:" in refused(*place, code=1)
    assert not (tmp_path / "second").exists()


def test_all_three_ports_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    port = free_port()
    place = ("--dir", str(tmp_path / "node"), "--port", str(port))
    for taken in range(port, port + PEER_PORT_OFFSET + 1):
        with socket.create_server(("127.0.0.1", taken)):
            assert f":{taken}:" in refused(*place, code=1)
        assert not (tmp_path / "node").exists()


def test_an_occupied_port_leaves_an_existing_directory_intact(tmp_path: Path) -> None:
    port = free_port()
    place = ("--dir", str(tmp_path / "node"), "--port", str(port), "--json")
    with running(*place) as node:
        first = ready(node)
    with socket.create_server(("127.0.0.1", port)):
        assert f":{port}:" in refused(*place, code=1)
    with running(*place) as node:
        assert ready(node)["id"] == first["id"]


@pytest.mark.parametrize("host", ["nosuch", "192.0.2.1"])
def test_the_error_names_a_bind_host_of_another_machine(tmp_path: Path, host: str) -> None:
    place = ("--dir", str(tmp_path / "node"), "--port", str(free_port()))
    text = refused(*place, "--bind", host, *keyed_or_insecure(), code=1)
    assert f"//{host}:" in text
    assert "bind must be an address of this machine" in text
    assert "two after it" not in text
    assert not (tmp_path / "node").exists()


def test_a_directory_with_foreign_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert "letter.txt" in refused("--dir", str(tmp_path), "--port", str(free_port()), code=1)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_the_error_names_a_directory_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "node")
    assert place in refused("--dir", place, "--port", str(free_port()), code=1)


def test_a_damaged_directory_is_refused_and_unchanged(tmp_path: Path) -> None:
    place, port = tmp_path / "node", str(free_port())
    with running("--dir", str(place), "--port", port, "--json") as node:
        ready(node)
    current = place / "generation-1" / "CURRENT"
    current.write_text("nonsense")
    assert "damaged" in refused("--dir", str(place), "--port", port, code=1)
    assert current.read_text() == "nonsense"


def test_a_failure_to_start_processes_is_reported(tmp_path: Path) -> None:
    place = ("--dir", str(tmp_path / "node"), "--port", str(free_port()))
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -n 11; exec "$@"', "sh", *command.command("node", "start", *place)],
        capture_output=True,
        env=command.environment(),
        timeout=command.SECONDS_MAX,
        check=False,
    )
    assert "cannot start the node's processes: Too many open files" in complaint(ended, 1)


# --- shutdown


@pytest.fixture(autouse=True)
def hangups_enabled() -> Iterator[None]:
    """Restore SIGHUP for nodes, which nohup ignores for the tests."""
    handler = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_shuts_a_node_down_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    place = ("--dir", str(tmp_path / "node"), "--port", str(free_port()), "--json")
    with running(*place) as node:
        first = ready(node)
        actors = actors_of(node.pid)
        assert len(actors) == 4
        shown = named(actors)
        node.send_signal(number)
        node.send_signal(number)
        assert node.communicate(timeout=command.SECONDS_MAX) == (b"", b"")
    assert node.returncode == 0
    assert not any(map(is_alive, actors))
    assert shown.count(f"node start {' '.join(place)}") == 4
    assert sys.platform != "linux" or all(name in shown for name in ACTORS)
    with running(*place) as node:
        assert ready(node)["id"] == first["id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_process_group_shuts_a_node_down_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    place = ["--dir", str(tmp_path / "node"), "--port", str(free_port()), "--json"]
    with subprocess.Popen(
        command.command("node", "start", *place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environment(),
        start_new_session=True,
    ) as node:
        ready(node)
        os.killpg(node.pid, number)
        assert node.communicate(timeout=command.SECONDS_MAX) == (b"", b"")
    assert node.returncode == 0


IGNORING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_node_survives_a_parent_that_has_ignored_the_end_of_children(tmp_path: Path) -> None:
    place = ["--dir", str(tmp_path / "node"), "--port", str(free_port()), "--json"]
    ignoring = [sys.executable, "-c", IGNORING]
    with subprocess.Popen(
        [*ignoring, *command.command("node", "start", *place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environment(),
    ) as node:
        address, before = ready(node)["address"], actors_of(node.pid)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: set(actors_of(node.pid)).isdisjoint(before), "all actors are replaced")
        with Client([address]) as client:
            client.insert("key", "value", timeout=20)
        node.terminate()
        assert node.communicate(timeout=command.SECONDS_MAX)[0] == b""
    assert node.returncode == 0


def test_closing_its_terminal_shuts_a_node_down_cleanly(tmp_path: Path) -> None:
    place = ["--dir", str(tmp_path / "node"), "--port", str(free_port()), "--json"]
    ours, theirs = os.openpty()
    opened = ["sh", "-c", 'exec "$@" <"$0" 2>"$0"', os.ttyname(theirs)]
    with subprocess.Popen(
        [*opened, *command.command("node", "start", *place)],
        stdout=subprocess.PIPE,
        env=command.environment(),
        start_new_session=True,
    ) as node:
        ready(node)
        actors = actors_of(node.pid)
        os.close(theirs)
        os.close(ours)
        assert node.wait(command.SECONDS_MAX) == 0
    assert not any(map(is_alive, actors))


def test_a_signal_during_startup_shuts_a_node_down_cleanly(tmp_path: Path) -> None:
    with running("--dir", str(tmp_path / "node"), "--port", str(free_port())) as node:
        wait_until(lambda: actors_of(node.pid), "the first process was started")
        node.terminate()
        assert node.communicate(timeout=command.SECONDS_MAX)[1] == b""
        assert node.returncode == 0
