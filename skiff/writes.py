"""Writes: the methods that change keys, as generators; see ``method``."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from protocol.messages.client import Get, Outcome
from protocol.state import commands
from protocol.state.commands import (
    Found,
    Inapplicable,
    Incremented,
    Inserted,
    Obstacle,
    PrefixRemoved,
    Removed,
    Transacted,
)
from skiff import operations
from skiff.arguments import (
    LeaseLike,
    check_change,
    check_collection,
    check_increment,
    check_key,
    check_prefix,
    check_revision,
    fence_of,
    lease_fields,
    plain_text,
)
from skiff.errors import InvalidRequest
from skiff.method import ExactlyOnce, Idempotent, Method
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
    fence: object = None,
) -> Method[int]:
    """Write a value, perhaps with a lease; return the revision of that write."""
    key = check_key(key)
    check_revision(if_revision)
    command = commands.Insert(key, encode_value(key, value), if_revision)
    if lease is not None or ttl is not None:
        command = commands.Insert(key, command.value, if_revision, *lease_fields(lease, ttl))
        check_change(command)
    outcome = yield from _write(command, fence)
    return expect(applied(matching(key, if_revision, outcome)), Inserted).revision


def remove(key: str, if_revision: int | None, fence: object = None) -> Method[bool]:
    """Remove a key; return whether it existed."""
    key = check_key(key)
    check_revision(if_revision)
    outcome = yield from _write(commands.Remove(key, if_revision), fence)
    return expect(applied(matching(key, if_revision, outcome)), Removed).existed


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
    key = check_key(key)
    check_increment(by)
    outcome = yield ExactlyOnce(commands.Increment(key, by))
    return expect(applied(outcome), Incremented).value


def remove_prefix(prefix: str) -> Method[int]:
    """Remove all keys under a prefix; return their number."""
    outcome = yield ExactlyOnce(commands.RemovePrefix(check_prefix(prefix)))
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
        commands.Insert(plain_text(key), encode_value(key, value), None, *fields)
        for key, value in values.items()
    ]
    command = commands.Transact((), tuple(inserts))
    check_change(command)
    outcome = yield ExactlyOnce(command)
    return expect(applied(outcome), Transacted).revision


def transact(
    checks: Iterable[operations.Check],
    then: Iterable[operations.Operation],
    otherwise: Iterable[operations.Operation],
    fence: object = None,
) -> Method[TransactionResult]:
    """Perform operations as one change, by whether the checks hold."""
    conditions = check_collection("checks", checks)
    branches = (check_collection("then", then), check_collection("otherwise", otherwise))
    command = commands.Transact(
        tuple(check_of(each) for each in conditions),
        tuple(command_of(each) for each in branches[0]),
        tuple(command_of(each) for each in branches[1]),
        () if fence is None else (fence_of(fence),),
    )
    check_change(command)
    outcome = yield ExactlyOnce(command)
    transacted = expect(applied(outcome), Transacted)
    performed = branches[0] if transacted.succeeded else branches[1]
    results = tuple(
        result_of(operation, result)
        for operation, result in zip(performed, transacted.results, strict=True)
    )
    return TransactionResult(transacted.succeeded, transacted.revision, results)


def commit(command: commands.StateCommand) -> Method[Outcome]:
    """Apply a command; return its result, also where a lease has ended or a fence stopped it."""
    outcome = yield ExactlyOnce(command)
    is_fenced = isinstance(outcome, Inapplicable) and outcome.obstacle is Obstacle.FENCED
    return outcome if is_fenced or isinstance(outcome, commands.NoLease) else applied(outcome)


def _write(command: commands.Insert | commands.Remove, fence: object) -> Method[Outcome]:
    """Write one key, behind a fence if there is one; return the outcome of the command."""
    if fence is None:
        return (yield ExactlyOnce(command))
    required = command.if_revision
    checks = () if required is None else (commands.Check(command.key, revision=required),)
    bare = replace(command, if_revision=None)
    fenced = commands.Transact(checks, (bare,), fences=(fence_of(fence),))
    check_change(fenced)
    while True:
        outcome = expect(applied((yield ExactlyOnce(fenced))), Transacted)
        if outcome.succeeded:
            return outcome.results[0]
        current = yield Idempotent(Get(command.key))
        revision = current.mod_revision if isinstance(current, Found) else 0
        if revision != required:  # else the key has it by now
            return commands.RevisionMismatch(revision)


def _exchange(
    key: str, type_: Any, write: operations.Insert | operations.Remove
) -> Method[Entry[Any] | None]:
    """Write a key; return the entry that it had before."""
    check_key(key)  # first, as a transaction encodes values before it checks keys
    result = yield from transact((), [operations.Get(key, type_), write], ())
    entry: Entry[Any] | None = result.results[0]
    return entry
