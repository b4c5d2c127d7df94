"""State levels: which commands the state machine of a build can apply.

In a rolling upgrade, nodes of two levels work side by side. A command of the higher level enters
the log only when every member can apply it: a member that skipped its entry would differ from the
others for ever.
"""

from protocol.state.commands import (
    CheckpointLeases,
    Command,
    ExpireLeases,
    GrantLease,
    Increment,
    Insert,
    Lookup,
    OpenSession,
    Remove,
    RemovePrefix,
    RevokeLease,
    Transact,
    TransactionOperation,
    Write,
)
from protocol.state.user_commands import (
    AddUser,
    AddUserKey,
    AssignRole,
    Grant,
    RemoveRole,
    RemoveUser,
    RemoveUserKey,
    Revoke,
    UnassignRole,
)

STATE_LEVEL = 4  # of this build
LEASES_LEVEL = 3  # of the first builds with leases on keys
RIGHTS_LEVEL = 4  # of the first builds with users and rights

# A command, or a change of what one does, that older builds cannot apply begins a level.
LEVELS: dict[type, int] = {
    OpenSession: 1,
    Insert: 1,
    Remove: 1,
    RemovePrefix: 2,
    Increment: 2,
    Lookup: 2,
    Transact: 2,
    GrantLease: LEASES_LEVEL,
    RevokeLease: LEASES_LEVEL,
    ExpireLeases: LEASES_LEVEL,
    CheckpointLeases: LEASES_LEVEL,
    AddUser: RIGHTS_LEVEL,
    RemoveUser: RIGHTS_LEVEL,
    AddUserKey: RIGHTS_LEVEL,
    RemoveUserKey: RIGHTS_LEVEL,
    AssignRole: RIGHTS_LEVEL,
    UnassignRole: RIGHTS_LEVEL,
    Grant: RIGHTS_LEVEL,
    Revoke: RIGHTS_LEVEL,
    RemoveRole: RIGHTS_LEVEL,
}


def level_of(command: Command) -> int:
    """Return the level that a state machine needs to apply a command."""
    if isinstance(command, Transact):
        operations = (*command.then, *command.otherwise)
        own = LEASES_LEVEL if command.fences else LEVELS[Transact]
        return max([own, *map(_level_of_one, operations)])
    return _level_of_one(command)


def _level_of_one(command: Command | TransactionOperation) -> int:
    if isinstance(command, Insert) and (command.lease or command.ttl_ms):
        return LEASES_LEVEL
    return LEVELS[type(command)]


def level_of_writes(writes: tuple[Write, ...]) -> int:
    """Return the level that a state machine needs to apply all of these writes."""
    return max([1, *map(level_of_write, writes)])


def level_of_write(write: Write) -> int:
    """Return the level that a state machine needs to apply a write with its user's rights."""
    return RIGHTS_LEVEL if write.user else level_of(write.command)


def runs_older(address: str) -> str:
    """Return in words why the cluster cannot apply a command that this member cannot."""
    return f"the member {address} runs an older version; upgrade it, or remove it"
