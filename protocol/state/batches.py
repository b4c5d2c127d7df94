"""Batch validation: the writes that gateways and leaders accept into the log.

A correct gateway sends only valid batches. A broken one must not get garbage into the log, from
which every node would have to apply it.
"""

import bisect
import itertools
import string
from typing import assert_never

from protocol.config import VALUE_BYTES_CEILING
from protocol.keys import SEPARATOR, InvalidKey, encode_key, encode_prefix
from protocol.load import load_of_command, load_of_writes
from protocol.membership import NodeId
from protocol.state.commands import (
    Batch,
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
    command_size,
    keys_of,
)
from protocol.state.levels import STATE_LEVEL, level_of_writes
from protocol.state.limits import (
    BATCH_OPERATIONS_MAX,
    LEASE_TTL_MS_MAX,
    LEASE_TTL_MS_MIN,
    TRANSACTION_BYTES_MAX,
)
from protocol.state.machine import decode_batch
from protocol.state.sessions import UNACKNOWLEDGED_MAX
from protocol.state.user_commands import PREFIX_RIGHTS, USER_BYTES, Grant, Revoke, UserCommand
from protocol.wire import Malformed, encode

NAME_LENGTH_MAX = 64  # of a user or role
NAME_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "._-")
PROPOSAL_BYTES_MAX = 16 << 20  # above the size of any batch that a gateway makes


class InvalidOperation(ValueError):
    """An operation that can never succeed as it stands."""


class TooNew(InvalidOperation):
    """A batch with commands of a ``level`` that some member cannot apply."""

    def __init__(self, level: int) -> None:
        super().__init__(f"some member cannot apply commands of level {level}")
        self.level = level


def check_proposal(payload: bytes, proposer: NodeId, level: int) -> bytes:
    """Return a gateway's batch, checked and encoded as it is to be appended.

    Raises:
        TooNew: it has commands above this level.
        InvalidOperation: with a sentence that says what is wrong.
    """
    require(
        len(payload) <= PROPOSAL_BYTES_MAX,
        f"the batch has {len(payload)} bytes; the limit is {PROPOSAL_BYTES_MAX}",
    )
    try:
        batch = decode_batch(payload)
        require(batch.origin == proposer, "the batch is of another node")
        load = load_of_writes(batch.writes)
        require(
            load <= BATCH_OPERATIONS_MAX,
            f"the batch has {load} operations; the limit is {BATCH_OPERATIONS_MAX}",
        )
        for write in batch.writes:
            check_write(write, VALUE_BYTES_CEILING)
    except (Malformed, InvalidKey) as error:
        raise InvalidOperation(str(error)) from None
    if level < STATE_LEVEL:
        _check_level(batch, level)
    return encode(batch)  # drops trailing elements, which were not checked


def _check_level(batch: Batch, level: int) -> None:
    needed = level_of_writes(batch.writes)
    if needed > level:
        raise TooNew(needed)


def check_write(write: Write, value_bytes_max: int) -> None:
    """Check a write; ``value_bytes_max`` limits the values of inserts.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
        InvalidKey: the key is invalid.
    """
    require(
        0 <= write.sequence - write.acknowledged < UNACKNOWLEDGED_MAX,
        f"at most {UNACKNOWLEDGED_MAX} writes of a session may be unacknowledged",
    )
    require(len(write.user) in (0, USER_BYTES), f"a user's key has {USER_BYTES} bytes")
    check_command(write.command, value_bytes_max)


def check_command(command: Command, value_bytes_max: int) -> None:
    """Check a command; ``value_bytes_max`` limits the values of inserts.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
        InvalidKey: a key or prefix is invalid.
    """
    for key in keys_of(command):
        encode_key(key)
    match command:
        case Insert():
            _check_insert(command, value_bytes_max)
        case RemovePrefix(prefix=prefix):
            encode_prefix(prefix)
        case Transact():
            _check_transaction(command, value_bytes_max)
        case GrantLease(ttl_ms=ttl_ms):
            check_ttl(ttl_ms)
        case ExpireLeases() | CheckpointLeases():
            raise InvalidOperation("only a leader measures the time of leases")
        case OpenSession() | Remove() | Increment() | RevokeLease():
            pass
        case _:
            check_user_command(command)


