"""Commands that read: get-many, scan, list, prefixes and count, and the modes of a read."""

import json
from collections.abc import Iterator

import pytest

from skiff.testing import Cluster, Node
from tests.cluster.test_transact_command import call

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Cluster(1, directory=tmp_path_factory.mktemp("reads")) as cluster:
        with cluster.client() as client:
            client.insert_many({"a/1": "one", "a/2": {"x": 1}, "a/3": b"\xff", "b": 5})
        yield cluster.nodes[0]


def test_get_many_prints_what_exists_and_names_what_does_not(node: Node) -> None:
    assert call(node, "get-many", "a/1", "b", "a/2") == (0, 'a/1 "one"\nb 5\na/2 {"x":1}\n', "")
    code, printed, failed = call(node, "get-many", "none", "a/3", "void", "--json")
    assert (code, json.loads(printed)) == (3, {"a/3": "/w=="})
    assert failed == "skiff: error: no such key: 'none', 'void'\n"


def test_scan_prints_entries_in_either_direction(node: Node) -> None:
    assert call(node, "scan", "a/", "--limit", "2")[1] == 'a/1 "one"\na/2 {"x":1}\n'
    code, printed, _ = call(node, "scan", "--reverse", "--start-after", "b", "--json")
    entries = [json.loads(line) for line in printed.splitlines()]
    assert (code, [each["key"] for each in entries]) == (0, ["a/3", "a/2", "a/1"])
    assert entries[0] == {
        "key": "a/3",
        "value": "/w==",
        "revision": 1,
        "create_revision": 1,
        "version": 1,
        "lease": None,
        "ttl": None,
        "encoding": "base64",
    }
    assert call(node, "scan", "none") == (0, "", "")


def test_names_are_printed_in_either_direction_and_counted(node: Node) -> None:
    assert call(node, "list", "a/", "--reverse", "--start-after", "a/3")[1] == "a/2\na/1\n"
    assert call(node, "count") == (0, "4\n", "")
    assert json.loads(call(node, "count", "a/", "--json")[1]) == {"prefix": "a/", "count": 3}
    assert call(node, "prefixes", "--read", "stale") == (0, "a\n", "")


@pytest.mark.parametrize("command", [["get", "b"], ["get-many", "b"], ["scan"], ["count"]])
def test_stale_reads_have_bounds(node: Node, command: list[str]) -> None:
    stale = ("--read", "stale", "--max-staleness", "0.5", "--at-least", "1")
    assert call(node, *command, *stale)[0] == 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["get", "b", "--read", "eventual"], "'eventual' is not one of"),
        (["get-many", "b", "--max-staleness", "1"], 'max_staleness is for read="stale"'),
        (["scan", "--read", "stale", "--max-staleness", "0"], "must be a positive number"),
        (["list", "--at-least", "-1"], "at_least must be from 0"),
        (["count", "--at-least", "99"], "revision 99 is from the future: the state has revision 1"),
    ],
)
def test_a_mode_that_cannot_be_served_is_a_usage_error(
    node: Node, command: list[str], reason: str
) -> None:
    code, printed, failed = call(node, *command)
    assert (code, printed) == (2, "")
    assert reason in failed
