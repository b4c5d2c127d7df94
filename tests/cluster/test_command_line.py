"""Client commands: their output and exit codes, as programs on a real cluster."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.state.levels import STATE_LEVEL
from skiff import PeerNotFound, backup
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster import command

pytestmark = pytest.mark.cluster

FULL = Path("/dev/full")  # every write to it fails for lack of space
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(cluster: Cluster) -> Run:
    """Runs a command that finds the shared cluster in its environment."""

    def run_here(
        *arguments: str, given: bytes = b"", **settings: str
    ) -> "subprocess.CompletedProcess[bytes]":
        url = {"SKIFF_URL": f"skiff://{','.join(cluster.addresses)}"}
        return command.run(*arguments, given=given, settings={**url, **settings})

    return run_here


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}/key"


def expect_failure(ended: "subprocess.CompletedProcess[bytes]", code: int, *words: str) -> None:
    """Assert that a command failed with this code and one line that has these words."""
    assert ended.returncode == code, ended
    line = ended.stderr.decode()
    assert line.startswith("skiff: error: "), line
    assert line.count("\n") == 1, line
    assert all(word in line for word in words), line


def parsed(ended: "subprocess.CompletedProcess[bytes]") -> Any:
    assert ended.returncode == 0, ended
    assert ended.stdout.count(b"\n") == 1
    return json.loads(ended.stdout)


# --- values


def test_an_inserted_value_is_printed_exactly(run: Run, key: str) -> None:
    inserted = run("insert", key, "grüße\n ")
    assert int(inserted.stdout) > 0
    assert run("get", key).stdout == "grüße\n ".encode()


def test_any_bytes_can_be_inserted_from_standard_input(run: Run, key: str) -> None:
    for given in (b"text\n", b"\xff\x00\xfe", b""):
        assert run("insert", key, "-", given=given).returncode == 0
        assert run("get", key).stdout == given


def test_options_select_text_or_bytes_for_a_value(run: Run, key: str) -> None:
    base64 = {"value": "YWJj", "encoding": "base64"}
    for options, shown in (([], {"value": "abc"}), (["--text"], {"value": "abc"})):
        run("insert", key, "-", *options, given=b"abc")
        assert shown.items() <= parsed(run("get", key, "--json")).items()
        assert "encoding" not in parsed(run("get", key, "--json"))
    for argument in ("abc", "-"):
        run("insert", key, argument, "--bytes", given=b"abc")
        assert base64.items() <= parsed(run("get", key, "--json")).items()
        assert run("get", key).stdout == b"abc"
    expect_failure(run("insert", key, "-", "--text", given=b"\xff"), 2, "not text in UTF-8")
    expect_failure(run("insert", key, "1", "--text", "--json-value"), 2, "exclude each other")


@pytest.mark.parametrize("option", ["--text", "--bytes", "--json-value"])
def test_standard_input_is_read_only_up_to_the_value_size_limit(
    option: str, cluster: Cluster, key: str
) -> None:
    endless = command.command("insert", key, "-", option, "--url", cluster.addresses[0])
    with Path("/dev/zero").open("rb") as zeros:
        ended = subprocess.run(
            endless,
            stdin=zeros,
            capture_output=True,
            env=command.environment(),
            timeout=command.SECONDS_MAX,
            check=False,
        )
    expect_failure(ended, 2, "standard input has more than")


def test_a_parsed_value_keeps_its_type(run: Run, key: str) -> None:
    run("insert", key, '{"a": [1, null]}', "--json-value")
    assert run("get", key).stdout == b'{"a":[1,null]}\n'
    expect_failure(run("insert", key, "{", "--json-value"), 2, "not JSON")
    expect_failure(run("insert", key, "[" * 3000 + "]" * 3000, "--json-value"), 2, "not JSON")
    expect_failure(run("insert", key, str(10**30), "--json-value"), 2, key)


def test_impossible_option_values_are_usage_errors(run: Run, key: str) -> None:
    expect_failure(run("insert", key, "x", "--if-revision", str(10**30)), 2, "if_revision")
    expect_failure(run("get", key, "--timeout", "0"), 2, "positive")
    expect_failure(run("get", key, "--timeout", "nan"), 2, "positive")


def test_a_closed_standard_input_is_a_usage_error(run: Run, key: str, cluster: Cluster) -> None:
    insert = [*command.command("insert", key, "-"), "--url", cluster.addresses[0]]
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *insert]
    ended = subprocess.run(shell, capture_output=True, env=command.environment(), check=False)
    expect_failure(ended, 2, "standard input")
    assert run("get", key).returncode == 3


@pytest.mark.parametrize("verb", [["get", "x"], ["insert", "x", "y"], ["status"]])
def test_an_interrupt_ends_a_command_that_waits_for_a_silent_node(verb: list[str]) -> None:
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        place = f"127.0.0.1:{deaf.getsockname()[1]}"
        waiting = stack.enter_context(command.start([*verb, "--url", place, "--timeout", "30"]))
        deaf.settimeout(command.SECONDS_MAX)
        for _ in range(2):  # once per connection
            stack.enter_context(deaf.accept()[0])
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=command.SECONDS_MAX) == (b"", b"")
    assert waiting.returncode == 130


def test_json_output_has_every_field_of_an_entry(run: Run, key: str) -> None:
    created = parsed(run("insert", key, "one", "--json"))
    changed = parsed(run("insert", key, "two", "--json"))
    assert parsed(run("get", key, "--json")) == {
        "key": key,
        "value": "two",
        "revision": changed["revision"],
        "create_revision": created["revision"],
        "version": 2,
        "lease": None,
        "ttl": None,
    }


def test_a_missing_key_is_not_found(run: Run, key: str) -> None:
    expect_failure(run("get", key), 3, key)
    expect_failure(run("remove", key), 3, key)


def test_a_removed_key_is_gone(run: Run, key: str) -> None:
    run("insert", key, "x")
    assert parsed(run("remove", key, "--json")) == {"key": key, "existed": True}
    assert run("get", key).returncode == 3


def test_a_revision_mismatch_is_a_conflict(run: Run, key: str) -> None:
    revision = run("insert", key, "x", "--if-revision", "0").stdout.decode().strip()
    expect_failure(run("insert", key, "y", "--if-revision", "0"), 4, revision)
    expect_failure(run("remove", key, "--if-revision", "1000000"), 4, revision)
    assert run("insert", key, "z", "--if-revision", revision).returncode == 0


def test_keys_and_prefixes_are_listed_one_per_line(run: Run, key: str) -> None:
    for name in ("b", "a", "c"):
        run("insert", f"{key}/{name}", "x")
    assert run("list", key).stdout.decode().split() == [f"{key}/{name}" for name in "abc"]
    assert parsed(run("list", key, "--limit", "2", "--json")) == [f"{key}/a", f"{key}/b"]
    assert run("prefixes", key).stdout.decode() == f"{key}\n"
    assert parsed(run("prefixes", key, "--json")) == [key]
    assert run("list", f"{key}/none").stdout == b""


def test_an_option_overrides_the_environment(run: Run, key: str, cluster: Cluster) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    addresses = ",".join(cluster.addresses)
    assert run("insert", key, "x", "--url", addresses, SKIFF_URL=nowhere).returncode == 0
    ended = run("get", key, "--timeout", "0.2", SKIFF_URL=nowhere, SKIFF_TIMEOUT="1000")
    expect_failure(ended, 5, nowhere, "running there?", "SKIFF_URL")


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"],
        ["get", "a", "--nonsense"],
        ["nonsense"],
        ["list", "--limit", "many"],
        ["get", ""],
        ["get", "a", "--url", "a b:1"],
        ["list", "--limit", "-1"],
    ],
)
def test_a_usage_error_is_one_line(run: Run, arguments: list[str]) -> None:
    expect_failure(run(*arguments), 2)


def test_a_closed_output_pipe_ends_a_command_quietly(run: Run, cluster: Cluster, key: str) -> None:
    run("insert", key, "-", given=b"x" * 1_000_000)
    place = ("--url", ",".join(cluster.addresses))
    assert unread("get", key, *place) == (141, b"")
    for helped in (["--help"], ["get", "--help"], ["node", "start", "--help"], ["--version"]):
        assert unread(*helped) == (141, b""), helped


def test_a_failure_with_closed_standard_error_keeps_its_exit_code() -> None:
    assert unread("nonsense", closed="stderr") == (2, b"")


@pytest.mark.skipif(not FULL.exists(), reason="Linux only")
def test_a_note_that_cannot_be_written_changes_no_exit_code(run: Run, cluster: Cluster) -> None:
    run("insert", "here", "value")
    settings = {"SKIFF_URL": f"skiff://{','.join(cluster.addresses)}"}
    for arguments, stream, code in (
        (["get", "nope"], "stderr", 3),
        (["insert", "here", "again"], "stderr", 0),
        (["nonsense"], "stderr", 2),
        (["get", "here"], "stdout", 1),
        (["get", "here"], "both", 1),
    ):
        with FULL.open("wb") as full:
            ended = subprocess.run(
                command.command(*arguments),
                stdout=subprocess.PIPE if stream == "stderr" else full,
                stderr=subprocess.PIPE if stream == "stdout" else full,
                env=command.environment(settings),
                check=False,
            )
        assert ended.returncode == code, arguments


def unread(*arguments: str, closed: str = "stdout") -> tuple[int, bytes]:
    """Run a command with one stream closed; return its code and the other stream's text."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        command.command(*arguments),
        stdout=writing if closed == "stdout" else subprocess.PIPE,
        stderr=writing if closed == "stderr" else subprocess.PIPE,
        env=command.environment(),
        check=False,
    )
    os.close(writing)
    return ended.returncode, ended.stderr if closed == "stdout" else ended.stdout


