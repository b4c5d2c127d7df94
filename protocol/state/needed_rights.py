"""Needed rights: what a command needs, checked when it is applied, on every node alike.

A condition tells whether a key is there, so that it needs ``read``, and both branches of a
transaction are checked, whichever is performed. A lease belongs to the user that it was granted to,
until this one is removed or may write less; who may write everything may use the leases of all.
"""

from collections.abc import Iterator
from typing import assert_never

from protocol.state.commands import (
    Command,
    GrantLease,
    Increment,
    Insert,
    KeyCommand,
    Lookup,
    Remove,
    RemovePrefix,
    RevokeLease,
    Transact,
    TransactionOperation,
)
from protocol.state.key_leases import KeyLeases, LeaseRow
from protocol.state.rights import UNKNOWN, Rights, whole
from protocol.state.user_commands import Denied, Right

Need = tuple[Right, str]  # the place: a key, or a whole prefix


def denial_of(command: Command, user: bytes, rights: Rights, leases: KeyLeases) -> Denied | None:
    """Return that a user lacks a right that a command of the state needs; the first one."""
    if not user:
        return None
    if rights.name_of(user) is None:
        return UNKNOWN
    match command:
        case Insert() | Remove() | RemovePrefix() | Increment() | Transact():
            needs = (rights.denial(user, *need) for need in _needs(command))
            return next(filter(None, needs), None) or _denial_of_leases(
                _leases_of(command), user, rights, leases
            )
        case GrantLease():
            may_write = rights.has_any(user, Right.WRITE)
            return None if may_write else rights.denial(user, Right.WRITE)
        case RevokeLease(lease=lease):
            return _denial_of_leases([lease], user, rights, leases)
        case _:
            return rights.denial(user, Right.USERS)


def denial_of_lease(lease: int, row: LeaseRow | None, user: bytes, rights: Rights) -> Denied | None:
    """Return that a user may not use a lease: it is another user's, or a key's own."""
    if row is None or not user or (not row.is_own and _owns(lease, row, user, rights)):
        return None
    return rights.denial(user, Right.WRITE)


def _owns(lease: int, row: LeaseRow, user: bytes, rights: Rights) -> bool:
    found = rights.find(user)
    return found is not None and row.user == found.name and lease > found.leases_after


def _denial_of_leases(
    ids: Iterator[int] | list[int], user: bytes, rights: Rights, leases: KeyLeases
) -> Denied | None:
    denials = (denial_of_lease(each, leases.find_shared(each), user, rights) for each in ids)
    return next(filter(None, denials), None)


def _needs(command: KeyCommand) -> Iterator[Need]:
    if not isinstance(command, Transact):
        yield from _needs_of(command)
        return
    for fence in command.fences:
        yield Right.READ, fence.key
    for check in command.checks:
        yield Right.READ, check.key
    for operation in (*command.then, *command.otherwise):
        yield from _needs_of(operation)


def _needs_of(operation: TransactionOperation) -> Iterator[Need]:
    match operation:
        case Insert(key=key) | Remove(key=key):
            yield Right.WRITE, key
            if operation.if_revision is not None:
                yield Right.READ, key
        case Increment(key=key):
            yield Right.WRITE, key
            yield Right.READ, key  # the result is the value
        case RemovePrefix(prefix=prefix):
            yield Right.WRITE, whole(prefix)
        case Lookup(key=key):
            yield Right.READ, key
        case unknown:
            assert_never(unknown)


def _leases_of(command: KeyCommand) -> Iterator[int]:
    match command:
        case Insert(lease=lease) if lease:
            yield lease
        case Transact(then=then, otherwise=otherwise):
            for each in (*then, *otherwise):
                if isinstance(each, Insert) and each.lease:
                    yield each.lease
