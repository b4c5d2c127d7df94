"""Writes: the methods that change keys, as generators; see ``method``."""

from collections.abc import Iterable, Mapping
from typing import Any

from protocol.state import commands
from protocol.state.commands import Incremented, Inserted, PrefixRemoved, Removed, Transacted
from skiff import operations
from skiff.arguments import (
    LeaseLike,
    check_change,
    check_collection,
    check_increment,
    check_key,
    check_prefix,
    check_revision,
    lease_fields,
)
from skiff.errors import InvalidRequest
from skiff.method import Method, Order
from skiff.operations import TransactionResult, check_of, command_of, result_of
from skiff.outcomes import applied, expect, matching
from skiff.records import Entry
from skiff.values import encode_value


def insert(
    key: str,
    value: object,
    if_revision: int | None,
    lease: LeaseLike | int | None = None,
    ttl: float | None = None,
) -> Method[int]:
    """Write a value, perhaps with a lease; return the revision of that write."""
    check_key(key)
    check_revision(if_revision)
    command = commands.Insert(key, encode_value(key, value), if_revision)
    if lease is not None or ttl is not None:
        command = commands.Insert(key, command.value, if_revision, *lease_fields(lease, ttl))
        check_change(command)
    outcome = yield Order(command)
    return expect(applied(matching(key, if_revision, outcome)), Inserted).revision


def remove(key: str, if_revision: int | None) -> Method[bool]:
    """Remove a key; return whether it existed."""
    check_key(key)
    check_revision(if_revision)
    outcome = yield Order(commands.Remove(key, if_revision))
    return expect(matching(key, if_revision, outcome), Removed).existed


def swap(
    key: str,
    value: object,
    type_: Any,
    lease: LeaseLike | int | None = None,
    ttl: float | None = None,
) -> Method[Entry[Any] | None]:
    """Write a value; return the entry that it replaced, or None."""
    return _exchange(key, type_, operations.Insert(key, value, lease, ttl))


def pop(key: str, type_: Any) -> Method[Entry[Any] | None]:
    """Remove a key; return the entry that it had, or None."""
    return _exchange(key, type_, operations.Remove(key))


def increment(key: str, by: int) -> Method[int]:
    """Add to an integer; return the sum."""
    check_key(key)
    check_increment(by)
    outcome = yield Order(commands.Increment(key, by))
    return expect(applied(outcome), Incremented).value


def remove_prefix(prefix: str) -> Method[int]:
    """Remove all keys under a prefix; return their number."""
    check_prefix(prefix)
    outcome = yield Order(commands.RemovePrefix(prefix))
    return expect(applied(outcome), PrefixRemoved).count


def insert_many(
    values: Mapping[str, object],
    lease: LeaseLike | int | None = None,
    ttl: float | None = None,
) -> Method[int]:
    """Write several values as one change; return its revision."""
    if not isinstance(values, Mapping):
        raise InvalidRequest(f"values must be a mapping, not {type(values).__name__}")
    fields = lease_fields(lease, ttl)
    inserts = [
        commands.Insert(key, encode_value(key, value), None, *fields)
        for key, value in values.items()
    ]
    command = commands.Transact((), tuple(inserts))
    check_change(command)
    outcome = yield Order(command)
    return expect(applied(outcome), Transacted).revision


def transact(
    checks: Iterable[operations.Check],
    then: Iterable[operations.Operation],
    otherwise: Iterable[operations.Operation],
) -> Method[TransactionResult]:
    """Perform operations as one change, by whether the checks hold."""
    conditions = check_collection("checks", checks)
    branches = (check_collection("then", then), check_collection("otherwise", otherwise))
    command = commands.Transact(
        tuple(check_of(each) for each in conditions),
        *(tuple(command_of(each) for each in branch) for branch in branches),
    )
    check_change(command)
    outcome = yield Order(command)
    transacted = expect(applied(outcome), Transacted)
    performed = branches[0] if transacted.succeeded else branches[1]
    results = tuple(
        result_of(operation, result)
        for operation, result in zip(performed, transacted.results, strict=True)
    )
    return TransactionResult(transacted.succeeded, transacted.revision, results)


def _exchange(
    key: str, type_: Any, write: operations.Insert | operations.Remove
) -> Method[Entry[Any] | None]:
    """Write a key; return the entry that it had before."""
    check_key(key)
    result = yield from transact((), [operations.Get(key, type_), write], ())
    entry: Entry[Any] | None = result.results[0]
    return entry
