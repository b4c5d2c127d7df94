"""Load: the number of operations that a request or a batch stands for.

A transaction, or a read of many keys, counts as what it consists of.
"""

from collections.abc import Iterable, Sequence

from protocol.messages.client import GetMany, Operation
from protocol.state.commands import Command, Transact, Write


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
    return len(operations) + _excess(transactions) + keys


def _excess(transactions: Iterable[Command]) -> int:
    return sum([load_of_command(each) - 1 for each in transactions])