def check_user_command(command: UserCommand) -> None:
    """Check a command about users and roles.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
        InvalidKey: a prefix is invalid.
    """
    for field in ("name", "user", "role"):
        name = getattr(command, field, None)
        require(
            name is None or is_name(name),
            f"a name has 1 to {NAME_LENGTH_MAX} characters of a-z, 0-9, '.', '_' and '-', "
            f"not {name!r}",
        )
    key = getattr(command, "key", None)
    require(key is None or len(key) == USER_BYTES, f"a user's key has {USER_BYTES} bytes")
    if isinstance(command, Grant | Revoke):
        encode_prefix(command.prefix)
        require(
            command.right in PREFIX_RIGHTS or command.prefix in ("", SEPARATOR),
            f"{command.right.name.lower()} is a right in the whole cluster, without a prefix",
        )


def is_name(name: str) -> bool:
    """Whether text may be the name of a user or role."""
    return 1 <= len(name) <= NAME_LENGTH_MAX and NAME_CHARACTERS.issuperset(name)


def check_ttl(ttl_ms: int) -> None:
    """Check the milliseconds that a lease lasts.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    require(
        LEASE_TTL_MS_MIN <= ttl_ms <= LEASE_TTL_MS_MAX,
        f"a lease lasts from {LEASE_TTL_MS_MIN} ms to {LEASE_TTL_MS_MAX} ms (30 days), "
        f"not {ttl_ms} ms",
    )


def _check_insert(insert: Insert, value_bytes_max: int) -> None:
    if insert.ttl_ms:
        check_ttl(insert.ttl_ms)
        require(not insert.lease, f"{insert.key!r} has a lease and a TTL of its own")
    if len(insert.value) > value_bytes_max:
        raise InvalidOperation(
            f"the value of {insert.key!r} has {len(insert.value)} bytes and at most "
            f"{value_bytes_max} are allowed"
        )


def _check_transaction(transaction: Transact, value_bytes_max: int) -> None:
    """Check the limits of a transaction, and that no key is written twice in it."""
    branches = (transaction.then, transaction.otherwise)
    parts = (transaction.checks, transaction.fences, *branches)
    require(any(parts), "the transaction has neither checks nor operations")
    count = load_of_command(transaction)
    require(
        count <= BATCH_OPERATIONS_MAX,
        f"the transaction has {count} checks and operations; the limit is {BATCH_OPERATIONS_MAX}",
    )
    for fence in transaction.fences:
        require(fence.token > 0, f"the token of {fence.key!r} is from 1 on, not {fence.token}")
    size = command_size(transaction)
    require(
        size <= TRANSACTION_BYTES_MAX,
        f"the transaction has {size} bytes of values; the limit is {TRANSACTION_BYTES_MAX}",
    )
    for operations in branches:
        _check_operations(operations, value_bytes_max)


def _check_operations(operations: tuple[TransactionOperation, ...], value_bytes_max: int) -> None:
    removed: list[str] = []
    keys: set[str] = set()
    for operation in operations:
        match operation:
            case RemovePrefix(prefix=prefix):
                encode_prefix(prefix)
                removed.append("" if prefix == SEPARATOR else prefix)
            case Insert() | Remove() | Increment():
                if operation.key in keys:
                    raise InvalidOperation(f"{operation.key!r} is written twice")
                keys.add(operation.key)
                _check_write_in(operation, value_bytes_max)
            case Lookup():
                pass
            case unknown:
                assert_never(unknown)
    _check_apart(removed, sorted(keys))
    removed.sort()  # so that a prefix is next to one that begins with it
    for shorter, longer in itertools.pairwise(removed):
        require(not longer.startswith(shorter), f"the prefix {longer!r} is removed twice")


def _check_apart(prefixes: list[str], keys: list[str]) -> None:
    """Check that no key begins with a prefix; the keys are sorted."""
    for prefix in prefixes:
        place = bisect.bisect_left(keys, prefix)
        under = keys[place] if place < len(keys) else ""
        require(
            not under or not under.startswith(prefix),
            f"{under!r} is written and removed by the prefix {prefix!r}",
        )


def _check_write_in(operation: Insert | Remove | Increment, value_bytes_max: int) -> None:
    if isinstance(operation, Insert):
        _check_insert(operation, value_bytes_max)
    if isinstance(operation, Insert | Remove):
        require(
            operation.if_revision is None,
            "in a transaction, conditions are checks, not if_revision",
        )


def require(holds: bool, otherwise: str) -> None:
    """Check a condition.

    Raises:
        InvalidOperation: it does not hold.
    """
    if not holds:
        raise InvalidOperation(otherwise)