# --- changes


def test_watch_prints_changes_up_to_its_count(run: Run, cluster: Cluster, key: str) -> None:
    place = ["--url", ",".join(cluster.addresses)]
    with command.start(["watch", key, "--count", "2", *place]) as watching:
        assert watching.stderr is not None
        assert b"watching" in watching.stderr.readline()
        run("insert", f"{key}/a", "two\nlines")
        run("insert", "elsewhere", "x")
        run("remove", f"{key}/a")
        printed, _ = watching.communicate(timeout=command.SECONDS_MAX)
    lines = [line.split(" ", 3) for line in printed.decode().splitlines()]
    assert [line[1:] for line in lines] == [
        ["insert", f"{key}/a", r'"two\nlines"'],
        ["remove", f"{key}/a"],
    ]
    assert watching.returncode == 0


def test_watch_prints_json_immediately_and_ends_on_an_interrupt(
    run: Run, cluster: Cluster, key: str
) -> None:
    with command.start(["watch", key, "--json", "--url", cluster.addresses[0]]) as watching:
        assert watching.stderr is not None
        assert watching.stdout is not None
        assert b"watching" in watching.stderr.readline()
        revision = int(run("insert", key, "x").stdout)
        assert json.loads(watching.stdout.readline()) == {
            "kind": "insert",
            "key": key,
            "value": "x",
            "revision": revision,
            "prev_revision": 0,
        }
        watching.send_signal(signal.SIGINT)
        assert watching.communicate(timeout=command.SECONDS_MAX) == (b"", b"")
    assert watching.returncode == 130


