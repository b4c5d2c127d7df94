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
from protocol.state.commands import Command, RemovePrefix, RevokeLease, Transact, Write
from protocol.state.limits import BATCH_OPERATIONS_MAX

PAGES = frozenset(
    {ListKeys, ListPrefixes, ListLeases, ListUsers, ReadChanges, ReadSnapshot, Scan}
)  # operations that read up to thousands of rows
REMOVING = frozenset({RemovePrefix, RevokeLease, Transact})  # commands that may
REVOKED_LOAD = 100  # of a lease that is revoked: few have thousands of keys
PAGE_LOAD = 15  # operations that one of them counts as, besides itself


def load_of_command(command: Command) -> int:
    """Return how many operations a command names; keys that it removes unnamed do not count."""
    if type(command) is not Transact:
        return 1
    conditions = len(command.checks) + len(command.fences)
    return max(1, conditions + len(command.then) + len(command.otherwise))


def entry_load_of(command: Command) -> int:
    """Return the load of a command in a log entry, with that of keys that it removes unnamed.

    It may remove thousands, and everything else waits while an entry is applied.
    """
    load = load_of_command(command)
    return max(load, _removal_load(command)) if type(command) in REMOVING else load


def _removal_load(command: Command) -> int:
    match command:
        case RemovePrefix():
            return BATCH_OPERATIONS_MAX
        case RevokeLease():
            return REVOKED_LOAD
        case Transact(then=then, otherwise=otherwise):
            removes = any(type(each) is RemovePrefix for each in (*then, *otherwise))
            return BATCH_OPERATIONS_MAX if removes else 0
        case _:
            return 0


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
