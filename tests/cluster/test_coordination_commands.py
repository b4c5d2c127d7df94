"""Commands of coordination: lock, elect, queue, barrier, and watch with a command."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from skiff import Client
from skiff.cli.application import run
from skiff.cli.signals import SIGNALS
from skiff.testing import Cluster, Node
from tests.cluster import command

pytestmark = pytest.mark.cluster

TTL = "1"
SHOW_FENCE = "import os; print(os.environ['SKIFF_LOCK_KEY'], os.environ['SKIFF_LOCK_TOKEN'])"
SLEEP = "import time; print('runs', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
ORDERLY = """
import signal, sys, time
def end(number, frame):
    print("ends at", number, flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
print("runs", flush=True)
time.sleep(60)
"""
SHOW_CHANGE = """
import os, sys
kind, key, revision = (os.environ["SKIFF_CHANGE_" + name] for name in ("KIND", "KEY", "REVISION"))
print(kind, key, int(revision) > 0, repr(sys.stdin.read()), flush=True)
sys.exit(key == "w/bad")
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(1, directory=tmp_path_factory.mktemp("coordination")) as cluster:
        yield cluster


@pytest.fixture
def node(shared: Cluster) -> Node:
    return shared.nodes[0]


@pytest.fixture
def call(
    node: Node, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Call]:
    """Runs a command in this process, which takes less time; as the test has no standard input."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setenv("SKIFF_URL", node.address)

    def call_here(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        return (code, *capfd.readouterr())

    yield call_here
    for number, handler in handlers.items():
        signal.signal(number, handler)


def python(source: str) -> list[str]:
    return ["--", sys.executable, "-c", source]


@contextmanager
def running(node: Node, *arguments: str) -> Iterator[Any]:
    """Run a command during the block, which ends it."""
    process = command.start(arguments, {"SKIFF_URL": node.address})
    with process:
        try:
            yield process
        finally:
            process.terminate()


def line(process: Any) -> str:
    text: str = process.stdout.readline().decode()
    return text.removesuffix("\n")


def note(process: Any) -> str:
    text: str = process.stderr.readline().decode()
    return text.removesuffix("\n")


def end(process: Any) -> tuple[int, str, str]:
    """Wait for the end of a command; return its exit code and what else it printed."""
    printed, failed = process.stdout.read(), process.stderr.read()
    return process.wait(command.SECONDS_MAX), printed.decode(), failed.decode()


def keys(shared: Cluster, prefix: str) -> list[str]:
    with shared.client() as client:
        return client.list_keys(prefix)


# --- lock


def test_a_locked_command_knows_its_fence_and_gives_its_exit_code(
    shared: Cluster, call: Call
) -> None:
    code, printed, failed = call("lock", "l", *python(SHOW_FENCE))
    key, token = printed.split()
    assert (code, failed, key.startswith("l/lock-")) == (0, "", True)
    again = call("lock", "l", *python(SHOW_FENCE + "; raise SystemExit(9)"))
    assert again[0] == 9
    assert int(again[1].split()[1]) > int(token)
    assert call("lock", "l", *python("import os; os.kill(os.getpid(), 9)"))[0] == 137
    assert keys(shared, "l/") == []


def test_a_command_that_cannot_be_started_leaves_no_lock(shared: Cluster, call: Call) -> None:
    code, _, failed = call("lock", "x", "--", "/absent/command")
    assert code == 127
    assert failed == "skiff: error: cannot run '/absent/command': No such file or directory\n"
    assert call("lock", "x", "--", "/")[0] == 126
    assert keys(shared, "x/") == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["lock", "l"], "missing argument 'COMMAND'"),
        (["lock", "l", "--ttl", "0.5", "--", "true"], "a lease lasts from 1000 ms"),
        (["lock", "l", "--timeout", "-1", "--", "true"], "timeout"),
        (["lock", "", "--", "true"], "a key cannot be empty"),
        (["elect", "e"], "give the VALUE"),
        (["elect", "e", "v", "--listen"], "--listen goes without VALUE"),
        (["queue", "put", "q", "a", "-"], "goes without other values"),
        (["queue", "put", "q", "{", "--json-value"], "the value is not JSON"),
        (["barrier", "enter", "b", "0", "--", "true"], "parties must be"),
        (["watch", "w/", "--prev-value", "--", "true"], "--prev-value needs --json"),
    ],
)
def test_wrong_usage_is_refused(call: Call, arguments: list[str], reason: str) -> None:
    code, printed, failed = call(*arguments)
    assert (code, printed, failed.count("\n")) == (2, "", 1)
    assert reason in failed


def test_two_contenders_run_one_after_the_other(shared: Cluster, node: Node, call: Call) -> None:
    with running(node, "lock", "c", *python(ORDERLY)) as first:
        assert line(first) == "runs"
        code, printed, failed = call("lock", "c", "--timeout", "0", "--", "true")
        assert (code, printed) == (6, "")
        assert failed == "skiff: error: lock 'c' was not free\n"
        with running(node, "lock", "c", *python(SHOW_FENCE)) as second:
            assert note(second) == "skiff: waiting for lock 'c'"
            first.terminate()
            assert end(first) == (7, "ends at 15\n", "")
            assert end(second)[0] == 0
    assert keys(shared, "c/") == []


def test_an_interrupt_is_passed_on_to_the_command(node: Node) -> None:
    with running(node, "lock", "i", *python(ORDERLY)) as process:
        assert line(process) == "runs"
        process.send_signal(signal.SIGINT)
        assert end(process) == (7, "ends at 2\n", "")


def test_a_contender_that_gets_a_signal_leaves_the_line(shared: Cluster, node: Node) -> None:
    with running(node, "lock", "s", *python(SLEEP)) as first:
        assert line(first) == "runs"
        with running(node, "lock", "s", *python(SLEEP)) as second:
            assert note(second) == "skiff: waiting for lock 's'"
            assert len(keys(shared, "s/")) == 2
            second.terminate()
            assert end(second) == (143, "", "")
        assert len(keys(shared, "s/")) == 1


def test_a_lost_lock_ends_its_command(shared: Cluster, node: Node, call: Call) -> None:
    lock = ("lock", "--ttl", TTL, "--kill-after", "0.3")
    with (
        running(node, *lock, "y1", *python(SLEEP)) as yielding,
        running(node, *lock, "y2", *python(STUBBORN)) as stubborn,
        running(node, "queue", "take", "y3", "--ttl", TTL, *python(SLEEP)) as consumer,
        running(node, "elect", "y4", "v", "--ttl", TTL) as leader,
    ):
        call("queue", "put", "y3", "item")
        for process in (yielding, stubborn, consumer):
            assert line(process) == "runs"
        assert int(line(leader)) > 0
        shared.pause(node)
        try:
            lost = [note(process) for process in (yielding, stubborn, consumer)]
            assert note(stubborn) == "skiff: the command has not ended: it gets SIGKILL"
            assert "the leadership of 'y4' is lost" in note(leader)  # its lease may end last
        finally:
            shared.resume(node)
        assert [each.removesuffix(" is lost: the command gets SIGTERM") for each in lost] == [
            "skiff: lock 'y1'",
            "skiff: lock 'y2'",
            "skiff: the claim of the item",
        ]
        for process in (yielding, stubborn, consumer):
            code, _, failed = end(process)
            assert (code, failed.count("\n")) == (4, 1)
            assert "lost" in failed
        assert end(leader) == (4, "", "")
    assert call("queue", "take", "y3", "--timeout", "20")[:2] == (0, "item")


# --- elections


def test_leadership_passes_on_when_its_process_is_killed_or_resigns(node: Node) -> None:
    with (
        running(node, "elect", "e", "first", "--ttl", TTL) as first,
        running(node, "elect", "e", "--listen") as observer,
    ):
        token = int(line(first))
        while (seen := line(observer)) == "-":
            pass
        assert seen == f'{token} "first"'
        with running(node, "elect", "e", '{"at": 2}', "--json-value", "--json") as second:
            assert note(second) == "skiff: waiting for the leadership of 'e'"
            first.kill()
            leads = json.loads(line(second))
            assert leads["token"] > token
            assert line(observer) == f'{leads["token"]} {{"at":2}}'
            second.terminate()
            assert end(second) == (0, "", "")
        assert line(observer) == "-"
        observer.send_signal(signal.SIGINT)
        assert end(observer) == (130, "", "")


def test_a_leader_whose_key_was_removed_says_so_when_it_resigns(
    shared: Cluster, node: Node
) -> None:
    with running(node, "elect", "removed", "value") as leader:
        assert int(line(leader)) > 0
        with shared.client() as client:
            assert client.remove_prefix("removed/") == 1
        leader.terminate()
        code, _, failure = end(leader)
        assert (code, "was lost" in failure) == (4, True)


def test_an_election_that_is_not_won_in_time_is_a_timeout(node: Node, call: Call) -> None:
    with running(node, "elect", "t", "first") as first:
        line(first)
        code, printed, failed = call("elect", "t", "second", "--timeout", "0")
        assert (code, printed, failed.count("\n")) == (6, "", 1)


# --- queues


def test_items_are_put_and_taken_in_order(node: Node, call: Call) -> None:
    assert call("queue", "put", "q", "one", "two\n")[:2] == (0, "2\n")
    put = ("queue", "put", "q", "-")
    place = {"SKIFF_URL": node.address}
    done = command.run(*put, "--json", given=b"three\n\xff\n{}", settings=place)
    assert done.stdout == b'{"queue":"q","count":3}\n'
    done = command.run(*put, "--json-value", given=b'{"six": 6}\n', settings=place)
    assert done.stdout == b"1\n"
    assert call("queue", "size", "q") == (0, "6\n", "")
    assert call("queue", "take", "q") == (0, "one", "")
    assert call("queue", "take", "q") == (0, "two\n", "")
    assert call("queue", "take", "q", "--json")[1] == '{"value":"three"}\n'
    assert call("queue", "take", "q", "--json")[1] == '{"value":"/w==","encoding":"base64"}\n'
    followed = call("queue", "take", "q", "--follow", "--timeout", "0")
    assert followed == (0, '{}\n{"six":6}\n', "")
    lines = b"".join(b"%d\n" % number for number in range(1001))
    assert command.run(*put, given=lines, settings=place).stdout == b"1001\n"
    assert call("queue", "size", "q") == (0, "1001\n", "")
    with Client(node.address) as client:
        client.remove_prefix("q/item-")
    code, printed, failed = call("queue", "take", "q", "--timeout", "0")
    assert (code, printed) == (6, "")
    assert failed == "skiff: error: queue 'q' had no free item\n"
    assert json.loads(call("queue", "size", "q", "--json")[1]) == {"queue": "q", "size": 0}


def test_an_item_goes_only_with_a_command_that_succeeds(call: Call) -> None:
    echo = "import sys; print(sys.stdin.read()); sys.exit(%d)"
    call("queue", "put", "f", "first", "second")
    assert call("queue", "take", "f", "--follow", *python(echo % 5)) == (5, "first\n", "")
    assert call("queue", "take", "f", "--", "/absent/command")[0] == 127
    assert call("queue", "size", "f")[1] == "2\n"
    drained = call("queue", "take", "f", "--follow", "--timeout", "0", *python(echo % 0))
    assert drained == (0, "first\nsecond\n", "")
    assert call("queue", "size", "f")[1] == "0\n"


def test_an_item_stays_if_nobody_reads_it(node: Node, call: Call) -> None:
    call("queue", "put", "r", "item")
    process = command.start(["queue", "take", "r"], {"SKIFF_URL": node.address})
    with process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(command.SECONDS_MAX) == 141
    assert call("queue", "take", "r", "--timeout", "0")[1] == "item"


def test_a_value_that_json_cannot_carry_does_not_block_a_queue(node: Node, call: Call) -> None:
    with Client(node.address) as client:
        client.queue("j").put_many([{(1, 2): 3}, "next"])
    code, printed, failed = call("queue", "take", "j", *python("raise SystemExit(9)"))
    assert (code, printed) == (1, "")
    assert "cannot be shown as JSON" in failed
    code, printed, noted = call("queue", "take", "j")
    assert (code, printed) == (0, "{(1, 2): 3}")
    assert "JSON cannot carry the value of 'j'" in noted
    assert call("queue", "take", "j") == (0, "next", "")


# --- barriers


def test_a_barrier_holds_until_it_is_removed(node: Node, call: Call) -> None:
    assert call("barrier", "wait", "b") == (0, "", "")
    assert call("barrier", "create", "b", "--json")[1] == '{"barrier":"b","created":true}\n'
    assert call("barrier", "create", "b")[0] == 4
    assert call("barrier", "wait", "b", "--timeout", "0")[0] == 6
    with running(node, "barrier", "wait", "b") as waiting:
        assert note(waiting) == "skiff: waiting for the removal of barrier 'b'"
        assert call("barrier", "remove", "b") == (0, "", "")
        assert end(waiting) == (0, "", "")
    assert call("barrier", "remove", "b")[0] == 3


def test_parties_begin_together(node: Node, call: Call) -> None:
    with running(node, "barrier", "enter", "d", "2", *python("print('first')")) as first:
        assert note(first) == "skiff: waiting for double barrier 'd'"
        second = call("barrier", "enter", "d", "2", *python("raise SystemExit(3)"))
        assert second[0] == 3
        assert end(first) == (0, "first\n", "")


# --- watches


def test_a_command_runs_for_each_change(shared: Cluster, node: Node) -> None:
    with shared.client() as client:
        client.insert("w/old", "there")
        watch = ("watch", "w/", "--initial", "--count", "4", *python(SHOW_CHANGE))
        with running(node, *watch) as watching:
            assert line(watching) == "insert w/old True 'there'"
            client.insert("w/bad", {"x": 1})
            client.insert("w/grüße", "")
            client.remove("w/bad")
            code, printed, failed = end(watching)
    assert code == 0
    assert printed.splitlines() == [
        r"""insert w/bad True '{"x":1}\n'""",
        "insert w/grüße True ''",
        "remove w/bad True ''",
    ]
    assert [each.partition(" for ")[0] for each in failed.splitlines()] == [
        "skiff: the command ended with 1"
    ] * 2


def test_a_command_of_a_watch_gets_json_on_request(shared: Cluster, call: Call) -> None:
    with shared.client() as client:
        since = client.insert("j", b"\xff")
        client.insert("j", "x")
    watch = ("watch", "j", "--since", str(since), "--count", "1", "--json", "--prev-value")
    code, printed, _ = call(*watch, *python("import sys; print(sys.stdin.read())"))
    change = json.loads(printed)
    assert (code, change["value"], change["prev_value"]) == (0, "x", "/w==")
    assert call("watch", "j", "--initial", "--", "/absent/command")[0] == 127


def test_a_signal_ends_a_watch_after_its_command(shared: Cluster, node: Node) -> None:
    with shared.client() as client:
        client.insert("v", "x")
    with running(node, "watch", "v", "--initial", *python(ORDERLY)) as watching:
        assert line(watching) == "runs"
        watching.terminate()
        code, printed, failed = end(watching)
    assert (code, printed) == (143, "ends at 15\n")
    assert "the command ended with 7" in failed