def test_watch_prints_previous_values_on_request(run: Run, cluster: Cluster, key: str) -> None:
    revision = int(run("insert", key, "x").stdout)
    run("insert", key, "--bytes", "y")
    run("remove", key)
    asked = ["watch", key, "--since", str(revision - 1), "--count", "3", "--prev-value"]
    lines = run(*asked).stdout.decode().splitlines()
    assert [line.split(" ", 3)[3:] for line in lines] == [
        ['"x"'],
        ['"eQ==" was "x"'],
        ['was "eQ=="'],
    ]
    *_, removed = map(json.loads, run(*asked, "--json").stdout.splitlines())
    assert (removed["value"], removed["prev_value"]) == (None, "eQ==")
    assert removed["prev_encoding"] == "base64"


def test_watch_counts_changes_and_not_the_mark_after_the_entries(
    run: Run, cluster: Cluster, key: str
) -> None:
    url = ["--url", cluster.addresses[0]]
    with command.start(["watch", key, "--initial", "--count", "1", *url]) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().endswith(b"synced\n")
        revision = int(run("insert", key, "x").stdout)
        shown, _ = watching.communicate(timeout=command.SECONDS_MAX)
    assert shown.decode() == f'{revision} insert {key} "x"\n'
    entry = run("watch", key, "--initial", "--count", "1")
    assert entry.stdout == shown


