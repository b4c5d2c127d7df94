"""Load: the number of operations that a request or a batch stands for.

A transaction, or a read of many keys, counts as what it consists of, and a page as several reads.
"""

from collections.abc import Iterable, Sequence

from protocol.messages.client import (
    GetMany,
    ListKeys,
    ListLeases,
    ListPrefixes,
    Operation,
    ReadChanges,
    ReadSnapshot,
    Scan,
)
from protocol.messages.rights import ListUsers
from protocol.state.commands import Command, Transact, Write

PAGES = frozenset(
    {ListKeys, ListPrefixes, ListLeases, ListUsers, ReadChanges, ReadSnapshot, Scan}
)  # operations that read up to thousands of rows
PAGE_LOAD = 15  # operations that one of them counts as, besides itself


def load_of_command(command: Command) -> int:
    """Return how many operations a command makes each state machine perform, at most."""
    if type(command) is not Transact:
        return 1
    conditions = len(command.checks) + len(command.fences)
    return max(1, conditions + len(command.then) + len(command.otherwise))


def load_of_writes(writes: Sequence[Write]) -> int:
    """Return the load of the writes of a request or a batch."""
    transactions = [each.command for each in writes if type(each.command) is Transact]
    return len(writes) + _excess(transactions)


def load_of(operations: Sequence[Operation]) -> int:
    """Return the load of a request."""
    transactions = [
        each.command
        for each in operations
        if type(each) is Write and type(each.command) is Transact
    ]
    keys = sum([len(each.keys) for each in operations if type(each) is GetMany])
    pages = PAGE_LOAD * len([each for each in operations if type(each) in PAGES])
    return len(operations) + _excess(transactions) + keys + pages


def _excess(transactions: Iterable[Command]) -> int:
    return sum([load_of_command(each) - 1 for each in transactions])
