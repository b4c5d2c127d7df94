"""Transactions: several operations take effect together or not at all, through any node."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from skiff import (
    AsyncClient,
    AsyncTransaction,
    Check,
    Client,
    CounterOverflow,
    DeserializeFailed,
    Entry,
    Get,
    Increment,
    Insert,
    InvalidRequest,
    NotInteger,
    OutcomeUnknown,
    Remove,
    RemovePrefix,
    RequestTimeout,
    SerializeFailed,
    Transaction,
    TransactionConflict,
    TransactionResult,
)
from skiff.testing import Cluster

pytestmark = pytest.mark.cluster

SECONDS = 20.0
OPERATIONS_MAX = 1_000
INTEGER_MAX = (1 << 63) - 1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("transactions")) as running:
        yield running


@pytest.fixture(params=["leader", "follower"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Client]:
    """A client of the leader, or of a follower; the keys are gone afterwards."""
    node = cluster.leader() if request.param == "leader" else cluster.followers()[0]
    with Client([node.address], timeout=SECONDS, follow_leader=False) as running:
        yield running
        running.remove_prefix("")


# --- transact


def test_a_function_that_fails_after_its_own_commit_does_not_run_again(client: Client) -> None:
    runs: list[int] = []

    def change(transaction: Transaction) -> None:
        runs.append(1)
        for key in ("own/a", "own/b"):
            transaction.insert(key, transaction.get(key, int, default=0) + 1)
        transaction.commit()
        raise LookupError

    with pytest.raises(LookupError):
        client.run_transaction(change)
    assert runs == [1]
    assert client.get_many(["own/a", "own/b"]) == {"own/a": 1, "own/b": 1}


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])
def test_a_function_that_fails_on_torn_reads_runs_again(cluster: Cluster, is_async: bool) -> None:
    sums: list[int] = []

    def change(other: Client) -> None:
        if not sums:
            other.insert_many({"torn/a": 60, "torn/b": 40})

    def total(transaction: Transaction) -> None:
        first = transaction.get("torn/a", int)
        change(client)
        check(first + transaction.get("torn/b", int))

    async def total_later(transaction: AsyncTransaction) -> None:
        first = await transaction.get("torn/a", int)
        change(client)
        check(first + await transaction.get("torn/b", int))

    def check(total: int) -> None:
        sums.append(total)
        if total != 100 or len(sums) > 1:
            raise LookupError(total)

    async def use() -> None:
        async with AsyncClient(cluster.addresses) as asyncio_client:
            await asyncio_client.run_transaction(total_later)

    with cluster.client() as client:
        client.insert_many({"torn/a": 50, "torn/b": 50})
        with pytest.raises(LookupError, match="100"):  # of reads that agree, it is the function's
            asyncio.run(use()) if is_async else client.run_transaction(total)
    assert sums == [90, 100]


def test_torn_reads_that_lead_to_an_error_of_values_run_the_function_again(
    client: Client,
) -> None:
    types = {"a number": int, "a text": str}
    runs: list[int] = []

    def read(transaction: Transaction) -> object:
        runs.append(1)
        type_ = types[transaction.get("of/type", str)]
        if len(runs) == 1:
            client.insert_many({"of/type": "a text", "of/value": "one"})
        return transaction.get("of/value", type_)

    client.insert_many({"of/type": "a number", "of/value": 1})
    assert client.run_transaction(read) == "one"
    assert len(runs) == 2
    client.insert("of/value", 2)
    with pytest.raises(DeserializeFailed):  # of reads that agree
        client.run_transaction(read)
    assert len(runs) == 3


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])
def test_a_function_that_fails_keeps_its_error_if_its_reads_cannot_be_checked(
    cluster: Cluster, is_async: bool
) -> None:
    keys = [f"many/{number}" for number in range(OPERATIONS_MAX + 1)]

    def read(transaction: Transaction) -> None:
        for key in keys:
            transaction.get(key)
        raise LookupError("of the function")

    async def read_later(transaction: AsyncTransaction) -> None:
        await asyncio.gather(*map(transaction.get, keys))
        raise LookupError("of the function")

    async def use() -> None:
        async with AsyncClient(cluster.addresses) as asyncio_client:
            await asyncio_client.run_transaction(read_later)

    with cluster.client() as client, pytest.raises(LookupError, match="of the function"):
        asyncio.run(use()) if is_async else client.run_transaction(read)


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])
def test_a_conflict_of_another_transaction_runs_no_committed_function_again(
    cluster: Cluster, is_async: bool
) -> None:
    key = f"committed/{is_async}"

    def change(transaction: Transaction) -> None:
        transaction.insert(key, transaction.get(key, int, default=0) + 1)
        transaction.commit()
        raise TransactionConflict("of another one")

    async def change_later(transaction: AsyncTransaction) -> None:
        transaction.insert(key, await transaction.get(key, int, default=0) + 1)
        await transaction.commit()
        raise TransactionConflict("of another one")

    async def use() -> None:
        async with AsyncClient(cluster.addresses) as asyncio_client:
            await asyncio_client.run_transaction(change_later)

    with cluster.client() as client:
        with pytest.raises(TransactionConflict, match="of another one"):
            asyncio.run(use()) if is_async else client.run_transaction(change)
        assert client.get(key) == 1


def test_then_is_performed_at_one_revision_if_all_checks_hold(client: Client) -> None:
    before = client.insert("a", 1)
    with client.watch() as changes:
        result = client.transact(
            [Check("a", revision=before, version=1, value=1), Check("b", exists=False)],
            [Insert("a", 2), Insert("b", [3]), Increment("n", 5), Get("a", int), Get("none")],
            [Insert("b", "never")],
        )
        assert result == TransactionResult(
            True,
            before + 1,
            (before + 1, before + 1, 5, Entry("a", 2, before + 1, before, 2), None),
        )
        events = [changes.next_event(SECONDS) for _ in range(3)]
    assert [(event.key, event.value, event.revision) for event in events] == [
        ("a", 2, before + 1),
        ("b", [3], before + 1),
        ("n", 5, before + 1),
    ]


def test_otherwise_is_performed_if_a_check_fails(client: Client) -> None:
    client.insert("a", 1)
    result = client.transact(
        [Check("a", exists=True), Check("a", value="1")],
        [Remove("a")],
        [Remove("a"), RemovePrefix("z")],
    )
    assert (result.succeeded, result.results) == (False, (True, 0))
    assert client.get("a") is None
    nothing = client.transact([Check("a", revision=7)], [Insert("a", 1)])
    assert (nothing.succeeded, nothing.results) == (False, ())
    assert client.get("a") is None


def test_a_transaction_that_cannot_be_applied_changes_nothing(client: Client) -> None:
    client.insert("text", "five")
    for operation, error in (
        (Increment("text"), NotInteger),
        (Increment("big", INTEGER_MAX), None),
        (Increment("big", 1), CounterOverflow),
    ):
        if error is None:
            client.transact([], [operation])
            continue
        with pytest.raises(error, match="nothing was written"):
            client.transact([], [Insert("other", 1), operation])
    assert client.get("other") is None
    assert client.get("big") == INTEGER_MAX
    client.insert("unsigned", 2 * INTEGER_MAX + 1)
    with pytest.raises(CounterOverflow, match=r"would be outside of -2\*\*63 to 2\*\*63 - 1;"):
        client.increment("unsigned", -1)


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ([Insert("a", 1), Remove("a")], "written twice"),
        ([Insert("a/b", 1), RemovePrefix("a/")], "removed by the prefix"),
        ([RemovePrefix(""), RemovePrefix("a/")], "removed twice"),
        ([Insert("k" * 5000, 1)], "4096 bytes"),
        ([Insert(f"k/{number}", number) for number in range(1001)], "the limit is 1000"),
        ([Insert(f"k/{number}", b"x" * 900_000) for number in range(5)], "bytes of values"),
        ([Get("a", list[int] | list[str])], "no value can be decoded"),
        (["insert"], "not an operation"),
    ],
)
def test_an_invalid_transaction_is_refused_before_it_is_sent(
    client: Client, then: Any, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        client.transact([], then)
    with pytest.raises(InvalidRequest, match="not a check"):
        client.transact([("a", 1)], [])  # type: ignore[list-item]
    with pytest.raises(SerializeFailed):
        client.transact([Check("a", value=object())], [])
    assert client.list_keys() == []


def test_a_value_of_another_type_fails_after_the_transaction(client: Client) -> None:
    client.insert("a", "text")
    with pytest.raises(DeserializeFailed, match="'a' is not of type int"):
        client.transact([], [Insert("b", 1), Get("a", int)])
    assert client.get("b") == 1


# --- single changes


def test_many_values_are_written_at_one_revision(client: Client) -> None:
    revision = client.insert_many({f"many/{number}": number for number in range(1000)})
    entries = [client.get_entry(f"many/{number}") for number in (0, 999)]
    assert [entry.revision for entry in entries if entry] == [revision, revision]
    with pytest.raises(InvalidRequest, match="the limit is 1000"):
        client.insert_many({f"many/{number}": None for number in range(1001)})
    assert client.remove_prefix("many/") == 1000
    assert client.remove_prefix("many/") == 0
    assert client.list_keys("many/") == []


def test_a_counter_is_exact_under_concurrent_increments(cluster: Cluster) -> None:
    def count(node: int) -> None:
        with Client([cluster.nodes[node].address], timeout=SECONDS) as client:
            for _ in range(100):
                client.increment("counter")

    threads = [threading.Thread(target=count, args=(number % 3,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with cluster.client(timeout=SECONDS) as client:
        assert client.get("counter", int) == 400
        assert client.increment("counter", -400) == 0


@pytest.mark.parametrize("by", [1.5, True, "1", 1 << 63])
def test_a_step_that_is_no_integer_of_64_bits_is_refused(client: Client, by: Any) -> None:
    with pytest.raises(InvalidRequest, match="by must be"):
        client.increment("a", by)


# --- reads and buffered writes


def move(source: str, target: str, amount: int) -> Callable[[Transaction], int]:
    def function(transaction: Transaction) -> int:
        left = transaction.get(source, int) - amount
        transaction.insert(source, left)
        transaction.insert(target, transaction.get(target, int, default=0) + amount)
        return int(left)

    return function


def test_a_block_commits_its_writes_together(client: Client) -> None:
    client.insert("from", 10)
    with client.transaction() as transaction:
        transaction.insert("to", transaction.get("from", int))
        assert transaction.get("to", int) == 10
        transaction.remove("from")
        assert transaction.get("from") is None
        assert client.get("to") is None
    assert (client.get("from"), client.get("to")) == (None, 10)
    entry = client.get_entry("to")
    assert entry is not None
    assert entry.revision == transaction.revision
    with pytest.raises(InvalidRequest, match="is over"):
        transaction.insert("to", 1)


def test_a_block_that_raises_writes_nothing(client: Client) -> None:
    def fail() -> None:
        with client.transaction() as transaction:
            transaction.insert("a", 1)
            transaction.insert("b", 1 // 0)

    with pytest.raises(ZeroDivisionError):
        fail()
    assert client.list_keys() == []


def test_a_changed_key_is_a_conflict(client: Client) -> None:
    def conflict() -> None:
        with client.transaction() as transaction:
            assert transaction.get("a") is None
            client.insert("a", 1)
            assert transaction.get("a") is None
            transaction.insert("b", 1)

    with pytest.raises(TransactionConflict, match="one of the 1 keys"):
        conflict()
    assert client.get("b") is None


def test_conflicts_are_retried_until_the_transfers_add_up(cluster: Cluster) -> None:
    accounts = [f"account/{number}" for number in range(3)]

    def transfer(node: int) -> None:
        with Client([cluster.nodes[node].address], timeout=SECONDS) as client:
            for number in range(20):
                source, target = accounts[number % 3], accounts[(number + node + 1) % 3]
                if source != target:
                    client.run_transaction(move(source, target, 1))

    with cluster.client(timeout=SECONDS) as client:
        client.insert_many(dict.fromkeys(accounts, 100))
        threads = [threading.Thread(target=transfer, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(client.get(account, int) or 0 for account in accounts) == 300
        client.remove_prefix("account/")


def test_a_conflict_at_the_deadline_is_raised(client: Client) -> None:
    def never_settles(transaction: Transaction) -> None:
        transaction.get("busy")
        client.increment("busy")
        transaction.insert("a", 1)

    with pytest.raises(TransactionConflict):
        client.run_transaction(never_settles, timeout=0.5)
    assert client.get("a") is None


def test_the_deadline_of_a_transaction_includes_what_its_function_takes(cluster: Cluster) -> None:
    followers = cluster.followers()

    def loses_the_majority(transaction: Transaction) -> None:
        transaction.insert("a", 1)
        for each in followers:
            cluster.pause(each)
        time.sleep(0.4)

    with Client([cluster.leader().address], follow_leader=False) as client:
        client.insert("a", 0)
        began = time.monotonic()
        with pytest.raises((RequestTimeout, OutcomeUnknown)):
            client.run_transaction(loses_the_majority, timeout=0.5)
        took = time.monotonic() - began
    for each in followers:
        cluster.resume(each)
    assert took < 0.8
    cluster.wait_until_whole()


def test_a_buffered_value_is_the_one_at_its_insert(client: Client) -> None:
    value = {"a": 1}
    with client.transaction() as transaction:
        transaction.insert("own/value", value)
        value["a"] = 2
    assert client.pop("own/value", dict[str, int]).value == {"a": 1}  # type: ignore[union-attr]


def test_a_coroutine_is_no_function_of_a_blocking_transaction(client: Client) -> None:
    async def never_runs(_: Transaction) -> None:
        raise AssertionError

    with pytest.raises(InvalidRequest, match="ordinary function"):
        client.run_transaction(never_runs)  # type: ignore[unused-coroutine]


def test_transactions_of_the_asyncio_client(cluster: Cluster) -> None:
    async def add(transaction: AsyncTransaction) -> None:
        transaction.insert("sum", await transaction.get("sum", int, default=0) + 1)

    async def conflict(client: AsyncClient) -> None:
        async with client.transaction() as transaction:
            await transaction.get("x/1")
            await client.remove("x/1")

    async def use() -> None:
        addresses = [node.address for node in cluster.nodes]
        async with AsyncClient(addresses, timeout=SECONDS) as client:
            await asyncio.gather(*[client.run_transaction(add) for _ in range(10)])
            assert await client.get("sum") == 10
            result = await client.transact(
                [Check("sum", value=10)], [Increment("sum", 5), Get("sum", msgspec.Raw)]
            )
            assert result.succeeded
            assert await client.insert_many({"x/1": 1, "x/2": 2}) == result.revision + 1
            assert await client.increment("x/1") == 2
            with pytest.raises(TransactionConflict):
                await conflict(client)
            assert await client.remove_prefix("x/") == 1
            await client.remove_prefix("sum")

    asyncio.run(asyncio.wait_for(use(), 2 * SECONDS))
