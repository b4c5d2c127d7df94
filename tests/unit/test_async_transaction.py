"""AsyncTransaction: concurrent reads of a key agree, and the commit checks what they returned."""

import asyncio

import msgspec

from skiff.operations import Check, Operation, TransactionResult
from skiff.records import Entry
from skiff.transaction import AsyncTransaction


def test_concurrent_reads_of_a_key_return_what_the_commit_checks() -> None:
    checked: list[Check] = []
    revisions = iter([5, 6])

    async def read(key: str) -> Entry[msgspec.Raw]:
        revision = next(revisions)
        await asyncio.sleep(0)
        return Entry(key, msgspec.Raw(msgspec.msgpack.encode(revision)), revision, 1, 1)

    async def transact(checks: list[Check], _: list[Operation]) -> TransactionResult:
        checked.extend(checks)
        return TransactionResult(True, 7, ())

    async def use() -> None:
        async with AsyncTransaction(read, transact) as transaction:
            read_twice = asyncio.gather(transaction.get("k"), transaction.get("k"))
            assert list(await read_twice) == [5, 5]
        assert checked == [Check("k", revision=5)]

    asyncio.run(use())