def test_watch_continues_after_a_value_json_cannot_represent(cluster: Cluster, key: str) -> None:
    wanted = ["watch", key, "--count", "2", "--url", cluster.addresses[0]]
    with command.start(wanted) as watching, cluster.client() as client:
        assert watching.stderr is not None
        assert b"watching" in watching.stderr.readline()
        client.insert(key, {(1, 2): 3})
        client.insert(key, "next")
        shown, notes = watching.communicate(timeout=command.SECONDS_MAX)
    assert [line.split(b" ", 3)[3] for line in shown.splitlines()] == [b'"{(1, 2): 3}"', b'"next"']
    assert b"JSON cannot carry" in notes
    assert watching.returncode == 0


@pytest.mark.parametrize("verb", [[], ["get"], ["member"], ["member", "list"], ["node", "start"]])
def test_help_has_a_short_option(verb: list[str]) -> None:
    short, long = (command.run(*verb, option) for option in ("-h", "--help"))
    assert short.returncode == long.returncode == 0
    assert short.stdout == long.stdout != b""


def test_a_backup_can_be_written_to_standard_output(run: Run, key: str, tmp_path: Path) -> None:
    run("insert", key, "kept")
    piped = run("backup", "-")
    assert piped.returncode == 0, piped
    file = tmp_path / "backup"
    file.write_bytes(piped.stdout)
    assert f"{len(piped.stdout)} bytes" in piped.stderr.decode()
    assert backup.verify(file).size == len(piped.stdout)
    expect_failure(run("backup", "-", "--json"), 2, "--json")


# --- the cluster


def test_status_shows_every_member(run: Run, cluster: Cluster) -> None:
    text = run("status").stdout.decode()
    assert all(str(node.id) in text and node.address in text for node in cluster.nodes)
    assert text.endswith(
        f"3 of 3 reachable, {cluster.leader().address} leads, level {STATE_LEVEL}\n"
    )
    report = parsed(run("status", "--json"))
    assert report["leader"] == str(cluster.leader().id)
    levels = [report["level"], *[member["level"] for member in report["members"]]]
    assert levels == [STATE_LEVEL] * 4
    assert sorted(member["role"] for member in report["members"]) == [
        "follower",
        "follower",
        "leader",
    ]


def test_members_are_listed(run: Run, cluster: Cluster) -> None:
    members = parsed(run("member", "list", "--json"))
    assert {member["address"] for member in members} == set(cluster.addresses)
    assert {member["level"] for member in members} == {STATE_LEVEL}
    assert all(node.address in run("member", "list").stdout.decode() for node in cluster.nodes)


def test_a_complete_cluster_is_healthy(run: Run, cluster: Cluster) -> None:
    leads = cluster.leader().address
    assert run("health").stdout.decode() == f"ok: 3 of 3 voters answer\nok: {leads} leads\n"
    report = parsed(run("health", "--json"))
    assert report["severity"] == "ok"
    assert {each["check"] for each in report["findings"]} == {"majority", "leader"}


def test_a_member_can_be_named_by_an_id_prefix_or_an_address(run: Run, cluster: Cluster) -> None:
    for by_address in (True, False):
        successor = cluster.followers()[0]
        name = successor.address if by_address else successor.id.hex[:8]
        answer = parsed(run("member", "transfer", name, "--json"))
        assert answer == {"leader": str(successor.id)}
    expect_failure(run("member", "remove", "127.0.0.1:1"), 3, "no member", "127.0.0.1:1")
    with cluster.client() as client, pytest.raises(PeerNotFound):
        client.remove_node("fffe" * 3)


def test_status_and_health_show_unreachable_members(own_cluster: Cluster) -> None:
    url = ",".join(own_cluster.addresses)
    first, second = own_cluster.followers()
    own_cluster.kill(first)
    text = command.run("status", "--url", url).stdout.decode()
    assert "unreachable" in text
    assert "2 of 3 reachable" in text
    health = command.run("health", "--url", url)
    assert health.returncode == 1
    assert f"warning: {first.address} does not answer\n" in health.stdout.decode()
    own_cluster.kill(second)
    for verb in ("status", "health"):
        shown = command.run(verb, "--url", url)
        assert shown.returncode == 5, "no majority"
        assert second.address in shown.stdout.decode(), "what is known is printed all the same"
    expect_failure(command.run("get", "key", "--url", url, "--timeout", "1"), 6, "status")


