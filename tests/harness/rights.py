"""Rights: a second, plain decision about what users may do."""

from collections.abc import Iterator

from protocol.state.commands import (
    Command,
    GrantLease,
    Increment,
    Insert,
    Lookup,
    Remove,
    RemovePrefix,
    RevokeLease,
    Transact,
    TransactionOperation,
)
from protocol.state.user_commands import Right

Grants = set[tuple[Right, str]]
SOMEWHERE = "\0"  # in place of a key: any prefix will do


def covers(grants: Grants, right: Right, place: str) -> bool:
    """Whether a key, or a whole prefix, is under a prefix with a right."""
    held = [prefix for each, prefix in grants if each is right]
    return bool(held) if place == SOMEWHERE else any(place[: len(each)] == each for each in held)


def is_allowed(grants: Grants, command: Command, own_leases: set[int]) -> bool:
    """Whether a user with these rights, and these leases, may have a command applied."""
    return all(covers(grants, *need) for need in _needs(command, own_leases))


def _needs(command: Command | TransactionOperation, own: set[int]) -> Iterator[tuple[Right, str]]:
    match command:
        case Transact(checks=checks, fences=fences):
            yield from ((Right.READ, each.key) for each in checks)
            yield from ((Right.READ, each.key) for each in fences)
            for operation in (*command.then, *command.otherwise):
                yield from _needs(operation, own)
        case Insert() | Remove():
            yield from _needs_of_write(command, own)
        case Increment(key=key):
            yield Right.WRITE, key
        case RemovePrefix(prefix=prefix):
            yield Right.WRITE, "" if prefix == "/" else prefix
        case Lookup(key=key):
            yield Right.READ, key
        case _:
            yield from _other_needs(command, own)


def _other_needs(command: Command, own: set[int]) -> Iterator[tuple[Right, str]]:
    match command:
        case GrantLease():
            yield Right.WRITE, SOMEWHERE
        case RevokeLease(lease=lease):
            if lease not in own:
                yield Right.WRITE, ""
        case _:
            yield Right.USERS, ""


def _needs_of_write(command: Insert | Remove, own: set[int]) -> Iterator[tuple[Right, str]]:
    yield Right.WRITE, command.key
    if command.if_revision is not None:
        yield Right.READ, command.key
    lease = command.lease if isinstance(command, Insert) else 0
    if lease and lease not in own:
        yield Right.WRITE, ""
