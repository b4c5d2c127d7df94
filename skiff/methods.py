"""Methods of a client as generators: the requests of each, and the result from their outcomes.

A method yields questions, is sent their outcomes and returns its result; ``Client`` and
``AsyncClient`` drive the same ones. Each raises ``InvalidRequest`` for invalid arguments before
its first question.
"""

import uuid
from collections.abc import Generator, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from protocol.client.pipeline import Pipelined
from protocol.messages.client import (
    AddNode,
    Get,
    ListKeys,
    ListPrefixes,
    Names,
    Operation,
    Outcome,
    RemoveNode,
    Status,
    TransferLeadership,
    Transferred,
)
from protocol.messages.client import NodeStatus as WireStatus
from protocol.state import commands
from protocol.state.commands import Command, Found, Inserted, Missing, Remove, Removed
from skiff import operations
from skiff.addresses import normal
from skiff.arguments import (
    Reading,
    check_change,
    check_force,
    check_increment,
    check_key,
    check_limit,
    check_prefix,
    check_revision,
    check_start,
    is_by_lease,
)
from skiff.naming import find_member, whole_id
from skiff.operations import TransactionResult, check_of, command_of, result_of
from skiff.outcomes import applied, expect, matching, status_of
from skiff.records import Entry, NodeStatus
from skiff.values import check_type, decode_value, encode_value, entry_of

PAGE_NAMES = 10_000


class Question(msgspec.Struct, frozen=True):
    """An operation that is safe to repeat."""

    operation: Operation
    writes: bool = False  # whether it changes anything


class Order(msgspec.Struct, frozen=True):
    """A command to apply exactly once."""

    command: Command


ReturnT = TypeVar("ReturnT")
Method: TypeAlias = Generator[Question | Order, Outcome, ReturnT]


def only_operation(method: Method[Any]) -> Pipelined:
    """Return the only operation of a method, for a pipeline.

    Raises:
        SkiffError: an argument of the method is invalid.
    """
    asked = next(method)
    operation = asked.command if isinstance(asked, Order) else asked.operation
    assert isinstance(operation, commands.Insert | Remove | Get)
    return operation


# --- values


def insert(key: str, value: object, if_revision: int | None) -> Method[int]:
    """Write a value; return the revision of that write."""
    check_key(key)
    check_revision(if_revision)
    outcome = yield Order(commands.Insert(key, encode_value(key, value), if_revision))
    return expect(matching(key, if_revision, outcome), Inserted).revision


def get(key: str, type_: Any, default: Any, read: Reading) -> Method[Any]:
    """Return a key's value, or the default."""
    check_type(type_)
    found = yield from _find(key, read)
    return default if found is None else decode_value(key, found.value, type_)


def get_entry(key: str, type_: Any, read: Reading) -> Method[Entry[Any] | None]:
    """Return a key's value with its revisions and version, or None."""
    check_type(type_)
    found = yield from _find(key, read)
    if found is None:
        return None
    return entry_of(key, found, type_)


def remove(key: str, if_revision: int | None) -> Method[bool]:
    """Remove a key; return whether it existed."""
    check_key(key)
    check_revision(if_revision)
    outcome = yield Order(Remove(key, if_revision))
    return expect(matching(key, if_revision, outcome), Removed).existed


def increment(key: str, by: int) -> Method[int]:
    """Add to an integer; return the sum."""
    check_key(key)
    check_increment(by)
    outcome = yield Order(commands.Increment(key, by))
    return expect(applied(outcome), commands.Incremented).value


def remove_prefix(prefix: str) -> Method[int]:
    """Remove all keys under a prefix; return their number."""
    check_prefix(prefix)
    outcome = yield Order(commands.RemovePrefix(prefix))
    return expect(applied(outcome), commands.PrefixRemoved).count


def insert_many(values: Mapping[str, object]) -> Method[int]:
    """Write several values as one change; return its revision."""
    result = yield from transact(
        (), [operations.Insert(key, value) for key, value in values.items()], ()
    )
    return result.revision


def transact(
    checks: Iterable[operations.Check],
    then: Iterable[operations.Operation],
    otherwise: Iterable[operations.Operation],
) -> Method[TransactionResult]:
    """Perform operations as one change, by whether the checks hold."""
    branches = (tuple(then), tuple(otherwise))
    command = commands.Transact(
        tuple(check_of(each) for each in checks),
        *(tuple(command_of(each) for each in branch) for branch in branches),
    )
    check_change(command)
    outcome = yield Order(command)
    transacted = expect(applied(outcome), commands.Transacted)
    performed = branches[0] if transacted.succeeded else branches[1]
    results = tuple(
        result_of(operation, result)
        for operation, result in zip(performed, transacted.results, strict=True)
    )
    return TransactionResult(transacted.succeeded, transacted.revision, results)


def _find(key: str, read: Reading) -> Method[Found | None]:
    check_key(key)
    outcome = yield Question(Get(key, is_by_lease(read)))
    return None if isinstance(outcome, Missing) else expect(outcome, Found)


# --- names


def list_keys(
    prefix: str, limit: int | None, start_after: str | None, read: Reading
) -> Method[list[str]]:
    """Return the sorted keys that begin with a prefix."""
    return _list(ListKeys(prefix, PAGE_NAMES, start_after, is_by_lease(read)), limit)


def get_prefixes(prefix: str, read: Reading) -> Method[list[str]]:
    """Return every path that directly holds a key, sorted."""
    return _list(ListPrefixes(prefix, PAGE_NAMES, None, is_by_lease(read)), None)


def _list(page: ListKeys | ListPrefixes, limit: int | None) -> Method[list[str]]:
    """Return the names of all pages, up to the limit."""
    check_prefix(page.prefix)
    check_limit(limit)
    check_start(page.start_after)
    names: list[str] = []
    while limit is None or len(names) < limit:
        if limit is not None:
            page = replace(page, limit=min(limit - len(names), PAGE_NAMES))
        outcome = expect((yield Question(page)), Names)
        names.extend(outcome.names)
        if not outcome.more:
            break
        page = replace(page, start_after=names[-1])
    return names


# --- the cluster


def status() -> Method[NodeStatus]:
    """Return the status of the node that answers."""
    return status_of(expect((yield Question(Status())), WireStatus))


def add_member(address: str) -> Method[None]:
    """Add a standby node to the cluster."""
    normal(address)
    yield Question(AddNode(address), writes=True)


def remove_node(node: uuid.UUID | str, *, force: bool) -> Method[uuid.UUID]:
    """Remove a node from the cluster; return its id."""
    check_force(force)
    id_ = yield from _node_id(node)
    yield Question(RemoveNode(id_.bytes, force), writes=True)
    return id_


def transfer_leadership(to: uuid.UUID | str | None) -> Method[uuid.UUID]:
    """Make a voter the leader, or any other than the current one; return the leader's id."""
    chosen = b"" if to is None else (yield from _node_id(to)).bytes
    outcome = yield Question(TransferLeadership(chosen), writes=True)
    return uuid.UUID(bytes=expect(outcome, Transferred).leader)


def _node_id(node: uuid.UUID | str) -> Method[uuid.UUID]:
    """Return a member's id; reads the members only if ``node`` is not a full id."""
    whole = whole_id(node)
    if whole is not None:
        return whole
    members = (yield from status()).members
    return find_member(str(node), members).id
