"""Parts: a transaction as operations on single keys."""

from collections.abc import Iterator

from msgspec.structs import replace

from protocol.encoding import encode
from protocol.state.commands import (
    Found,
    Increment,
    Incremented,
    Insert,
    Inserted,
    Lookup,
    Missing,
    Remove,
    Removed,
    RemovePrefix,
    Transacted,
    TransactionOperation,
)
from tests.simulation.history import Kind, Operation


def parts_of(operation: Operation) -> list[Operation]:
    """Return the operations on single keys that a transaction stands for.

    With an outcome, they are those performed, with their results. Without one, they are all writes
    of both branches, of which some or none were done; increments are left out, because their values
    are unknown. Removals by prefix are left out in either case.
    """
    command = operation.command
    if command is None:
        return [operation]
    outcome = operation.outcome
    if isinstance(outcome, Transacted):
        performed = command.then if outcome.succeeded else command.otherwise
        pairs = zip(performed, outcome.results, strict=True)
        return [part for each, result in pairs for part in _done(operation, each, result)]
    if outcome is not None:
        return []  # it could not be applied
    return [part for each in (*command.then, *command.otherwise) for part in _lost(operation, each)]


def prefixes_of(operation: Operation) -> list[str]:
    """Return the prefixes under which a transaction removes keys, or may have."""
    command = operation.command
    if command is None:
        return []
    branches = (*command.then, *command.otherwise)
    return [each.prefix for each in branches if isinstance(each, RemovePrefix)]


def counters_of(operation: Operation) -> list[str]:
    """Return the keys that a transaction increments, or may have."""
    command = operation.command
    if command is None:
        return []
    branches = (*command.then, *command.otherwise)
    return [each.key for each in branches if isinstance(each, Increment)]


def _done(
    operation: Operation, performed: TransactionOperation, result: object
) -> Iterator[Operation]:
    match performed, result:
        case Insert(key=key, value=value), Inserted():
            yield _part(operation, Kind.INSERT, key, value, result)
        case Increment(key=key), Incremented(value=total, revision=revision):
            yield _part(operation, Kind.INSERT, key, encode(total), Inserted(revision))
        case Remove(key=key), Removed():
            yield _part(operation, Kind.REMOVE, key, b"", result)
        case Lookup(key=key), Found() | Missing():
            yield _part(operation, Kind.GET, key, b"", result)


def _lost(operation: Operation, performed: TransactionOperation) -> Iterator[Operation]:
    match performed:
        case Insert(key=key, value=value):
            yield _part(operation, Kind.INSERT, key, value, None)
        case Remove(key=key):
            yield _part(operation, Kind.REMOVE, key, b"", None)


def _part(operation: Operation, kind: Kind, key: str, value: bytes, outcome: object) -> Operation:
    return replace(
        operation, kind=kind, key=key, value=value, outcome=outcome, command=None, if_revision=None
    )