def test_an_address_without_a_standby_node_cannot_be_added(tmp_path: Path) -> None:
    # A long election timeout, so that a leader with a slow disk keeps its role.
    patient = ("--election-timeout-min-ms", "2000", "--election-timeout-max-ms", "3000")
    with Cluster(1, directory=tmp_path, options=patient) as single:
        address = f"127.0.0.1:{free_port()}"
        place = ("--url", single.addresses[0], "--timeout", "1")
        expect_failure(command.run("member", "add", address, *place), 5, address, "--standby")


def standing_of(node: Node) -> str:
    """Return a node's standing by its own report, as the command line prints it."""
    ended = command.run("status", "--json", "--url", node.address)
    assert ended.returncode in (0, 5), ended  # 5 if its cluster does not serve
    shown = json.loads(ended.stdout)["members"]
    return next(str(each["standing"]) for each in shown if each["id"] == str(node.id))


def test_a_standby_node_is_added_and_removed(single: Cluster, tmp_path: Path) -> None:
    standby = Node(tmp_path / "standby", ["--standby"])
    try:
        standby.start()
        assert standing_of(standby) == "waiting"
        place = ("--url", single.addresses[0], "--timeout", "20")
        added = command.run("member", "add", standby.address, *place)
        assert (added.returncode, added.stdout) == (0, b"")
        assert standby.address in command.run("member", "list", *place).stdout.decode()
        assert command.run("member", "remove", str(standby.id), *place).returncode == 0
        wait_until(lambda: standing_of(standby) == "removed", "it has heard of its removal")
        text = command.run("status", "--url", standby.address).stdout.decode()
        led = f"1 of 1 reachable, {place[1]} leads, level {STATE_LEVEL}"
        assert text.endswith(f"{led}, {standby.address} was removed\n")
        assert len(parsed(command.run("member", "list", "--json", *place))) == 1
        expect_failure(command.run("member", "remove", str(standby.id), *place), 3, "member list")
    finally:
        standby.kill()


# --- terminals


def on_terminal(arguments: list[str], settings: dict[str, str]) -> bytes:
    """Return what a command prints on a terminal."""
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            command.command(*arguments),
            stdout=theirs,
            env=command.environment({"TERM": "xterm-256color", **settings}),
            check=True,
        )
        return os.read(ours, 65536)
    finally:
        os.close(theirs)
        os.close(ours)


def test_output_is_coloured_only_on_a_terminal_without_no_color(run: Run, cluster: Cluster) -> None:
    place = {"SKIFF_URL": cluster.addresses[0]}
    assert b"\x1b[" in on_terminal(["status"], place)
    assert b"\x1b[" not in on_terminal(["status"], {**place, "NO_COLOR": "1"})
    assert b"\x1b[" not in run("status").stdout


def test_a_value_gets_a_newline_only_on_a_terminal(run: Run, cluster: Cluster, key: str) -> None:
    run("insert", key, "x")
    assert on_terminal(["get", key], {"SKIFF_URL": cluster.addresses[0]}) == b"x\r\n"
    assert run("get", key).stdout == b"x"


# --- the demo


def test_the_demo_loses_no_write_and_leaves_no_files(tmp_path: Path) -> None:
    ended = command.run("demo", "--json", settings={"TMPDIR": str(tmp_path)})
    events = {event["event"]: event for event in map(json.loads, ended.stdout.splitlines())}
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert events["checked"]["missing"] == []
    assert events["checked"]["acknowledged"] > 1000
    assert events["resumed"]["interrupted_ms"] < 5000
    assert events["elected"]["id"] != events["killed"]["id"]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_leaves_no_files_or_processes(tmp_path: Path) -> None:
    with command.start(["demo", "--json"], {"TMPDIR": str(tmp_path)}) as demo:
        assert demo.stdout is not None
        while json.loads(demo.stdout.readline())["event"] != "writing":
            pass
        for _ in range(3):
            demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=command.SECONDS_MAX)
    assert demo.returncode == 130
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not processes_that_name(tmp_path), "no process is left")


def processes_that_name(place: Path) -> list[str]:
    table = subprocess.run(["ps", "-ax", "-o", "args="], capture_output=True, text=True, check=True)
    return [line for line in table.stdout.splitlines() if str(place) in line]
