"""Arguments: invalid ones are refused before any request is sent."""

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.encoding import encode
from skiff import AsyncClient, Check, Client, Increment, Insert, InvalidAddress, InvalidRequest
from skiff.arguments import milliseconds_of
from skiff.operations import check_of

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    "timeout", [-1, -1.0, 0, math.nan, pytest.param(10**400, id="huge"), "5", [1]]
)
def test_a_timeout_is_a_positive_number(timeout: Any) -> None:
    with Client(NOWHERE) as client:
        with pytest.raises(InvalidRequest, match="timeout must be a positive number"):
            client.get("key", timeout=timeout)
        with pytest.raises(InvalidRequest, match="timeout must be a positive number"):
            client.watch(timeout=timeout)
    with pytest.raises(InvalidRequest, match="timeout must be a positive number"):
        Client(NOWHERE, timeout=timeout)


@pytest.mark.parametrize("limit", [-1, -10_000, 1.5, "1", True])
def test_a_limit_is_a_non_negative_integer(limit: Any) -> None:
    with (
        Client(NOWHERE) as client,
        pytest.raises(InvalidRequest, match="limit must be a whole number from 0 on"),
    ):
        client.list_keys(limit=limit)


@pytest.mark.parametrize(
    ("checks", "then", "reason"),
    [
        ([], [], "neither checks nor operations"),
        (None, [Insert("a", 1)], "checks must be a collection"),
        ([], Insert("a", 1), "then must be a collection"),
        ([], [Increment("a", "1")], "by must be a whole number of 64 bits"),  # type: ignore[arg-type]
        ([], [Increment("a", 1 << 63)], "by must be a whole number of 64 bits"),
        ([], [Increment("a", True)], "by must be a whole number of 64 bits"),
        ([Check("a", exists=1)], [], "exists must be True, False or None"),  # type: ignore[arg-type]
        ([Check("a", revision="1")], [], "revision must be an int"),  # type: ignore[arg-type]
        ([Check("a", create_revision=-1)], [], "create_revision must be from 0"),
        ([Check("a", version=1 << 63)], [], "version must be from 0"),
        ([Check("a")], [Insert("b", 1)], "the check of 'a' needs a condition: exists, revision"),
        ([Check("a", exists=True), Check("b", exists=None)], [], "the check of 'b' needs a cond"),
    ],
)
def test_a_transaction_has_operations_and_conditions_of_their_types(
    checks: Any, then: Any, reason: str
) -> None:
    with Client(NOWHERE) as client, pytest.raises(InvalidRequest, match=reason):
        client.transact(checks, then)


def test_null_is_a_value_to_compare_with() -> None:
    assert check_of(Check("a", value=None)).value == encode(None)


@pytest.mark.parametrize("values", [{}, [("a", 1)], None])
def test_values_to_insert_are_a_mapping_with_keys(values: Any) -> None:
    reason = "must be a mapping|neither checks nor operations"
    with Client(NOWHERE) as client, pytest.raises(InvalidRequest, match=reason):
        client.insert_many(values)


def test_a_transaction_without_reads_and_writes_sends_nothing() -> None:
    with Client(NOWHERE) as client:
        with client.transaction() as transaction:
            pass
        assert transaction.revision is None


# --- addresses

CLIENTS = pytest.mark.parametrize("client", [Client, AsyncClient])


@CLIENTS
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"127.0.0.1:9400", "addresses are a str or a collection of str, not b'127"),
        (bytearray(b"a"), "addresses are a str or a collection of str"),
        ({"a": 1}, "addresses are a str or a collection of str, not {'a': 1}"),
        (5, "addresses are a str or a collection of str, not 5"),
        (["a:1", 5], "an address is a str, not 5"),
        ([b"a:1"], "an address is a str, not b'a:1'"),
    ],
)
def test_addresses_are_text(client: type[Client | AsyncClient], target: Any, reason: str) -> None:
    with pytest.raises(InvalidAddress, match=reason):
        client(target)


@CLIENTS
def test_addresses_may_come_from_any_collection(client: type[Client | AsyncClient]) -> None:
    for target in (("a:1", "b:2"), {"a:1": None, "b:2": None}.keys(), iter(["a:1", "b:2"])):
        assert "a:1, b:2" in repr(client(target))


@CLIENTS
@pytest.mark.parametrize("given", [0, 1, None, "yes"])
def test_following_the_leader_is_a_bool(client: type[Client | AsyncClient], given: Any) -> None:
    with pytest.raises(InvalidRequest, match="follow_leader must be True or False, not"):
        client(NOWHERE, follow_leader=given)


# --- functions


async def _five() -> int:
    return 5


def _six() -> Iterator[int]:
    yield 6


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (42, "must be a coroutine function, not 42"),
        (None, "must be a coroutine function, not None"),
        (lambda transaction: transaction.insert("a", 1), "not one that returns NoneType"),
        (lambda _: 5, "not one that returns int"),
    ],
)
def test_an_asyncio_transaction_is_run_by_a_coroutine_function(function: Any, reason: str) -> None:
    async def run() -> None:
        async with AsyncClient(NOWHERE) as client:
            await client.run_transaction(function)

    with pytest.raises(InvalidRequest, match=reason):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (42, "must be an ordinary function, not 42"),
        (_five, "must be an ordinary function, not <function"),
        (lambda _: _five(), "not one that returns coroutine"),
        (_six, "must be an ordinary function, not <function"),
        (lambda _: _six(), "not one that returns generator"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_blocking_transaction_is_run_by_an_ordinary_function(function: Any, reason: str) -> None:
    with Client(NOWHERE) as client, pytest.raises(InvalidRequest, match=reason):
        client.run_transaction(function)


def test_an_asyncio_transaction_is_run_by_any_function_that_returns_an_awaitable() -> None:
    async def run() -> None:
        async with AsyncClient(NOWHERE) as client:
            assert await client.run_transaction(lambda _: _five()) == 5
            assert await client.run_transaction(lambda _: asyncio.ensure_future(_five())) == 5

    asyncio.run(run())


@pytest.mark.parametrize(("ttl", "milliseconds"), [(16.1, 16_100), (1.0001, 1001), (2, 2000)])
def test_a_ttl_is_rounded_up_to_milliseconds_and_not_by_a_floating_point_error(
    ttl: float, milliseconds: int
) -> None:
    assert milliseconds_of(ttl) == milliseconds


@pytest.mark.parametrize("prefix", [None, 5, b"a/"])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_prefix_of_a_namespace_within_another_is_text(
    client: type[Client | AsyncClient], prefix: Any
) -> None:
    with pytest.raises(InvalidRequest, match="a prefix is a str, not"):
        client(NOWHERE).namespace("a/").namespace(prefix)
