"""Odd values: what commands print of keys and values that text or JSON cannot carry."""

import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from skiff.client import Client
from skiff.testing import Cluster, Node
from tests.cluster.command import command, environment
from tests.cluster.test_transact_command import call

STRANGE = msgspec.Raw(b"\x81\x80\x01")  # a map with a map as its key
BASE64 = "gYAB"

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Cluster(1, directory=tmp_path_factory.mktemp("odd")) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with node.client() as client:
        yield client


def noted(called: tuple[int, str, str], note: str) -> str:
    """Return what a command printed that succeeded with this note."""
    code, printed, notes = called
    assert (code, notes) == (0, f"skiff: {note}\n")
    return printed


@pytest.mark.parametrize(
    ("value", "shown"),
    [(math.nan, "nan"), ([1, {"x": -math.inf}], "[1, {'x': -inf}]"), ({(1, 2): 3}, "{(1, 2): 3}")],
)
def test_a_value_that_json_cannot_carry_is_shown_as_its_repr(
    node: Node, client: Client, value: object, shown: str
) -> None:
    client.insert("odd", value)
    note = "JSON cannot carry the value of 'odd': shown as its Python repr"
    assert noted(call(node, "get", "odd"), note) == shown
    assert json.loads(noted(call(node, "get", "odd", "--json"), note))["value"] == shown
    assert noted(call(node, "scan", "odd"), note) == f'odd "{shown}"\n'
    many = noted(call(node, "get-many", "odd", "--json"), note)
    assert json.loads(many) == {"odd": shown}


def test_a_transaction_that_was_done_is_printed_whatever_it_has_read(
    node: Node, client: Client
) -> None:
    client.insert("pair", {(1, 2): 3})
    client.insert("map", STRANGE)
    reads = [{"op": "get", "key": key} for key in ("pair", "map")]
    given = {"then": [{"op": "increment", "key": "n"}, *reads]}
    code, printed, notes = call(node, "transact", "--json", given=given)
    done, pair, strange = json.loads(printed)["results"]
    assert (code, done, client.get("n")) == (0, 1, 1)
    assert pair["value"] == "{(1, 2): 3}"
    assert (strange["value"], strange["stored"]) == (None, BASE64)
    assert [note.split(":")[1] for note in notes.splitlines()] == [
        " JSON cannot carry the value of 'pair'",
        " Python cannot hold the value of 'map'",
    ]
    code, printed, _ = call(node, "transact", given=given)
    assert (code, printed.splitlines()[0], json.loads(printed.splitlines()[1])) == (0, "2", pair)


STRANGE_NOTE = "Python cannot hold the value of {!r}: shown as its stored bytes in base64"


def test_a_read_goes_on_after_a_value_that_python_cannot_hold(node: Node, client: Client) -> None:
    client.insert_many({"s/1": STRANGE, "s/2": msgspec.Raw(b"\xd4\xff\x00"), "s/3": "next"})
    note = STRANGE_NOTE.format("s/1")
    assert noted(call(node, "get", "s/1"), note) == f"{BASE64}\n"
    entry = json.loads(noted(call(node, "get", "s/1", "--json"), note))
    assert (entry["value"], entry["stored"], entry["version"]) == (None, BASE64, 1)
    assert json.loads(noted(call(node, "get-many", "s/1", "--json"), note)) == {"s/1": BASE64}
    both = f"{note}\nskiff: {STRANGE_NOTE.format('s/2')}"
    lines = f's/1 "{BASE64}"\ns/2 "1P8A"\ns/3 "next"\n'
    assert noted(call(node, "get-many", "s/1", "s/2", "s/3"), both) == lines
    assert noted(call(node, "scan", "s/"), both) == lines
    entries = [json.loads(line) for line in call(node, "scan", "s/", "--json")[1].splitlines()]
    assert [(each["value"], each.get("stored")) for each in entries] == [
        (None, BASE64),
        (None, "1P8A"),
        ("next", None),
    ]


def test_a_watch_goes_on_after_a_value_that_python_cannot_hold(node: Node, client: Client) -> None:
    since = client.insert("w", STRANGE) - 1
    client.insert("w", msgspec.Raw(b"\xc1"))  # no MessagePack at all
    client.insert("w", "next")
    note = STRANGE_NOTE.format("w")
    watch = ("watch", "w", "--since", str(since), "--count", "3")
    code, printed, notes = call(node, *watch, "--prev-value")
    assert (code, notes.count(note)) == (0, 4)
    values = [line.split(" ", 3)[3] for line in printed.splitlines()]
    assert values == [f'"{BASE64}"', f'"wQ==" was "{BASE64}"', '"next" was "wQ=="']
    code, printed, _ = call(node, *watch, "--prev-value", "--json")
    changes = [json.loads(line) for line in printed.splitlines()]
    assert [each["value"] for each in changes] == [None, None, "next"]
    assert [each.get("stored") for each in changes] == [BASE64, "wQ==", None]
    assert [each.get("prev_stored") for each in changes] == [None, BASE64, "wQ=="]
    code, printed, _ = call(node, *watch, "--", "cat")
    assert (code, printed) == (0, f"{BASE64}\nwQ==\nnext")


def test_a_key_with_line_ends_forges_no_lines(node: Node, client: Client) -> None:
    key = "k\n1 insert fake 2/\x1b[1mgrüße"
    since = client.insert(key, 1) - 1
    shown = r"k\n1 insert fake 2/\x1b[1mgrüße"
    assert call(node, "list", "k") == (0, f"{shown}\n", "")
    assert call(node, "prefixes", "k") == (0, f"{shown.partition('/')[0]}\n", "")
    assert call(node, "scan", "k")[1] == call(node, "get-many", key)[1] == f"{shown} 1\n"
    watch = ("watch", "k", "--since", str(since), "--count", "1")
    assert call(node, *watch)[1] == f"{since + 1} insert {shown} 1\n"
    assert json.loads(call(node, "list", "k", "--json")[1]) == [key]


def test_an_item_that_python_cannot_hold_is_taken(node: Node, client: Client) -> None:
    client.queue("jobs").put(STRANGE)
    client.queue("jobs").put("next")
    note = STRANGE_NOTE.format("jobs")
    with_command = call(node, "queue", "take", "jobs", "--", "cat")
    assert with_command[0] != 0
    assert "the value of 'jobs' is not of type" in with_command[2]
    assert noted(call(node, "queue", "take", "jobs"), note) == f"{BASE64}\n"
    assert call(node, "queue", "take", "jobs", "--", "cat") == (0, "next", "")


def test_a_path_that_is_not_utf8_is_printed(node: Node, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd\xff"
    made = run_on_odd_path("keygen", "cluster", odd)
    assert odd in made
    done = run_on_odd_path("backup", odd + b"/backup", "--json", "--url", node.address)
    assert json.loads(done)["file"] == f"{tmp_path}/odd\\xff/backup"


def run_on_odd_path(*arguments: str | bytes) -> bytes:
    """Run a command in a process of its own; return what it printed."""
    line = [*map(os.fsencode, command()), *map(os.fsencode, arguments)]
    return subprocess.run(line, env=environment(), capture_output=True, check=True).stdout


def test_an_address_that_no_host_can_have_is_not_reachable(node: Node) -> None:
    code, printed, _ = call(node, "status", "--url", f"{node.address},a..b:9400")
    assert (code, node.address in printed) == (0, True)
