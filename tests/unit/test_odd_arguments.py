"""Odd arguments: what is a str by its class alone, and numbers that no message can carry."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from protocol.encoding import encode
from skiff import (
    Check,
    Client,
    Fence,
    Get,
    Increment,
    Insert,
    InvalidRequest,
    Remove,
    RemovePrefix,
    reads,
    rights,
    writes,
)
from skiff.arguments import LINEARIZABLE, check_key, check_prefix
from skiff.method import ExactlyOnce, Method
from skiff.namespace import KeyNames
from skiff.operations import Operation
from skiff.recipes.barrier import barrier_key
from skiff.recipes.double_barrier import gathering
from skiff.recipes.election import election_contest
from skiff.recipes.lock import lock_contest
from skiff.recipes.party import party_contest
from skiff.recipes.queue import check_queue
from skiff.recipes.read_write_lock import Sides
from skiff.recipes.semaphore import semaphore_contest

NOWHERE = "127.0.0.1:1"


class Markup(str):
    """Text that is shown, and joined, in another way, as that of markupsafe."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    def __format__(self, spec: str) -> str:
        return "shown"

    def __add__(self, other: str) -> "Markup":
        return Markup(f"{self!s}{other}")


class Color(str, Enum):  # noqa: UP042 - unlike a StrEnum, it is shown by its name
    RED = "colors/red"


ODD = Markup("a/b")
READ: Any = Markup("read")
OPERATIONS: list[Operation] = [
    Insert(Markup("a/1"), 1),
    Remove(Markup("a/2")),
    RemovePrefix(Markup("b")),
    Increment(Markup("a/3")),
    Get(Markup("a/4")),
]
METHODS: dict[str, Callable[[], Method[Any]]] = {
    "insert": lambda: writes.insert(ODD, 1, None),
    "insert with a TTL": lambda: writes.insert(ODD, 1, None, ttl=5),
    "fenced insert": lambda: writes.insert(ODD, 1, None, fence=Fence(ODD, 1)),
    "remove": lambda: writes.remove(ODD, None),
    "swap": lambda: writes.swap(ODD, 1, Any),
    "pop": lambda: writes.pop(ODD, Any),
    "increment": lambda: writes.increment(ODD, 1),
    "remove_prefix": lambda: writes.remove_prefix(ODD),
    "insert_many": lambda: writes.insert_many({ODD: 1}),
    "transact": lambda: writes.transact([Check(ODD, exists=True)], OPERATIONS, OPERATIONS),
    "get": lambda: reads.get(ODD, Any, None, LINEARIZABLE),
    "get_entry": lambda: reads.get_entry(ODD, Any, LINEARIZABLE),
    "get_many": lambda: reads.get_many([ODD, "c"], Any, LINEARIZABLE),
    "list_keys": lambda: reads.list_keys(ODD, None, ODD, LINEARIZABLE, reverse=False),
    "get_prefixes": lambda: reads.get_prefixes(ODD, LINEARIZABLE),
    "count": lambda: reads.count(ODD, LINEARIZABLE),
    "grant": lambda: rights.grant(Markup("role"), READ, ODD),
}
CONTESTS: dict[str, Callable[[str], str]] = {
    "lock": lambda name: lock_contest(name, 10, None).new_key(),
    "semaphore": lambda name: semaphore_contest(name, 2, 10, None).new_key(),
    "read/write lock": lambda name: Sides(name, 10, None).reader.new_key(),
    "election": lambda name: election_contest(name, 10).new_key(),
    "double barrier": lambda name: gathering(name, 2, 10, None).new_key(),
    "party": lambda name: party_contest(name, 10).new_key(),
    "barrier": barrier_key,
    "queue": lambda name: check_queue(name, Any, 10).counter,
}


@pytest.mark.parametrize("begin", METHODS.values(), ids=METHODS)
def test_a_key_or_prefix_of_a_subclass_of_str_is_sent_as_the_text_that_it_is(
    begin: Callable[[], Method[Any]],
) -> None:
    asked = next(begin())
    sent = encode(asked.command if isinstance(asked, ExactlyOnce) else asked.operation)
    assert b"shown" not in sent


@pytest.mark.parametrize("key_of", CONTESTS.values(), ids=CONTESTS)
def test_the_name_of_a_recipe_is_the_text_that_it_is(key_of: Callable[[str], str]) -> None:
    assert key_of(ODD).startswith("a/b/")
    assert key_of(Color.RED).startswith("colors/red/")


def test_keys_and_prefixes_become_plain_text() -> None:
    for check in (check_key, check_prefix, KeyNames("", Any).key):
        assert {type(check(each)) for each in (ODD, Color.RED, "plain")} == {str}
    assert KeyNames(ODD, Any).key(Markup("c")) == "a/bc"


@pytest.mark.parametrize("token", [1 << 63, 1 << 64, True, 0, -1])
def test_the_token_of_a_fence_is_a_revision(token: int) -> None:
    with Client(NOWHERE) as client, pytest.raises(InvalidRequest, match="fence"):
        client.insert("a", 1, fence=Fence("lock", token))
    with Client(NOWHERE) as client, pytest.raises(InvalidRequest, match="fence"):
        client.transact([], [Insert("a", 1)], fence=Fence("lock", token))


def test_a_namespace_is_under_text() -> None:
    nothing: Any = None
    with Client(NOWHERE) as client, pytest.raises(InvalidRequest, match="prefix"):
        client.namespace("a").namespace(nothing)
