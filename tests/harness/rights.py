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
Need = tuple[Right, str]
SOMEWHERE = "\0"  # in place of a key: any prefix will do


def covers(grants: Grants, right: Right, place: str) -> bool:
    """Whether a key, or a whole prefix, is under a prefix with a right."""
    held = [prefix for each, prefix in grants if each is right]
    return bool(held) if place == SOMEWHERE else any(place[: len(each)] == each for each in held)


WHOLE = {"/": ""}  # the other name of all keys


def missing(grants: Grants, command: Command, own_leases: set[int]) -> Need | None:
    """Return the first right that a user with these lacks for a command; None if it lacks none."""
    needs = [*_needs(command), *_needs_of_leases(command, own_leases)]
    lacking = [need for need in needs if not covers(grants, *need)]
    return lacking[0] if lacking else None


def _needs(command: Command | TransactionOperation) -> Iterator[Need]:
    match command:
        case Transact():
            yield from _needs_of_transaction(command)
        case Insert(key=key, if_revision=revision) | Remove(key=key, if_revision=revision):
            yield Right.WRITE, key
            if revision is not None:
                yield Right.READ, key
        case Increment(key=key):
            yield Right.WRITE, key
            yield Right.READ, key
        case RemovePrefix(prefix=prefix):
            yield Right.WRITE, WHOLE.get(prefix, prefix)
        case Lookup(key=key):
            yield Right.READ, key
        case _:
            yield from _needs_beyond_keys(command)


def _needs_beyond_keys(command: Command | TransactionOperation) -> Iterator[Need]:
    if isinstance(command, GrantLease):
        yield Right.WRITE, SOMEWHERE
    elif not isinstance(command, RevokeLease):
        yield Right.USERS, ""


def _needs_of_transaction(command: Transact) -> Iterator[Need]:
    yield from ((Right.READ, each.key) for each in command.fences)
    yield from ((Right.READ, each.key) for each in command.checks)
    for operation in (*command.then, *command.otherwise):
        yield from _needs(operation)


def _needs_of_leases(command: Command, own: set[int]) -> Iterator[Need]:
    operations: list[Command | TransactionOperation] = [command]
    if isinstance(command, Transact):
        operations = [*command.then, *command.otherwise]
    for each in operations:
        lease = each.lease if isinstance(each, Insert | RevokeLease) else 0
        if lease and lease not in own:
            yield Right.WRITE, ""
