"""Commands of transactions: transact, increment, and remove with a prefix."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from skiff.testing import Cluster, Node
from tests.cluster.command import run

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Cluster(1, directory=tmp_path_factory.mktemp("transact")) as cluster:
        yield cluster.nodes[0]


def call(node: Node, *arguments: str, given: object = None) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it printed."""
    text = b"" if given is None else json.dumps(given).encode()
    done = run(*arguments, given=text, settings={"SKIFF_URL": node.address})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_transaction_prints_a_result_for_each_operation(node: Node) -> None:
    call(node, "insert", "t/a", "text")
    transaction = {
        "checks": [{"key": "t/a", "exists": True, "version": 1, "value": "text"}],
        "then": [
            {"op": "insert", "key": "t/b", "value": {"x": 1}},
            {"op": "increment", "key": "t/n", "by": 5},
            {"op": "get", "key": "t/a"},
            {"op": "get", "key": "t/none"},
            {"op": "remove", "key": "t/a"},
            {"op": "remove_prefix", "prefix": "t/none"},
        ],
    }
    code, printed, _ = call(node, "transact", given=transaction)
    revision, total, entry, *others = [json.loads(line) for line in printed.splitlines()]
    assert (code, total, others) == (0, 5, [None, True, 0])
    assert (entry["key"], entry["value"]) == ("t/a", "text")
    code, printed, failed = call(node, "transact", "--json", given=transaction)
    assert json.loads(printed) == {"succeeded": False, "revision": revision, "results": []}
    assert (code, failed) == (4, "skiff: error: a check failed\n")


def test_an_insert_may_have_a_ttl_or_a_lease(node: Node) -> None:
    insert = {"op": "insert", "key": "t/l", "value": 1, "ttl": 60}
    given = {"then": [insert, {"op": "get", "key": "t/l"}]}
    code, printed, _ = call(node, "transact", given=given)
    assert (code, json.loads(printed.splitlines()[1])["ttl"]) == (0, 60)
    insert = {"op": "insert", "key": "t/l", "value": 1, "lease": 1 << 40}
    code, _, failed = call(node, "transact", given={"then": [insert]})
    assert (code, "was never granted; nothing was written" in failed) == (3, True)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("then", "not a transaction"),
        ({}, "missing required field `then`"),
        ({"then": [{"op": "frob"}]}, "Invalid value 'frob'"),
        ({"then": [{"op": "get", "key": "a", "kye": 1}]}, "unknown field `kye`"),
        ({"then": [{"op": "remove", "key": "a"}] * 2}, "written twice"),
        ({"checks": [{"key": "a"}], "then": []}, "the check of 'a' needs a condition"),
    ],
)
def test_an_invalid_transaction_is_a_usage_error(node: Node, given: Any, reason: str) -> None:
    code, printed, failed = call(node, "transact", given=given)
    assert (code, printed) == (2, "")
    assert reason in failed


def test_an_increment_prints_the_sum(node: Node) -> None:
    assert call(node, "increment", "n")[:2] == (0, "1\n")
    assert call(node, "increment", "n", "--json", "--", "-3")[:2] == (0, '{"key":"n","value":-2}\n')
    call(node, "insert", "word", "five")
    code, _, failed = call(node, "increment", "word")
    assert (code, "does not hold a 64-bit integer" in failed) == (4, True)


def test_a_prefix_is_removed_after_a_confirmation(node: Node) -> None:
    for key in ("p/1", "p/2"):
        call(node, "insert", key, "")
    code, _, failed = call(node, "remove", "p/", "--prefix")
    assert (code, "--yes" in failed) == (2, True)
    assert call(node, "remove", "p/", "--prefix", "--if-revision", "1", "--yes")[0] == 2
    assert call(node, "remove", "p/", "--prefix", "--yes")[:2] == (0, "2\n")
    removed = call(node, "remove", "p/", "--prefix", "--yes", "--json")
    assert removed[:2] == (0, '{"prefix":"p/","count":0}\n')
