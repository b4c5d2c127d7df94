"""Levels of operations: the requests that a node of an older version cannot read.

An unknown operation makes a whole request malformed, and an unknown field would be ignored. Neither
is sent: a node states its level in its greeting, and older ones state none.
"""

from collections.abc import Iterable

from protocol.messages.client import (
    Failed,
    FailureCode,
    Get,
    GetMany,
    KeepAlive,
    ListKeys,
    ListLeases,
    ListPrefixes,
    Operation,
    ReadChanges,
    Scan,
)
from protocol.messages.rights import CheckRight, ListUsers, WhoAmI
from protocol.ranges import LEVEL_MIN
from protocol.state.commands import Write
from protocol.state.levels import LEASES_LEVEL, RIGHTS_LEVEL, STATE_LEVEL, level_of

FIRST_LOOSE_READS = 2  # level of the first nodes with reads of other modes


def are_readable(operations: Iterable[Operation], level: int) -> bool:
    """Whether a node of this level can read all of these operations."""
    return level >= STATE_LEVEL or all(level_of_operation(each) <= level for each in operations)


def level_of_operation(operation: Operation) -> int:
    """Return the level that a node needs to read an operation as it is meant."""
    match operation:
        case Write(command=command):
            return level_of(command)
        case KeepAlive() | ListLeases():
            return LEASES_LEVEL
        case ListUsers() | WhoAmI() | CheckRight():
            return RIGHTS_LEVEL
        case GetMany() | Scan() | ReadChanges():
            return FIRST_LOOSE_READS
        case Get() | ListKeys() | ListPrefixes():
            return FIRST_LOOSE_READS if _is_newer(operation) else LEVEL_MIN
        case _:
            return LEVEL_MIN


def unsupported(address: str) -> Failed:
    """Return the failure of an operation that a node cannot read."""
    return Failed(
        FailureCode.UNSUPPORTED,
        f"the node {address} runs an older version without this operation; nothing was sent to it: "
        "upgrade it, or remove it",
    )


def _is_newer(read: Get | ListKeys | ListPrefixes) -> bool:
    """Whether an older node would ignore a part of a read."""
    if isinstance(read, ListKeys) and read.reverse:
        return True
    # A leader with a lease is hardly ever behind; older ones served such reads as they are.
    return bool(read.max_staleness_ms or (read.min_revision and not read.leader_lease))
